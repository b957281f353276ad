"""The socket that Envoy sends its access log to."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from cilium_proxy.api import messages

_log = logging.getLogger(__name__)

MODE = 0o660
"""Of the socket: Envoy may run as another user of the same group."""
PACKET = 64 << 10
"""Largest packet taken, in bytes. Ours have up to 4,096; others may send more."""
BATCH = 64
"""Packets taken from one sender before others get their turn."""
PAUSE = 0.5
"""Seconds until senders are accepted again after that failed."""
DRAIN = 16
"""Batches taken from a sender when the receiver ends."""


class ReceiverError(OSError):
    """The socket cannot be listened on; the text says why and what to do."""


@dataclass(slots=True)
class ReceiverStats:
    """Packets received, those among them that are no LogEntry, and those cut because they were larger than `PACKET`."""

    received: int = 0
    malformed: int = 0
    truncated: int = 0


Consumer = Callable[[Any, bytes], None]
"""Gets an entry with the packet it came in. Must not wait."""


class Receiver:
    """Listens on a `SOCK_SEQPACKET` Unix socket; hands each `cilium.LogEntry` of any number of senders to `consumer`.

    Never waits for the consumer: a sender whose entries are not taken drops them, so the queue behind the consumer has
    to be bounded and its drops counted there.
    """

    def __init__(self, path: Path, consumer: Consumer) -> None:
        self.path = path
        self.stats = ReceiverStats()
        self._consumer = consumer
        self._entry = messages("cilium.LogEntry")
        self._listener: socket.socket | None = None
        self._inode: tuple[int, int] | None = None
        self._senders: set[socket.socket] = set()
        self._resumption: asyncio.TimerHandle | None = None

    @property
    def senders(self) -> int:
        """How many are connected."""
        return len(self._senders)

    async def start(self) -> None:
        """Listens. Replaces a socket that nobody listens on. Raises ReceiverError."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            listener.setblocking(False)
            _remove_stale(self.path)
            # The socket's file gets the mode of the socket, so that at no time more may connect than shall.
            os.fchmod(listener.fileno(), 0o600)
            listener.bind(str(self.path))
            self.path.chmod(MODE)
            listener.listen(128)
            status = self.path.stat()
        except OSError as error:
            listener.close()
            if isinstance(error, ReceiverError):
                raise
            raise ReceiverError(error.errno, f"cannot listen on {self.path}: {error.strerror or error}") from error
        self._inode = (status.st_dev, status.st_ino)
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._accept)

    async def close(self) -> None:
        """Takes what has arrived, ends all connections and removes the socket."""
        if self._listener is None:
            return
        loop = asyncio.get_running_loop()
        self._accept()
        loop.remove_reader(self._listener)
        if self._resumption is not None:
            self._resumption.cancel()
        for sender in list(self._senders):
            # What waits in its socket; a sender that goes on and on is cut off.
            for _ in range(DRAIN):
                if sender not in self._senders or not self._receive(sender):
                    break
            self._forget(sender)
        self._listener.close()
        self._listener = None
        with contextlib.suppress(OSError):
            status = self.path.stat()
            # Another receiver may have taken the path over.
            if (status.st_dev, status.st_ino) == self._inode:
                self.path.unlink()

    def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._listener is not None  # noqa: S101
        while True:
            try:
                sender, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno != errno.ECONNABORTED:
                    _log.warning("access log: cannot accept a sender on %s: %s", self.path, error.strerror)
                    # Out of descriptors: the sender keeps waiting, and the socket readable.
                    loop.remove_reader(self._listener)
                    self._resumption = loop.call_later(PAUSE, loop.add_reader, self._listener, self._accept)
                    return
                continue
            sender.setblocking(False)
            self._senders.add(sender)
            loop.add_reader(sender, self._receive, sender)

    def _receive(self, sender: socket.socket) -> bool:
        """Takes up to a batch of packets; False when there was none."""
        for taken in range(BATCH):
            try:
                packet, _, flags, _ = sender.recvmsg(PACKET)
            except (BlockingIOError, InterruptedError):
                return taken > 0
            except OSError:
                packet, flags = b"", 0
            if not packet:
                self._forget(sender)
                return False
            self._take(packet, flags)
        return True

    def _take(self, packet: bytes, flags: int) -> None:
        self.stats.received += 1
        if flags & socket.MSG_TRUNC:
            self.stats.truncated += 1
            return
        try:
            entry = self._entry.FromString(packet)
        except DecodeError:
            self.stats.malformed += 1
            return
        self._consumer(entry, packet)

    def _forget(self, sender: socket.socket) -> None:
        if sender in self._senders:
            asyncio.get_running_loop().remove_reader(sender)
            self._senders.remove(sender)
            sender.close()


def _remove_stale(path: Path) -> None:
    """Removes a socket that is left over. Raises ReceiverError when somebody listens on it, or it is no socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ReceiverError(errno.EEXIST, f"cannot listen on {path}: it exists and is not a socket; remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EPROTOTYPE):
                raise
    raise ReceiverError(errno.EADDRINUSE, f"cannot listen on {path}: another process does; stop it or use another path")
