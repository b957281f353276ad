"""Entries from a log file, from standard input or from a socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO

from cilium_proxy.observe.filter import Filter
from cilium_proxy.observe.json_lines import InvalidLineError, parse_line
from cilium_proxy.observe.receiver import Receiver

POLL = 0.2
"""Seconds between looks at a file that is followed."""
QUEUE = 10_000
"""Entries that may wait to be shown when they come from a socket; later ones are dropped then."""


class SourceError(Exception):
    """A source cannot be read; the text says where and what to do."""


async def observe(source: str, wanted: Filter, *, follow: bool = False, last: int | None = None) -> AsyncGenerator[Any]:
    """Yields the LogEntry messages of `source` that `wanted` matches.

    `source` is a log written with `format: json`, "-" for standard input, or a socket to listen on: one that exists
    already, or a path that ends with ".sock". `last` gives only that many of what a file holds now. `follow` goes on
    with what is appended to a file, through rotations; a socket is always followed.
    Raises SourceError, receiver.ReceiverError.
    """
    entries = _socket(Path(source)) if _is_socket(source) else _lines(source, wanted, follow=follow, last=last)
    # Closed at once when the caller stops, so that a socket is removed then.
    async with contextlib.aclosing(entries):
        async for entry in entries:
            if wanted.matches(entry):
                yield entry


def _is_socket(source: str) -> bool:
    try:
        return source != "-" and stat.S_ISSOCK(os.stat(source).st_mode)  # noqa: PTH116
    except OSError:
        return source.endswith(".sock")


async def _socket(path: Path) -> AsyncGenerator[Any]:
    waiting: asyncio.Queue[Any] = asyncio.Queue(QUEUE)

    def take(entry: Any) -> None:
        if not waiting.full():
            waiting.put_nowait(entry)

    receiver = Receiver(path, take)
    await receiver.start()
    try:
        while True:
            yield await waiting.get()
    finally:
        await receiver.close()


async def _lines(source: str, wanted: Filter, *, follow: bool, last: int | None) -> AsyncGenerator[Any]:
    try:
        file: BinaryIO = sys.stdin.buffer if source == "-" else Path(source).open("rb")  # noqa: ASYNC230, SIM115
    except OSError as error:
        raise SourceError(f"{source}: {error.strerror}; give a log file, a socket or -") from error
    tail = _Tail(source, file)
    try:
        kept: deque[Any] = deque(maxlen=last)
        async for entry in tail.entries():
            if last is None:
                yield entry
            elif wanted.matches(entry):
                kept.append(entry)
        for entry in kept:
            yield entry
        while follow and source != "-":
            await asyncio.sleep(POLL)
            async for entry in tail.entries():
                yield entry
            tail.rotate()
    finally:
        tail.close()


class _Tail:
    """A log file that grows, and may be moved away or truncated."""

    def __init__(self, source: str, file: BinaryIO) -> None:
        self._source = source
        self._file = file
        self._number = 0
        self._rest = b""

    async def entries(self) -> AsyncIterator[Any]:
        """What there is up to the end of the file now. A line without end is kept for later."""
        while line := await asyncio.to_thread(self._file.readline):
            self._rest += line
            if not self._rest.endswith(b"\n"):
                continue
            line, self._rest = self._rest, b""
            self._number += 1
            if not line.strip():
                continue
            try:
                yield parse_line(line)
            except InvalidLineError as error:
                place, fix = f"{self._source}:{self._number}", "observe reads logs written with `format: json`"
                raise SourceError(f"{place}: not a log entry ({error}); {fix}") from error

    def rotate(self) -> None:
        """Goes on with the file that the path names now, or from the start of a truncated one."""
        try:
            there = Path(self._source).stat()
        except OSError:
            return
        ours = os.fstat(self._file.fileno())
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            try:
                opened = Path(self._source).open("rb")  # noqa: SIM115
            except OSError:
                return
            self._file.close()
            self._file, self._number, self._rest = opened, 0, b""
        elif there.st_size < self._file.tell():
            self._file.seek(0)
            self._number, self._rest = 0, b""

    def close(self) -> None:
        """Closes the file; standard input stays open."""
        if self._source != "-":
            self._file.close()
