"""What running a case gives."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


class UnusableError(Exception):
    """The file, or a case in it, is not of the form its kind has."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A step that went wrong; steps count from 1, and 0 is what comes before them."""

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

    @classmethod
    def of(cls, case: object) -> Result:
        """The result of a case that has not run yet."""
        name = case.get("name", "unnamed") if isinstance(case, dict) else "unnamed"
        return cls(str(name))

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Notes what keeps a case from being run: files from elsewhere may hold anything, and the other cases go on."""
        try:
            yield
        except KeyError as error:
            self.unusable = f"{error} is missing"
        except TimeoutError:
            self.unusable = "Envoy is not ready in time"
        except UnusableError as error:
            self.unusable = str(error)
        except (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
            self.unusable = f"not of the form of its kind: {type(error).__name__}: {error}"


def cases_of(document: object, key: str) -> list[Any]:
    """The cases of a document that lists them below `key`. Raises UnusableError."""
    cases = document.get(key) if isinstance(document, dict) else None
    if not isinstance(cases, list):
        raise UnusableError(f"the file has no list of cases, `{key}`")
    return cases


def rejection(expect: object) -> str | None:
    """What an update that is to be refused is to say: "" for anything; None if the update is to be accepted."""
    if expect == "accept" or expect is True:
        return None
    wanted = expect.get("reject", expect.get("error")) if isinstance(expect, dict) else None
    return wanted if isinstance(wanted, str) else ""
