"""What a file of cases says, typed. The format is described in docs/policy-tests.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cilium_proxy.config import Config, Direction
from cilium_proxy.yaml import Mark

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An HTTP request. `headers` come after the pseudo headers, in order."""

    method: str
    path: str
    host: str
    headers: Pairs = ()

    def pairs(self) -> list[tuple[str, str]]:
        """All headers, names in lower case, as the proxy sees them."""
        own = [(name.lower(), value) for name, value in self.headers]
        return [(":method", self.method), (":path", self.path), (":authority", self.host), *own]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What should come out. Everything but the verdict is checked only if it is not None.

    Attributes:
        allowed: the verdict.
        rule: name of the rule that decides or comes nearest.
        reason: a part of the reason.
        headers: all headers that policy changes, with their values afterwards; no values for a removed one.
        missing, rejected: what the access log shows.
    """

    allowed: bool
    rule: str | None = None
    reason: str | None = None
    headers: Mapping[str, tuple[str, ...]] | None = None
    missing: Pairs | None = None
    rejected: Pairs | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One question with the expected answer. `source` and `target` are names, labels, addresses or numbers."""

    name: str
    source: str
    target: str
    direction: Direction | None
    port: int | None
    sni: str
    proxy_id: int
    request: Request | None
    expect: Expectation
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFile:
    """A file of cases and what they are asked of. `secrets` are delivered to the policies."""

    path: Path
    config: Config
    secrets: Mapping[str, str]
    cases: tuple[Case, ...]


def peers(file: CaseFile) -> list[str]:
    """Everyone whom the cases name."""
    return [text for case in file.cases for text in (case.source, case.target)]
