"""Where a proxy keeps its sockets, others may not put theirs."""

import stat

import pytest

from cilium_proxy.supervisor import state_directory
from cilium_proxy.supervisor.state_directory import StateDirectoryError


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return state_directory.base()


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_made_for_this_user_only(base, tmp_path):
    made = state_directory.create(state_directory.default(tmp_path / "proxy.yaml"))
    assert [mode(one) for one in (made.parent, made)] == [0o700, 0o700]
    assert made.parent == base


def test_a_volume_that_all_may_write_to_becomes_this_user_s(base, tmp_path):
    base.mkdir()
    base.chmod(0o777)
    state_directory.create(state_directory.default(tmp_path / "proxy.yaml"))
    assert mode(base) == 0o755


def test_a_directory_that_somebody_chose_is_left_as_it_is(tmp_path):
    chosen = tmp_path / "shared"
    chosen.mkdir()
    chosen.chmod(0o1777)
    with pytest.raises(StateDirectoryError, match="can be written by others"):
        state_directory.create(chosen)
    assert mode(chosen) == 0o1777


def test_what_is_no_directory_is_refused(base, tmp_path):
    base.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(StateDirectoryError, match="is not a directory of this user"):
        state_directory.create(state_directory.default(tmp_path / "proxy.yaml"))
