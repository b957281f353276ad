import asyncio
import stat
import tempfile
from pathlib import Path

import pytest

from cilium_proxy.relay import sockets
from cilium_proxy.supervisor import control, state_directory


@pytest.fixture
def path():
    with tempfile.TemporaryDirectory(prefix="cp-") as name:
        yield Path(name) / "control.sock"


async def test_a_question_is_answered(path):
    async def status():
        return {"state": "running"}

    server = control.ControlServer(path, {"status": status})
    await server.start()
    assert await asyncio.to_thread(control.ask, path, "status") == {"state": "running"}
    assert "no such question" in (await asyncio.to_thread(control.ask, path, "nonsense"))["error"]
    await server.close()
    assert not path.exists()


def test_nobody_there_is_an_error(path):
    with pytest.raises(control.UnreachableError, match=str(path)):
        control.ask(path, "status")


def test_the_default_directory_belongs_to_the_configuration(monkeypatch, path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path.parent))
    one, other = (state_directory.default(path.parent / name) for name in ("a.yaml", "b.yaml"))
    assert one != other
    assert one == state_directory.default(path.parent / "x/../a.yaml")
    assert stat.S_IMODE(state_directory.create(one).stat().st_mode) == 0o700
    assert state_directory.running() == []
    with sockets.listen(one / state_directory.CONTROL):
        assert state_directory.running() == [one]
    assert (one / state_directory.CONTROL).exists()
    assert state_directory.running() == [], "nobody listens any more"


def test_a_directory_that_others_can_write_is_refused(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    with pytest.raises(state_directory.StateDirectoryError, match="chmod go-w"):
        state_directory.create(tmp_path / "state")


def test_a_file_in_its_place_is_refused(tmp_path):
    (tmp_path / "state").touch()
    with pytest.raises(state_directory.StateDirectoryError, match="--state-dir"):
        state_directory.create(tmp_path / "state")
