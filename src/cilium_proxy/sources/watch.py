"""Notices edits: in place, atomic renames, and the symlink swaps of Kubernetes ConfigMaps."""

from __future__ import annotations

import asyncio
import contextlib
import glob
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from watchfiles import awatch

_log = logging.getLogger(__name__)

# Milliseconds without a further event that end an edit, and the longest an edit may take.
_QUIET = 50
_LONGEST = 400
# Milliseconds after which the files are looked at without an event: network file systems send none.
_LOOK = 500

Fingerprint = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Watched:
    """A configuration file, its policy paths, and what they looked like."""

    file: Path
    policies: tuple[str, ...]
    seen: Fingerprint

    @classmethod
    def of(cls, file: Path, policies: Iterable[str] = ()) -> Watched:
        """What is there now."""
        paths = tuple(policies)
        return cls(file, paths, fingerprint([str(file), *paths]))

    @property
    def changed(self) -> bool:
        """Whether the files look different now."""
        return fingerprint([str(self.file), *self.policies]) != self.seen


def fingerprint(paths: Iterable[str]) -> Fingerprint:
    """Name, inode, size and time of every file at or below the paths, symlinks followed."""
    found: set[tuple[str, int, int, int]] = set()
    for path in paths:
        for name in _files(path):
            try:
                info = os.stat(name)  # noqa: PTH116
            except OSError:
                found.add((name, 0, 0, 0))
            else:
                found.add((name, info.st_ino, info.st_size, info.st_mtime_ns))
    return tuple(sorted(found))


async def changes(watched: Watched, enough: asyncio.Event) -> None:
    """Waits until the files look different and have settled, or until `enough` is set."""
    if await asyncio.to_thread(getattr, watched, "changed"):
        await asyncio.sleep(_QUIET / 1000)
        return
    events = awatch(
        *sorted(_directories(watched)),
        watch_filter=None,
        recursive=False,
        debounce=_LONGEST,
        step=_QUIET,
        rust_timeout=_LOOK,
        yield_on_timeout=True,
        stop_event=enough,
        ignore_permission_denied=True,
    )
    try:
        async with contextlib.aclosing(events):
            async for _ in events:
                if await asyncio.to_thread(getattr, watched, "changed"):
                    return
    except (OSError, RuntimeError) as error:
        # A directory that has just gone, or no inotify watches left.
        _log.warning("cannot watch files (%s); looking at them twice a second", error)
        while not enough.is_set() and not await asyncio.to_thread(getattr, watched, "changed"):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK / 1000)


def _files(path: str) -> Iterator[str]:
    if os.path.isdir(path):  # noqa: PTH112
        for directory, folders, files in os.walk(path, followlinks=True):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from (os.path.join(directory, name) for name in files if not name.startswith("."))  # noqa: PTH118
    elif glob.has_magic(path):
        for match in glob.glob(path, recursive=True):  # noqa: PTH207
            yield from _files(match) if os.path.isdir(match) else (match,)  # noqa: PTH112
    else:
        yield path


def _directories(watched: Watched) -> set[Path]:
    """Where events of the files occur: their directories, as named and as symlinks lead there."""
    found: set[Path] = set()
    for name, *_ in watched.seen:
        file = Path(name)
        found |= {file.absolute().parent, file.resolve().parent}
    for name in watched.policies:
        path = Path(name)
        while not path.is_dir():
            path = path.parent
        found.add(path.resolve())
        found.update(Path(directory).resolve() for directory, _, _ in os.walk(path) if "/." not in directory)
    return {directory for directory in found if directory.is_dir()}
