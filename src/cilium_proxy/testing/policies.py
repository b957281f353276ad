"""Questions to the policies of a configuration, for tests in Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict, Unpack

from cilium_proxy.config import Direction, load
from cilium_proxy.policy import Verdict
from cilium_proxy.policy.world import World, build
from cilium_proxy.testing.cases import Case, Expectation, Outcome, Request, run_case
from cilium_proxy.yaml import Mark


class Details(TypedDict, total=False):
    """What else can be said of a connection or request; defaults as in files of cases."""

    headers: Mapping[str, str]
    port: int
    direction: Direction
    sni: str
    proxy_id: int


class Policies:
    """The policies of a proxy.yaml, asked by the names in it.

    policies = Policies(Path("proxy.yaml"))
    policies.allowed("shop", "api", "GET /items/1")
    verdict = policies.denied("shop", "api", "DELETE /items/1")
    assert "DELETE" in verdict.reason
    """

    def __init__(self, config: Path, secrets: Mapping[str, str] | None = None) -> None:
        """Compiles the policies. Raises ProblemsError."""
        self._config = load(config)
        self._secrets = dict(secrets or {})
        # By the labels that nobody has: each needs an identity of its own.
        self._worlds: dict[frozenset[str], World] = {}
        self._world(frozenset())

    def verdict(self, source: str, target: str, request: str | None = None, **details: Unpack[Details]) -> Verdict:
        """What the policies say about a connection or, with `request` such as "GET /", an HTTP request on it.

        Raises ProblemsError for peers that nobody knows.
        """
        return self._ask(True, source, target, request, details).verdict

    def allowed(self, source: str, target: str, request: str | None = None, **details: Unpack[Details]) -> Verdict:
        """Like `verdict`. Raises AssertionError with the whole explanation if it is denied."""
        return _passed(self._ask(True, source, target, request, details))

    def denied(self, source: str, target: str, request: str | None = None, **details: Unpack[Details]) -> Verdict:
        """Like `verdict`. Raises AssertionError with the whole explanation if it is allowed."""
        return _passed(self._ask(False, source, target, request, details))

    def _ask(self, allowed: bool, source: str, target: str, request: str | None, details: Details) -> Outcome:
        http = None
        if request is not None:
            method, _, path = request.partition(" ")
            headers = tuple(details.get("headers", {}).items())
            http = Request(method=method, path=path or "/", host=target, headers=headers)
        case = Case(
            name=f"{source} to {target}",
            source=source,
            target=target,
            direction=details.get("direction"),
            port=details.get("port"),
            sni=details.get("sni", ""),
            proxy_id=details.get("proxy_id", 0),
            request=http,
            expect=Expectation(allowed=allowed),
            mark=Mark("test"),
        )
        return run_case(self._world(frozenset(text for text in (source, target) if "=" in text)), case)

    def _world(self, strangers: frozenset[str]) -> World:
        if strangers not in self._worlds:
            self._worlds[strangers] = build(self._config, sorted(strangers), self._secrets)
        return self._worlds[strangers]


def _passed(outcome: Outcome) -> Verdict:
    if not outcome.passed:
        raise AssertionError("\n".join([*outcome.differences, outcome.verdict.reason, "", outcome.explanation]))
    return outcome.verdict
