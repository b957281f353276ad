"""Which entries to show."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from cilium_proxy.observe.names import Names

DENIED = 2
"""`cilium.EntryType`."""

Verdict = Literal["denied", "forwarded"]


class InvalidFilterError(ValueError):
    """A filter means nothing; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Filter:
    """All that is given must match.

    `endpoint` is the name or policy name (IP address) of the endpoint whose policy decided. `path` is a regular
    expression found anywhere in the path, `method` compared without case. `since` leaves out older entries.
    """

    verdict: Verdict | None = None
    endpoint: str | None = None
    path: str | None = None
    method: str | None = None
    since: datetime | None = None
    names: Names = field(default_factory=Names)
    _path: re.Pattern[str] | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        """Raises InvalidFilterError."""
        if self.path is not None:
            try:
                object.__setattr__(self, "_path", re.compile(self.path))
            except re.error as error:
                raise InvalidFilterError(f"path `{self.path}` is not a regular expression: {error}") from error

    def matches(self, entry: Any) -> bool:
        """Whether to show this LogEntry. Only HTTP entries have a path and a method."""
        if self.verdict is not None and (entry.entry_type == DENIED) != (self.verdict == "denied"):
            return False
        if self.endpoint is not None and self.endpoint not in (
            entry.policy_name,
            self.names.of_endpoint(entry.policy_name),
        ):
            return False
        if self._path is not None and not (entry.HasField("http") and self._path.search(entry.http.path)):
            return False
        if self.method is not None and not (
            entry.HasField("http") and entry.http.method.upper() == self.method.upper()
        ):
            return False
        return self.since is None or bool(entry.timestamp >= self.since.timestamp() * 1_000_000_000)
