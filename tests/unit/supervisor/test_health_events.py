"""Health-check events from FIFOs to Unix sockets."""

import asyncio
import json
import os
import socket
import tempfile
from pathlib import Path

import pytest

from cilium_proxy.api import messages
from cilium_proxy.supervisor import health_events
from cilium_proxy.supervisor.health_events import HealthEvents

PATIENCE = 10.0


@pytest.fixture
def directory():
    # Short: paths of Unix sockets are limited.
    with tempfile.TemporaryDirectory(prefix="cp-") as name:
        yield Path(name)


@pytest.fixture
async def events(directory):
    forwarder = HealthEvents(directory)
    await forwarder.start()
    yield forwarder
    await forwarder.close()


class Receiver:
    """Listens as the agent does."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self.socket.bind(path)
        self.socket.listen()
        self.connection = None

    async def accept(self):
        async with asyncio.timeout(PATIENCE):
            self.connection, _ = await asyncio.get_running_loop().sock_accept(self.socket)

    async def event(self):
        async with asyncio.timeout(PATIENCE):
            packet = await asyncio.get_running_loop().sock_recv(self.connection, 1 << 16)
        return messages("envoy.data.core.v3.HealthCheckEvent").FromString(packet)

    def close(self):
        self.socket.close()
        if self.connection is not None:
            self.connection.close()


@pytest.fixture
def receivers():
    made = []

    def listen(path):
        made.append(Receiver(str(path)))
        return made[-1]

    yield listen
    for receiver in made:
        receiver.close()


def write(fifo, *clusters):
    """As Envoy: opened for writing only, not before there is a reader."""
    descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    for cluster in clusters:
        event = {"health_checker_type": "TCP", "cluster_name": cluster, "add_healthy_event": {"first_check": True}}
        os.write(descriptor, json.dumps(event).encode() + b"\n")
    os.close(descriptor)


async def test_events_arrive_as_binary_messages_in_order(events, directory, receivers):
    receiver = receivers(directory / "s")
    write(events.fifo(str(directory / "s")), "a", "b", "c")
    await receiver.accept()
    got = [await receiver.event() for _ in range(3)]
    assert [event.cluster_name for event in got] == ["a", "b", "c"]
    assert got[0].add_healthy_event.first_check
    assert got[0].health_checker_type == 1


async def test_sinks_of_one_path_share_a_fifo_and_others_do_not(events, directory, receivers):
    first, second = receivers(directory / "1"), receivers(directory / "2")
    assert events.fifo(str(directory / "1")) == events.fifo(str(directory / "1"))
    write(events.fifo(str(directory / "1")), "a")
    write(events.fifo(str(directory / "2")), "b")
    for receiver, cluster in ((first, "a"), (second, "b")):
        await receiver.accept()
        assert (await receiver.event()).cluster_name == cluster


async def test_abstract_sockets_are_named_with_an_at_sign(events, receivers):
    name = f"another\0{os.getpid()}"
    receiver = receivers("\0" + name)
    write(events.fifo("@" + name), "a")
    await receiver.accept()
    assert (await receiver.event()).cluster_name == "a"


async def test_a_receiver_that_comes_late_gets_what_happened_before(events, directory, receivers):
    write(events.fifo(str(directory / "s")), "a", "b")
    await asyncio.sleep(0.2)
    receiver = receivers(directory / "s")
    await receiver.accept()
    assert [(await receiver.event()).cluster_name for _ in range(2)] == ["a", "b"]


async def test_a_receiver_that_comes_back_gets_what_follows(events, directory, receivers):
    receiver = receivers(directory / "s")
    fifo = events.fifo(str(directory / "s"))
    write(fifo, "a")
    await receiver.accept()
    await receiver.event()
    receiver.close()
    (directory / "s").unlink()
    again = receivers(directory / "s")
    write(fifo, "b")
    await again.accept()
    assert (await again.event()).cluster_name == "b"


async def test_an_absent_receiver_costs_the_oldest_events_and_never_blocks_the_writer(events, directory, receivers):
    fifo = events.fifo(str(directory / "s"))
    surplus = 100
    for number in range(health_events.WAITING + surplus):
        write(fifo, str(number))
        await asyncio.sleep(0)
    receiver = receivers(directory / "s")
    await receiver.accept()
    assert int((await receiver.event()).cluster_name) >= surplus - 1


async def test_lines_in_pieces_and_lines_that_are_no_events(events, directory, receivers):
    receiver = receivers(directory / "s")
    fifo = os.open(events.fifo(str(directory / "s")), os.O_WRONLY)
    os.write(fifo, b'no json\n{"cluster_name": 1}\n{"cluster_na')
    await asyncio.sleep(0.05)
    os.write(fifo, b'me": "whole"}\n')
    os.close(fifo)
    await receiver.accept()
    assert (await receiver.event()).cluster_name == "whole"


async def test_a_fifo_can_be_named_before_forwarding_begins(directory, receivers):
    events = HealthEvents(directory)
    receiver = receivers(directory / "s")
    write_before = events.fifo(str(directory / "s"))
    write(write_before, "early")
    await events.start()
    await receiver.accept()
    assert (await receiver.event()).cluster_name == "early"
    await events.close()
    assert not write_before.exists()
