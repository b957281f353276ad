"""Health-check events on their way from Envoy to the Unix sockets that `cilium.health_check.event_sink.pipe` names.

Envoy writes events as lines of JSON to files. The files are FIFOs here, held open for reading and writing: Envoy waits
neither for a reader when it opens one nor, as long as this process runs, for room to write. Each event goes on as a
packet of its own, a serialised `envoy.data.core.v3.HealthCheckEvent`, to a `SOCK_SEQPACKET` socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import logging
import os
import socket
import stat
import threading
from collections import deque
from pathlib import Path

from cilium_proxy.api import InvalidMessageError, from_dict, serialise
from cilium_proxy.rewrite.cilium.health_check import fifo_path

_log = logging.getLogger(__name__)

FLUSH_INTERVAL = 50
"""Milliseconds after which Envoy is to write events, its option `--file-flush-interval-msec`."""
WAITING = 1024
"""Events kept for a receiver that is slow or absent; the oldest go first."""
RETRY = (0.0, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Seconds between attempts to reach a receiver; the last one again and again."""

_MODE = 0o660
_PIPE_SIZE = 1 << 20
_CHUNK = 1 << 16
_LONGEST_LINE = 1 << 20
_EVENT = "envoy.data.core.v3.HealthCheckEvent"


class HealthEvents:
    """All sinks of one Envoy, by the Unix sockets they stand for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sinks: dict[str, Sink] = {}
        self._lock = threading.Lock()

    async def start(self) -> None:
        """Begins to forward."""
        with self._lock:
            self._loop = asyncio.get_running_loop()
            for sink in self._sinks.values():
                sink.start()

    def fifo(self, socket_path: str) -> Path:
        """The FIFO whose events go to the socket; it is there when this returns. For any thread. Raises OSError."""
        with self._lock:
            sink = self._sinks.get(socket_path)
            if sink is None:
                sink = Sink(fifo_path(self.directory, socket_path), socket_path)
                self._sinks[socket_path] = sink
                if self._loop is not None:
                    self._loop.call_soon_threadsafe(sink.start)
            return sink.path

    async def close(self) -> None:
        """Ends; what receivers have not taken is lost."""
        with self._lock:
            sinks, self._sinks, self._loop = list(self._sinks.values()), {}, None
        for sink in sinks:
            await sink.close()


class Sink:
    """One FIFO and the receiver behind it. Raises OSError when the FIFO cannot be made."""

    def __init__(self, path: Path, socket_path: str) -> None:
        self.path = path
        self.socket_path = socket_path
        self.dropped = 0
        """Events that a receiver did not take in time, or that were none."""
        self._fifo = _open_fifo(path)
        self._partial = b""
        self._waiting: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._socket: socket.socket | None = None
        self._sender: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Reads and sends, on the running loop. Idempotent."""
        if self._sender is None:
            asyncio.get_running_loop().add_reader(self._fifo, self._read)
            self._sender = asyncio.create_task(self._send())

    async def close(self) -> None:
        """Ends, and removes the FIFO."""
        if self._sender is not None:
            asyncio.get_running_loop().remove_reader(self._fifo)
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        self._disconnect()
        os.close(self._fifo)
        self.path.unlink(missing_ok=True)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            *lines, self._partial = (self._partial + os.read(self._fifo, _CHUNK)).split(b"\n")
            for line in lines:
                self._take(line)
            if len(self._partial) > _LONGEST_LINE:
                self._partial = b""
                self._drop("a line without an end")

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            self._waiting.append(serialise(from_dict(_EVENT, json.loads(line))))
        except (ValueError, InvalidMessageError) as error:
            self._drop(str(error))
            return
        if len(self._waiting) > WAITING:
            self._waiting.popleft()
            self._drop("the receiver is too slow")
        self._arrived.set()

    def _drop(self, reason: str) -> None:
        self.dropped += 1
        # The first, the tenth, the hundredth: a receiver that is gone does not fill the log.
        if str(self.dropped).strip("0") == "1":
            _log.warning("health-check events to %s: %d dropped: %s", self.socket_path, self.dropped, reason)

    async def _send(self) -> None:
        while True:
            await self._arrived.wait()
            attempt = 0
            while self._waiting:
                event = self._waiting[0]
                try:
                    await self._send_event(event)
                except OSError as error:
                    self._disconnect()
                    if error.errno == errno.EMSGSIZE:
                        self._drop(f"an event of {len(event)} bytes is too large")
                    else:
                        if attempt == len(RETRY):
                            _log.warning("health-check events to %s wait: %s", self.socket_path, error)
                        await asyncio.sleep(RETRY[min(attempt, len(RETRY) - 1)])
                        attempt += 1
                        continue
                attempt = 0
                # While this one waited, newer ones may have pushed it out.
                if self._waiting and self._waiting[0] is event:
                    self._waiting.popleft()
            self._arrived.clear()

    async def _send_event(self, event: bytes) -> None:
        if self._socket is None:
            self._socket = _connect(self.socket_path)
        await asyncio.get_running_loop().sock_sendall(self._socket, event)

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _open_fifo(path: Path) -> int:
    """A FIFO that never ends; one that an earlier run left is taken over."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISFIFO(path.lstat().st_mode):
            path.unlink()
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, _MODE)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    # More room than usual, for times when this process is busy; the system may refuse it.
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    return descriptor


def _connect(path: str) -> socket.socket:
    """A leading `@` stands for the abstract namespace, as for Envoy."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        connection.connect("\0" + path[1:] if path.startswith("@") else path)
    except OSError:
        connection.close()
        raise
    return connection
