"""Pauses between restarts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Doubles from `first` to `last` seconds, and starts over after a run of `stable` seconds."""

    first: float = 0.5
    last: float = 30.0
    stable: float = 60.0
    _next: float = 0.0

    def pause(self, ran: float) -> float:
        """Seconds to wait before the next start, after a run of `ran` seconds."""
        if ran >= self.stable or self._next == 0.0:
            self._next = self.first
        pause = self._next
        self._next = min(self._next * 2, self.last)
        return pause
