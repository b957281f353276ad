import pytest

from cilium_proxy import api
from cilium_proxy.rewrite.cilium import Options, rewrite


class Made:
    """A rewritten resource, opened."""

    def __init__(self, message, options):
        self.result = rewrite(api.pack(message), options)
        self.message = api.unpack(self.result.resource)
        self.warnings = self.result.warnings


@pytest.fixture
def made():
    """Rewrites a message: `made(message, options)`."""
    return lambda message, options=None: Made(message, options or Options())


def carried(config):
    """Filter name and own message of a filter the module carries."""
    inner = api.unpack(config)
    assert inner.dynamic_module_config.name == "cilium_dynamic_modules"
    assert inner.dynamic_module_config.do_not_close
    return inner.filter_name, api.unpack(inner.filter_config).value


@pytest.fixture(name="carried")
def carried_fixture():
    return carried
