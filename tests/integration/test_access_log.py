"""Whoever reads the access log, requests go on."""

import asyncio
import socket

from tests.integration.files import http_rule
from tests.integration.load import Load
from tests.integration.plane import until_ready

from cilium_proxy.api import messages


class Receiver:
    """The control plane's end: a stream of cilium.LogEntry messages, each behind its length."""

    def __init__(self, path):
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen()
        self.listener.settimeout(30)
        self.connection = None

    def read(self):
        if self.connection is None:
            self.connection, _ = self.listener.accept()
            self.connection.settimeout(30)
        return messages("cilium.LogEntry").FromString(self._take(self._length()))

    def _length(self):
        length = shift = 0
        while (byte := self._take(1)[0]) & 0x80:
            length |= (byte & 0x7F) << shift
            shift += 7
        return length | byte << shift

    def _take(self, count):
        taken = self.connection.recv(count, socket.MSG_WAITALL)
        assert len(taken) == count
        return taken

    def close(self):
        self.listener.close()
        if self.connection is not None:
            self.connection.close()
        self.path.unlink(missing_ok=True)


async def started(files, control_plane, envoy):
    files.policy(http_rule(path="/x"))
    plane = await control_plane(files)
    process = await envoy(files)
    await plane.apply()
    await until_ready(process)
    return process


async def requests(files, count=200):
    async with Load(files, "/x", connections=4) as load:
        await load.more(count)
    assert {outcome.status for outcome in load.outcomes} == {200}


async def test_nobody_reads(files4, control_plane, envoy):
    await started(files4, control_plane, envoy)
    await requests(files4)


async def test_entries_arrive_from_a_receiver_that_comes_later_goes_and_is_back(files4, control_plane, envoy):
    await started(files4, control_plane, envoy)
    await requests(files4, 20)
    for _ in range(2):
        receiver = Receiver(files4.directory / "al.sock")
        try:
            reading = asyncio.create_task(asyncio.to_thread(receiver.read))
            async with Load(files4, "/x", connections=2) as load:
                entry = await reading
            assert {outcome.status for outcome in load.outcomes} <= {200}
            assert entry.http.path == "/x"
            assert entry.policy_name == "10.99.0.1"
        finally:
            receiver.close()
        await requests(files4, 20)


async def test_a_receiver_that_does_not_read_holds_up_nobody(files4, control_plane, envoy):
    receiver = Receiver(files4.directory / "al.sock")
    try:
        await started(files4, control_plane, envoy)
        # Many times what the socket's buffer holds.
        await requests(files4, 5000)
        assert (await asyncio.to_thread(receiver.read)).http.path == "/x"
    finally:
        receiver.close()
