"""What running a case gives."""

from __future__ import annotations

from dataclasses import dataclass, field


class UnusableError(Exception):
    """The file, or a case in it, is not of the form its kind has: exit status 2."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A step that went wrong; steps count from 1."""

    step: int
    what: str
    expected: str
    got: str


@dataclass(slots=True)
class Result:
    """A case that has run. `unusable` says what in it nobody can run; such a case counts as failed."""

    name: str
    failures: list[Failure] = field(default_factory=list)
    unusable: str = ""

    @property
    def passed(self) -> bool:
        """Whether every step went as expected."""
        return not self.failures and not self.unusable
