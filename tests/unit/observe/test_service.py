import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.unit.observe.conftest import MakeEntry
from tests.unit.observe.test_receiver import Connect, receiving, until

from cilium_proxy.config import AccessLog
from cilium_proxy.observe import AccessLogService, Names, ReceiverError, parse_line


def written(service: AccessLogService, count: int) -> Callable[[], bool]:
    return lambda: service.statistics()["written"] == count


@asynccontextmanager
async def serving(path: Path, config: AccessLog, *, stream: bool = False) -> AsyncIterator[AccessLogService]:
    service = AccessLogService(path, config, stream=stream)
    await service.start()
    try:
        yield service
    finally:
        await service.close()


def framed(entry: Any) -> bytes:
    """Behind its length as a varint."""
    message = entry.SerializeToString()
    length, head = len(message), b""
    while length >= 0x80:
        head, length = head + bytes([length & 0x7F | 0x80]), length >> 7
    return head + bytes([length]) + message


@pytest.mark.parametrize("form", ["compact", "json"])
async def test_a_file_gets_lines(
    tmp_path: Path, connect: Connect, make_entry: MakeEntry, form: Literal["compact", "json"]
) -> None:
    file = tmp_path / "access.log"
    service = AccessLogService(tmp_path / "s", AccessLog(kind="file", format=form, path=file))
    service.names = Names({16777217: "frontend"})
    await service.start()
    connect(tmp_path / "s").send(make_entry().SerializeToString())
    await until(written(service, 1))
    # Whole lines are there at once.
    line = file.read_text()
    assert line.endswith("\n")
    if form == "json":
        assert json.loads(line)["policyName"] == "127.0.0.2"
    else:
        assert "(frontend) ->" in line
    file.rename(tmp_path / "rotated")
    service.reopen()
    connect(tmp_path / "s").send(make_entry().SerializeToString())
    await service.close()
    assert len(file.read_text().splitlines()) == 1
    assert not (tmp_path / "s").exists()


async def test_standard_output_gets_lines(
    tmp_path: Path, connect: Connect, make_entry: MakeEntry, capfd: pytest.CaptureFixture[str]
) -> None:
    service = AccessLogService(tmp_path / "s", AccessLog(kind="stdout", format="compact", path=None))
    await service.start()
    connect(tmp_path / "s").send(make_entry().SerializeToString())
    await until(written(service, 1))
    await service.close()
    assert capfd.readouterr().out.endswith("(HTTP/1.1 GET http://host/path)\n")


async def test_another_receiver_gets_the_entries_and_may_come_and_go(
    tmp_path: Path, connect: Connect, make_entry: MakeEntry, caplog: pytest.LogCaptureFixture
) -> None:
    onward = tmp_path / "onward"
    taken: list[Any] = []
    async with serving(tmp_path / "s", AccessLog(kind="socket", format="json", path=onward)) as service:
        sender = connect(tmp_path / "s")
        for count in (1, 2):
            async with receiving(onward, taken):
                sender.send(make_entry(proxy_id=count).SerializeToString())
                await until(lambda: len(taken) == count)  # noqa: B023
        sender.send(make_entry().SerializeToString())
        await until(lambda: service.statistics()["failed"] == 1)
    assert taken == [make_entry(proxy_id=1), make_entry(proxy_id=2)]
    assert "entries are lost until it works again" in caplog.text


async def test_a_stream_is_taken_as_it_comes(tmp_path: Path, connect: Connect, make_entry: MakeEntry) -> None:
    file = tmp_path / "access.log"
    entries = [make_entry(proxy_id=number, policy_name="x" * number) for number in range(300)]
    stream = b"".join(framed(entry) for entry in entries)
    config = AccessLog(kind="file", format="json", path=file)
    async with serving(tmp_path / "s", config, stream=True) as service:
        sender = connect(tmp_path / "s", socket.SOCK_STREAM)
        for start in range(0, len(stream), 777):
            sender.sendall(stream[start : start + 777])
            await asyncio.sleep(0)
        await until(written(service, 300))
    assert [parse_line(line) for line in file.read_text().splitlines()] == entries


async def test_a_stream_that_cannot_be_read_ends_its_sender_alone(
    tmp_path: Path, connect: Connect, make_entry: MakeEntry, caplog: pytest.LogCaptureFixture
) -> None:
    config = AccessLog(kind="file", format="json", path=tmp_path / "access.log")
    async with serving(tmp_path / "s", config, stream=True) as service:
        good, bad = (connect(tmp_path / "s", socket.SOCK_STREAM) for _ in range(2))
        # The length of more than 64 KiB.
        bad.sendall(framed(make_entry()) + b"\xff\xff\xff\x01")
        await until(lambda: service.statistics()["malformed"] == 1)
        assert await asyncio.to_thread(bad.recv, 1) == b""
        good.sendall(framed(make_entry()))
        await until(written(service, 2))
        await until(lambda: "sent no length of an entry" in caplog.text)
        assert service.statistics()["senders"] == 1


async def test_what_becomes_of_packets_is_counted(tmp_path: Path, connect: Connect, make_entry: MakeEntry) -> None:
    config = AccessLog(kind="file", format="json", path=tmp_path / "access.log")
    async with serving(tmp_path / "s", config) as service:
        sender = connect(tmp_path / "s")
        sender.send(b"\xff\xff")
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
        sender.send(bytes((64 << 10) + 1))
        sender.send(make_entry().SerializeToString())
        await until(written(service, 1))
        counts = {"senders": 1, "received": 3, "malformed": 1, "truncated": 1, "written": 1, "dropped": 0, "failed": 0}
        assert service.statistics() == counts
        sender.close()
        await until(lambda: service.statistics()["senders"] == 0)


async def test_a_destination_that_blocks_holds_up_nobody(
    tmp_path: Path, connect: Connect, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cilium_proxy.observe.service.PATIENCE", 0.01)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    packet = make_entry(http={"path": "x" * 60_000}).SerializeToString()
    async with serving(tmp_path / "s", AccessLog(kind="file", format="compact", path=pipe)) as service:
        sender = connect(tmp_path / "s")
        # What waits is bounded; no write of the sender fails.
        while not service.statistics()["dropped"]:
            await asyncio.to_thread(sender.send, packet)
        # The pipe itself has room for one.
        assert service.statistics()["written"] <= 1
    # It is closed although the pipe is still full.
    os.close(reader)


async def test_nothing_is_written_for_none(tmp_path: Path, connect: Connect, make_entry: MakeEntry) -> None:
    service = AccessLogService(tmp_path / "s", AccessLog(kind="none", format="compact", path=None))
    await service.start()
    connect(tmp_path / "s").send(make_entry().SerializeToString())
    await until(lambda: service.statistics()["received"] == 1)
    await service.close()


async def test_a_destination_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    config = AccessLog(kind="file", format="json", path=tmp_path / "missing" / "access.log")
    with pytest.raises(FileNotFoundError, match="missing"):
        await AccessLogService(tmp_path / "s", config).start()
    assert not (tmp_path / "s").exists()


async def test_a_socket_in_use_is_an_error(tmp_path: Path) -> None:
    config = AccessLog(kind="file", format="json", path=tmp_path / "access.log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        other.bind(str(tmp_path / "s"))
        other.listen()
        with pytest.raises(ReceiverError):
            await AccessLogService(tmp_path / "s", config).start()
