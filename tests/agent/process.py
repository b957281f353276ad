"""`cilium-proxy agent` as a process."""

import json

from tests.proxy_process import LIMIT, PROGRAM, ProxyProcess

__all__ = ["LIMIT", "Proxy"]


class Proxy(ProxyProcess):
    """Started with a bootstrap and further arguments."""

    def __init__(self, directory, bootstrap, *arguments, environment=None):
        self.directory = directory
        path = directory / "bootstrap-config.json"
        path.write_text(json.dumps(bootstrap))
        super().__init__(*self.command(path, arguments), environment)

    def command(self, path, arguments):
        """The command line and the state directory."""
        state = self.directory / "state"
        return [*PROGRAM, "agent", "-c", str(path), "--state-dir", str(state), *arguments], state
