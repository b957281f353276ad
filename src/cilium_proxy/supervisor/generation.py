"""Who takes over from whom: Envoys with one base id, counted by their restart epoch, hand listening sockets on."""

from __future__ import annotations

import contextlib
import secrets
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cilium_proxy.supervisor import options

_OPTIONS = ("--base-id", "--restart-epoch")
DISABLED = "--disable-hot-restart"
"""Envoy's option, with which it neither takes over nor hands on."""
_DYNAMIC = "--use-dynamic-base-id"
# Envoy multiplies base ids by ten, in 32 bits.
_BASE_IDS = 1 << 28

# Envoy's shared memory, of which a process that died while it started leaves the word that one is starting: size and
# version of the structure, two mutexes, then the flags.
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - Envoy's own place for it
_HEADER = struct.Struct("=QQ")
_LAYOUT = (104, 11)
_FLAGS = struct.Struct("=Q")
_FLAGS_AT = 96


@dataclass(frozen=True, slots=True)
class Generation:
    """One Envoy process among those that follow each other. `made_up`: nobody chose its base id."""

    base_id: int
    epoch: int
    made_up: bool = False

    @classmethod
    def first(cls, given: Sequence[str]) -> Generation | None:
        """That of an Envoy which takes over from none of ours, by the arguments given to it.

        None: hot restart is disabled, or Envoy will refuse the arguments.
        """
        base_id, epoch = (options.value(given, option) for option in _OPTIONS)
        if DISABLED in given or not all(text is None or text.isdecimal() for text in (base_id, epoch)):
            return None
        if _DYNAMIC in given or base_id is None:
            return cls(secrets.randbelow(_BASE_IDS), int(epoch or 0), made_up=True)
        return cls(int(base_id), int(epoch or 0))

    @property
    def next(self) -> Generation:
        """The one that takes over from this one."""
        return replace(self, epoch=self.epoch + 1)

    def arguments(self, given: Sequence[str]) -> tuple[str, ...]:
        """Envoy's arguments with those that say which generation it is."""
        return (
            *options.without(given, _OPTIONS, (_DYNAMIC,)),
            *("--base-id", str(self.base_id), "--restart-epoch", str(self.epoch)),
        )

    def forget_starting(self) -> None:
        """After an Envoy that took over ended while it started: lets another one try, which Envoy itself refuses."""
        with contextlib.suppress(OSError), self._memory.open("r+b") as memory:
            if _HEADER.unpack(memory.read(_HEADER.size)) == _LAYOUT:
                memory.seek(_FLAGS_AT)
                memory.write(_FLAGS.pack(0))

    def release(self) -> None:
        """After the last Envoy with this base id ended: removes what it shared, which Envoy itself leaves."""
        if self.made_up:
            with contextlib.suppress(OSError):
                self._memory.unlink()

    @property
    def _memory(self) -> Path:
        return _SHARED_MEMORY / f"envoy_shared_memory_{self.base_id * 10}"


def instance(name: str, generation: Generation | None) -> str:
    """The name of an Envoy process, told from the one it takes over from."""
    return name if generation is None else f"{name}-{generation.epoch}"
