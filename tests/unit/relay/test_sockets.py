import socket
import stat

import pytest

from cilium_proxy.relay import sockets


def test_only_the_owner_may_connect(directory):
    with sockets.listen(directory / "s"):
        assert stat.S_IMODE((directory / "s").stat().st_mode) == 0o600


def test_the_mode_can_be_wider(directory):
    with sockets.listen(directory / "s", mode=0o660):
        assert stat.S_IMODE((directory / "s").stat().st_mode) == 0o660


def test_a_socket_nobody_listens_on_is_replaced(directory):
    sockets.listen(directory / "s").close()
    assert (directory / "s").exists()
    with sockets.listen(directory / "s"), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(directory / "s"))


def test_a_socket_in_use_is_left_alone(directory):
    with sockets.listen(directory / "s"), pytest.raises(sockets.SocketError, match="another process listens"):
        sockets.listen(directory / "s")


def test_a_file_in_the_place_is_left_alone(directory):
    (directory / "s").write_text("precious")
    with pytest.raises(sockets.SocketError, match="is not a socket"):
        sockets.listen(directory / "s")
    assert (directory / "s").read_text() == "precious"


def test_a_long_path_is_refused_with_the_fix(directory):
    with pytest.raises(sockets.SocketError, match="shorter state directory"):
        sockets.listen(directory / ("x" * 120))


def test_a_missing_directory_is_named(directory):
    with pytest.raises(sockets.SocketError, match=r"cannot listen on .*/none/s"):
        sockets.listen(directory / "none" / "s")
