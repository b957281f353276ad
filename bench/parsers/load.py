"""A client that keeps connections busy, and a server that knows by the count of bytes what to answer."""

from __future__ import annotations

import itertools
import selectors
import socket
import statistics
import sys
import time
from dataclasses import dataclass

from bench.http.peers import HOST
from bench.parsers.shapes import SHAPES, Shape

CHUNK = 1 << 18


@dataclass(frozen=True)
class Sample:
    """Requests that were answered, in how many seconds, and the median time from a turn to the last of its replies."""

    count: int
    seconds: float
    round_trip: float


class Talk:
    """A connection that sends when all is answered: a batch of requests at once, or one after the other."""

    def __init__(self, port: int, shape: Shape, together: bool) -> None:
        self.socket = socket.create_connection((HOST, port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._expect(len(shape.greeting))
        for request, reply in shape.opening:
            self.socket.sendall(request)
            self._expect(len(reply))
        self.turns = itertools.cycle(shape.turns(together))
        self.times: list[float] = []
        self.socket.setblocking(False)

    def _expect(self, size: int) -> None:
        while size > 0:
            got = len(self.socket.recv(size))
            if got == 0:
                raise RuntimeError("the connection was closed")
            size -= got

    def begin(self) -> None:
        """Starts the next turn."""
        request, self.reply = next(self.turns)
        self.request = memoryview(request)
        self.start = time.perf_counter()
        self.sent = self.received = 0
        self.send()

    def send(self) -> bool:
        """Sends what can be sent; whether that was all."""
        try:
            while self.sent < len(self.request):
                self.sent += self.socket.send(self.request[self.sent :])
        except BlockingIOError:
            return False
        return True

    def receive(self) -> bool:
        """Reads; whether all is answered."""
        got = self.socket.recv(CHUNK)
        if got != self.reply[self.received : self.received + len(got)] or not got:
            raise RuntimeError(f"unexpected reply {got[:100]!r}")
        self.received += len(got)
        if self.received < len(self.reply):
            return False
        self.times.append(time.perf_counter() - self.start)
        return True


def exchange(port: int, shape: Shape, connections: int, seconds: float, *, together: bool) -> Sample:
    """Keeps that many connections busy for that long. `together`: with batches, else with one request at a time."""
    talks = [Talk(port, shape, together) for _ in range(connections)]
    both = selectors.EVENT_READ | selectors.EVENT_WRITE
    with selectors.DefaultSelector() as selector:
        for talk in talks:
            talk.begin()
            selector.register(talk.socket, both, talk)
        start = time.perf_counter()
        busy = len(talks)
        while busy:
            for key, events in selector.select(30):
                talk = key.data
                if events & selectors.EVENT_WRITE and talk.send():
                    selector.modify(talk.socket, selectors.EVENT_READ, talk)
                if events & selectors.EVENT_READ and talk.receive():
                    if time.perf_counter() - start >= seconds:
                        selector.unregister(talk.socket)
                        busy -= 1
                        continue
                    talk.begin()
                    if talk.sent < len(talk.request):
                        selector.modify(talk.socket, both, talk)
        elapsed = time.perf_counter() - start
    for talk in talks:
        talk.socket.close()
    times = [one for talk in talks for one in talk.times]
    return Sample(len(times) * (shape.batch if together else 1), elapsed, statistics.median(times))


class Answering:
    """The server's side of a connection. Requests come in the order of their numbers."""

    def __init__(self, connection: socket.socket, shape: Shape) -> None:
        self.socket, self.shape = connection, shape
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(shape.greeting)
        # Large enough that a reply is sent at once.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.opening = list(shape.opening)
        self.pairs = [shape.message(number) for number in range(shape.batch)]
        self.number, self.missing = 0, len((self.opening or self.pairs)[0][0])

    def receive(self, buffer: bytearray) -> bool:
        """Reads and answers; whether the connection goes on."""
        got = self.socket.recv_into(buffer)
        if got == 0:
            return False
        replies = []
        while got >= self.missing:
            got -= self.missing
            if self.opening:
                replies.append(self.opening.pop(0)[1])
            else:
                replies.append(self.pairs[self.number][1])
                self.number = (self.number + 1) % self.shape.batch
            self.missing = len(self.opening[0][0] if self.opening else self.pairs[self.number][0])
        self.missing -= got
        if replies:
            self.socket.sendall(b"".join(replies))
        return True


@dataclass(frozen=True)
class Listening:
    """The server's side of a shape."""

    socket: socket.socket
    shape: Shape


def serve() -> None:
    """Serves each shape on a port of its own: those of the arguments."""
    buffer = bytearray(CHUNK)
    with selectors.DefaultSelector() as selector:
        for shape, port in zip(SHAPES, sys.argv[1:], strict=True):
            listening = Listening(socket.create_server((HOST, int(port)), backlog=64), shape)
            selector.register(listening.socket, selectors.EVENT_READ, listening)
        while True:
            for key, _ in selector.select():
                if isinstance(key.data, Listening):
                    connection, _ = key.data.socket.accept()
                    selector.register(connection, selectors.EVENT_READ, Answering(connection, key.data.shape))
                elif not _goes_on(key.data, buffer):
                    selector.unregister(key.fileobj)
                    key.data.socket.close()


def _goes_on(answering: Answering, buffer: bytearray) -> bool:
    try:
        return answering.receive(buffer)
    except ConnectionError:
        return False
