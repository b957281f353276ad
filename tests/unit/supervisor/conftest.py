import tempfile
from pathlib import Path

import pytest
from tests.unit.supervisor.rig import Rig


@pytest.fixture
def rig():
    # Short: paths of Unix sockets are limited.
    with tempfile.TemporaryDirectory(prefix="cp-") as name:
        yield Rig(Path(name))
