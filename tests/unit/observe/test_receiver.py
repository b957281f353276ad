import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.unit.observe.conftest import MakeEntry

from cilium_proxy.observe import Receiver, ReceiverError

Connect = Callable[..., socket.socket]


@asynccontextmanager
async def receiving(path: Path, taken: list[Any]) -> AsyncIterator[Receiver]:
    receiver = Receiver(path, taken.append)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def test_entries_of_several_senders_arrive_in_their_order(
    tmp_path: Path, connect: Connect, make_entry: MakeEntry
) -> None:
    taken: list[Any] = []
    async with receiving(tmp_path / "log.sock", taken) as receiver:
        senders = [connect(receiver.path) for _ in range(3)]
        for number in range(50):
            for index, sender in enumerate(senders):
                sender.send(make_entry(proxy_id=number, policy_name=str(index)).SerializeToString())
            await asyncio.sleep(0)
        await until(lambda: len(taken) == 150)
    for index in range(3):
        assert [entry.proxy_id for entry in taken if entry.policy_name == str(index)] == list(range(50))


async def test_what_is_no_entry_is_left_out_and_the_sender_kept(
    tmp_path: Path, connect: Connect, make_entry: MakeEntry
) -> None:
    taken: list[Any] = []
    async with receiving(tmp_path / "log.sock", taken) as receiver:
        sender = connect(receiver.path)
        sender.send(b"\xff\xff")
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
        sender.send(bytes((64 << 10) + 1))
        sender.send(make_entry().SerializeToString())
        await until(lambda: bool(taken))
        assert taken == [make_entry()]


async def test_what_was_sent_before_the_end_is_taken(tmp_path: Path, connect: Connect, make_entry: MakeEntry) -> None:
    taken: list[Any] = []
    async with receiving(tmp_path / "log.sock", taken) as receiver:
        sender = connect(receiver.path)
        for _ in range(5):
            sender.send(make_entry().SerializeToString())
    assert len(taken) == 5


async def test_the_socket_has_its_mode_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "log.sock"
    async with receiving(path, []):
        assert path.stat().st_mode & 0o777 == 0o660
    assert not path.exists()


async def test_a_socket_left_over_is_replaced(tmp_path: Path, connect: Connect, make_entry: MakeEntry) -> None:
    path = tmp_path / "log.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stale:
        stale.bind(str(path))
    taken: list[Any] = []
    async with receiving(path, taken):
        connect(path).send(make_entry().SerializeToString())
        await until(lambda: bool(taken))


@pytest.mark.parametrize("kind", [socket.SOCK_SEQPACKET, socket.SOCK_STREAM])
async def test_a_socket_in_use_is_left_alone(tmp_path: Path, kind: socket.SocketKind) -> None:
    path = tmp_path / "log.sock"
    with socket.socket(socket.AF_UNIX, kind) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(ReceiverError, match="another process does"):
            await Receiver(path, print).start()
        assert path.exists()


async def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "log.sock"
    path.write_text("precious")
    with pytest.raises(ReceiverError, match="is not a socket"):
        await Receiver(path, print).start()
    assert path.read_text() == "precious"


async def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "log.sock"
    with pytest.raises(ReceiverError, match=str(path)):
        await Receiver(path, print).start()


async def test_a_path_taken_over_by_another_receiver_stays(tmp_path: Path) -> None:
    path = tmp_path / "log.sock"
    async with receiving(path, []):
        path.unlink()
        path.write_text("other")
    assert path.read_text() == "other"


async def test_without_descriptors_a_sender_waits_until_there_are_some(
    tmp_path: Path, make_entry: MakeEntry, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[Any] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with receiving(tmp_path / "log.sock", taken) as receiver:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sender:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            try:
                sender.connect(str(receiver.path))
                sender.send(make_entry().SerializeToString())
                await until(lambda: "cannot accept" in caplog.text)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            await until(lambda: len(taken) == 1)
