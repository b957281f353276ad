"""Pauses between attempts to reach the agent."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(slots=True)
class Jittered:
    """Doubles from `first` to `last` seconds; pauses are random parts of that, so that proxies do not come as one."""

    first: float = 0.1
    last: float = 5.0
    _limit: float = 0.0

    def pause(self) -> float:
        """Seconds to wait before the next attempt."""
        self._limit = min(self._limit * 2, self.last) if self._limit else self.first
        return random.uniform(self._limit / 2, self._limit)  # noqa: S311 - nothing secret

    def reset(self) -> None:
        """The agent answered."""
        self._limit = 0.0
