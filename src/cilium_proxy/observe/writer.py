"""A thread per destination, behind a bounded queue."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

_log = logging.getLogger(__name__)

QUEUE = 10_000
"""Entries that may wait for a destination."""
BATCH = 256
"""Entries written at once."""
PATIENCE = 2.0
"""Seconds that a destination has for what waits when the writer is closed."""


class Target(Protocol):
    """Where entries go. Called from one thread, except `reopen`."""

    def write(self, pieces: list[bytes]) -> int:
        """Writes pieces whole and in order; may block. Returns how many were taken. Raises OSError when it fails."""

    def reopen(self) -> None:
        """Opens the destination anew before the next write. From any thread."""

    def close(self) -> None:
        """Ends it."""


@dataclass(slots=True)
class WriterStats:
    """Entries written, dropped because the queue was full, and lost because the destination failed."""

    written: int = 0
    dropped: int = 0
    failed: int = 0


class Writer:
    """Formats entries and writes them to a target in a thread of its own, so that a slow one holds up nobody."""

    def __init__(self, target: Target, form: Callable[[Any, bytes], bytes], size: int = QUEUE) -> None:
        self.stats = WriterStats()
        self._target = target
        self._form = form
        self._queue: queue.Queue[tuple[Any, bytes] | None] = queue.Queue(size)
        self._failing = False
        # A destination may block for ever, which must not keep the process.
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def put(self, entry: Any, packet: bytes) -> None:
        """Queues an entry with the packet it came in; drops and counts it when the queue is full."""
        try:
            self._queue.put_nowait((entry, packet))
        except queue.Full:
            self.stats.dropped += 1

    def reopen(self) -> None:
        """Opens the destination anew, after a log rotation."""
        self._target.reopen()

    def close(self, patience: float = PATIENCE) -> None:
        """Writes what waits, at most for `patience` seconds. Blocks."""
        try:
            self._queue.put(None, timeout=patience)
        except queue.Full:
            return
        self._thread.join(patience)

    def _run(self) -> None:
        while True:
            batch, last = self._batch()
            if batch:
                self._write(batch)
            if last:
                self._target.close()
                return

    def _batch(self) -> tuple[list[bytes], bool]:
        """What waits, at least one entry; whether it is the last."""
        batch: list[bytes] = []
        item = self._queue.get()
        while item is not None:
            batch.append(self._form(*item))
            if len(batch) == BATCH:
                return batch, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _write(self, batch: list[bytes]) -> None:
        try:
            taken = self._target.write(batch)
        except OSError as error:
            self.stats.failed += len(batch)
            if not self._failing:
                _log.warning("access log: %s; entries are lost until it works again", error)
            self._failing = True
            return
        self._failing = False
        self.stats.written += taken
        self.stats.failed += len(batch) - taken
