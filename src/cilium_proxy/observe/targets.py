"""Destinations of a writer."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from pathlib import Path

RETRY = 1.0
"""Seconds between attempts to connect to a receiver."""
SEND_TIMEOUT = 1.0
"""Seconds that a receiver has to take an entry."""
FILE_MODE = 0o640


class StreamTarget:
    """An open file descriptor, such as standard output."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, pieces: list[bytes]) -> int:
        """Writes all of it. Raises OSError: BrokenPipeError when nobody reads any more."""
        _write_all(self._descriptor, b"".join(pieces))
        return len(pieces)

    def reopen(self) -> None:
        """There is nothing to open."""

    def close(self) -> None:
        """Leaves the descriptor to its owner."""


class FileTarget:
    """A file that is appended to, line by line. Opened anew on `reopen` and when the path names another file.

    So both ways to rotate a log work: move it away (with or without a signal), or truncate it in place.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError when the file cannot be opened."""
        self.path = path
        self._reopen = threading.Event()
        self._descriptor: int | None = self._open()

    def write(self, pieces: list[bytes]) -> int:
        """Appends all of it. Raises OSError."""
        _write_all(self._current(), b"".join(pieces))
        return len(pieces)

    def reopen(self) -> None:
        """Opens the path anew before the next write."""
        self._reopen.set()

    def close(self) -> None:
        """Closes the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _current(self) -> int:
        if self._descriptor is not None and not self._reopen.is_set() and not self._moved(self._descriptor):
            return self._descriptor
        self._reopen.clear()
        # Opened before the old one is closed: if that fails entries still reach the old file.
        try:
            opened = self._open()
        except OSError:
            if self._descriptor is None:
                raise
            self._reopen.set()
            return self._descriptor
        self.close()
        self._descriptor = opened
        return opened

    def _moved(self, descriptor: int) -> bool:
        try:
            there = self.path.stat()
        except OSError:
            return True
        ours = os.fstat(descriptor)
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)


class SocketTarget:
    """Another receiver's `SOCK_SEQPACKET` socket: one entry per packet. Connects when it can, again and again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket: socket.socket | None = None
        self._not_before = 0.0

    def write(self, pieces: list[bytes]) -> int:
        """Sends what the receiver takes within `SEND_TIMEOUT`, the rest is lost. Raises OSError when there is none."""
        connection = self._connected()
        for sent, piece in enumerate(pieces):
            try:
                connection.send(piece, socket.MSG_NOSIGNAL | socket.MSG_EOR)
            except TimeoutError:
                return sent
            except OSError:
                self.close()
                return sent + self._once_more(pieces[sent:])
        return len(pieces)

    def reopen(self) -> None:
        """The receiver tells when it is gone; there is nothing to open before."""

    def close(self) -> None:
        """Ends the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _once_more(self, pieces: list[bytes]) -> int:
        """To a receiver that was restarted, which the first packet after that finds out."""
        connection = self._connected()
        for sent, piece in enumerate(pieces):
            try:
                connection.send(piece, socket.MSG_NOSIGNAL | socket.MSG_EOR)
            except OSError:
                self.close()
                return sent
        return len(pieces)

    def _connected(self) -> socket.socket:
        if self._socket is not None:
            return self._socket
        if time.monotonic() < self._not_before:
            raise ConnectionRefusedError(f"nobody receives on {self.path}")
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.settimeout(SEND_TIMEOUT)
            connection.connect(str(self.path))
        except OSError as error:
            connection.close()
            self._not_before = time.monotonic() + RETRY
            raise ConnectionRefusedError(f"nobody receives on {self.path}: {error.strerror or error}") from error
        self._socket = connection
        return connection


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            # Whoever shares standard output may have made it non-blocking.
            select.select([], [descriptor], [])
