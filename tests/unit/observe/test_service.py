import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.unit.observe.conftest import MakeEntry
from tests.unit.observe.test_receiver import Connect, receiving, until

from cilium_proxy.config import AccessLog
from cilium_proxy.observe import AccessLogService, Names, ReceiverError


def written(service: AccessLogService, count: int) -> Callable[[], bool]:
    return lambda: service.statistics()["written"] == count


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


async def test_another_receiver_gets_the_packets_and_may_come_and_go(
    tmp_path: Path, connect: Connect, make_entry: MakeEntry
) -> None:
    onward = tmp_path / "onward"
    service = AccessLogService(tmp_path / "s", AccessLog(kind="socket", format="json", path=onward))
    packet = make_entry().SerializeToString()
    taken: list[Any] = []
    async with receiving(onward, taken):
        await service.start()
        sender = connect(tmp_path / "s")
        sender.send(packet)
        await until(lambda: len(taken) == 1)
    async with receiving(onward, taken):
        sender.send(packet)
        await until(lambda: len(taken) == 2)
    sender.send(packet)
    await until(lambda: service.statistics()["failed"] == 1)
    await service.close()
    assert [piece for _, piece in taken] == [packet, packet]


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
