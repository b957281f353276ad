"""Asks the engine a case and compares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cilium_proxy.config import Direction
from cilium_proxy.policy import HttpVerdict, Verdict
from cilium_proxy.policy.world import Own, UnknownPeerError, World
from cilium_proxy.testing.cases.load import problem
from cilium_proxy.testing.cases.model import Case, Expectation, Pairs
from cilium_proxy.yaml import ProblemsError

DECIDED = ("allowed_by_rule", "denied_by_rule")
"""Codes of verdicts that a rule gave, rather than the want of one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A case that was asked.

    Attributes:
        verdict: the engine's answer.
        differences: what is not as expected, a sentence each; none if the case passed.
        explanation: the whole way to the verdict, as a tree.
        place: where the rule of the verdict is written, if it is known.
        decided: the rules that decided: resource name, position, rule name.
    """

    case: Case
    verdict: Verdict
    differences: tuple[str, ...]
    explanation: str
    place: str
    decided: tuple[tuple[str, str | None, str | None], ...]

    @property
    def passed(self) -> bool:
        """Whether everything is as expected."""
        return not self.differences


@dataclass(frozen=True, slots=True)
class Question:
    """A case in the engine's terms."""

    own: Own
    direction: Direction
    remote: int
    port: int


def run_case(world: World, case: Case) -> Outcome:
    """Raises ProblemsError for a case that cannot be asked."""
    question = resolve(world, case)
    own, direction, remote, port = question.own, question.direction, question.remote, question.port
    policies = world.policies
    connection = policies.network(
        endpoint=own.address, direction=direction, remote=remote, port=port, sni=case.sni, proxy_id=case.proxy_id
    )
    verdict: Verdict = connection
    answers = [connection]
    headers = None if case.request is None else case.request.pairs()
    if headers is not None and connection.allowed:
        verdict = policies.http(
            endpoint=own.address,
            direction=direction,
            remote=remote,
            port=port,
            sni=case.sni,
            proxy_id=case.proxy_id,
            headers=headers,
        )
        answers.append(verdict)
    differences = tuple(_differences(case.expect, verdict, headers or []))
    explanation = policies.explain(
        endpoint=own.address,
        direction=direction,
        remote=remote,
        port=port,
        sni=case.sni,
        proxy_id=case.proxy_id,
        headers=headers,
    )
    place = world.places.get(verdict.rule or "", "")
    decided = tuple((own.resource, one.position, one.rule) for one in answers if one.code in DECIDED)
    return Outcome(case, verdict, differences, explanation.text, place, decided)


def resolve(world: World, case: Case) -> Question:
    """Finds both sides and the port. Raises ProblemsError."""
    direction = case.direction or ("ingress" if world.own(case.target) else "egress")
    own_text, other = (case.target, case.source) if direction == "ingress" else (case.source, case.target)
    own = world.own(own_text)
    if own is None:
        known = ", ".join(endpoint.name for endpoint in world.endpoints) or "none"
        message = f"`{own_text}` is not an endpoint; {direction} policies belong to endpoints: {known}"
        raise ProblemsError([problem(case, message, "name one of them")])
    try:
        remote = world.remote(other)
    except UnknownPeerError as error:
        fix = "correct it or add it to the endpoints or identities"
        raise ProblemsError([problem(case, str(error), fix)]) from None
    opening = world.opening(own, direction)
    port = case.port or (opening.port if opening else None)
    if port is None:
        message = f"has no port, and {own.name} has no single {direction} listener"
        raise ProblemsError([problem(case, message, "add `port`")])
    return Question(own, direction, remote, port)


def _differences(expect: Expectation, verdict: Verdict, before: list[tuple[str, str]]) -> Iterable[str]:
    if verdict.allowed != expect.allowed:
        yield f"expected {_word(expect.allowed)}, got {_word(verdict.allowed)}"
    if expect.rule is not None and verdict.rule != expect.rule:
        yield f'expected rule "{expect.rule}", got {_quoted(verdict.rule)}'
    if expect.reason is not None and expect.reason not in verdict.reason:
        yield f'expected a reason with "{expect.reason}"'
    http = verdict if isinstance(verdict, HttpVerdict) else None
    if expect.headers is not None:
        changed = _changes(before, list(http.headers) if http else before)
        for name in sorted(expect.headers.keys() | changed.keys()):
            yield from _header(name, expect.headers.get(name), changed.get(name), before)
    for what, wanted, got in (
        ("missing", expect.missing, http.missing if http else ()),
        ("rejected", expect.rejected, http.rejected if http else ()),
    ):
        if wanted is not None and wanted != got:
            yield f"expected {what} headers {_pairs(wanted)}, got {_pairs(got)}"


def _header(
    name: str, wanted: tuple[str, ...] | None, got: tuple[str, ...] | None, before: list[tuple[str, str]]
) -> Iterable[str]:
    if wanted is None and got is not None:
        yield f"expected header {name} unchanged, got {_values(got)}"
    elif wanted is not None and got is None:
        kept = _values(tuple(value for key, value in before if key == name))
        yield f"expected header {name} changed to {_values(wanted)}, got {kept} unchanged"
    elif wanted != got:
        yield f"expected header {name} to be {_values(wanted or ())}, got {_values(got or ())}"


def _changes(before: list[tuple[str, str]], after: list[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Values afterwards of the headers that are not as before."""
    names = {name for name, _ in [*before, *after]}
    values = {
        name: tuple(tuple(value for key, value in pairs if key == name) for pairs in (before, after)) for name in names
    }
    return {name: after_values for name, (old, after_values) in values.items() if old != after_values}


def _word(allowed: bool) -> str:
    return "allowed" if allowed else "denied"


def _quoted(text: str | None) -> str:
    return "none" if text is None else f'"{text}"'


def _values(values: tuple[str, ...]) -> str:
    return " and ".join(f'"{value}"' for value in values) or "no value"


def _pairs(pairs: Pairs) -> str:
    return ", ".join(f"{name}: {value}" for name, value in pairs) or "none"
