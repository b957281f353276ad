"""The policy of one endpoint, read a second time: slowly, from the JSON form, one port at a time.

Shares no code with the engine. Nothing is precomputed; every question walks the entries of the policy again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .naive_headers import Headers, Log, act, matches_all
from .naive_metadata import fits

Json = dict[str, Any]
ALLOW, DENY, PASS = "allow", "deny", "pass"


class RefusedError(Exception):
    """The policy breaks a rule."""


@dataclass
class Question:
    """Who asks, at the level below HTTP."""

    direction: str
    port: int
    remote: int
    proxy_id: int = 0
    sni: str = ""


@dataclass
class Answer:
    """What came out; `what` is the TLS context, the parser or None."""

    allowed: bool
    what: Any = None
    headers: Headers = field(default_factory=list)
    log: Log = field(default_factory=Log)


def effect(rule: Json) -> str:
    if rule.get("pass_precedence", 0):
        return PASS
    return DENY if rule.get("deny", False) else ALLOW


def entries(policy: Json, direction: str) -> list[Json]:
    """Only TCP is enforced."""
    listed = policy.get(f"{direction}_per_port_policies", [])
    return [entry for entry in listed if entry.get("protocol", "TCP") == "TCP"]


def span(entry: Json) -> tuple[int, int]:
    first = entry.get("port", 0)
    last = entry.get("end_port", 0) or first
    if last < first:
        raise RefusedError("end port below start port")
    if first == 0 and last != 0:
        raise RefusedError("range from port zero")
    return first, last


def merge(lists: list[tuple[bool, list[Json]]]) -> list[Json] | None:
    """Joins the rule lists of the entries of a port; `True` puts a list, reversed, to the front.

    An empty list allows everything. That survives merging as a rule of its own.
    """
    merged: list[Json] | None = None
    for front, rules in lists:
        if merged is None:
            merged = list(reversed(rules)) if front else list(rules)
            continue
        extra: list[Json] = [{"name": "default allow rule"}] if bool(rules) != bool(merged) else []
        merged = [*reversed(rules), *extra, *merged] if front else [*merged, *extra, *rules]
    return merged


def rules_of_port(policy: Json, direction: str, port: int) -> list[Json] | None:
    """The rules for a port in evaluation order; None if no entry says anything about it."""
    exact = [(span(e), e.get("rules", [])) for e in entries(policy, direction)]
    wildcard = merge([(True, rules) for (first, _), rules in exact if first == 0])
    own = [(first == last, rules) for (first, last), rules in exact if first != 0 and first <= port <= last]
    if own and wildcard is not None:
        own.append((False, wildcard))
    for rules in (merge(own), wildcard):
        if rules is None:
            continue
        order = sorted(rules, key=lambda r: (-r.get("precedence", 0), [DENY, ALLOW, PASS].index(effect(r))))
        if not order or any(effect(rule) != PASS for rule in order):
            return order
    return None


def check(policy: Json) -> None:
    """Raises RefusedError for what an update must refuse, as far as the generated policies can be wrong."""
    for direction in ("ingress", "egress"):
        edges = {0}
        for entry in entries(policy, direction):
            first, last = span(entry)
            edges |= {first, last + 1}
            for rule in entry.get("rules", []):
                if rule.get("pass_precedence", 0) > rule.get("precedence", 0):
                    raise RefusedError("pass_precedence above precedence")
        for port in edges:
            check_tiers(rules_with_passes(policy, direction, port))


def rules_with_passes(policy: Json, direction: str, port: int) -> list[Json]:
    """Like rules_of_port, but for ranges of nothing but passes too."""
    probe = {"rules": [{"name": "probe"}]}
    listed = entries(policy, direction)
    covered = any(port != 0 and span(e)[0] <= port <= span(e)[1] for e in listed)
    extra = {"port": port, **probe} if covered else {"port": 0, **probe}
    return rules_of_port({f"{direction}_per_port_policies": [*listed, extra]}, direction, port) or []


def check_tiers(rules: list[Json]) -> None:
    """Passes whose precedence lies within one tier must name the same end of it."""
    tier_end = 0
    for rule in rules:
        if effect(rule) != PASS:
            continue
        if rule["precedence"] < tier_end:
            tier_end = 0
        if tier_end and rule["pass_precedence"] != tier_end:
            raise RefusedError("inconsistent pass_precedence")
        tier_end = rule["pass_precedence"]


def sni_fits(patterns: list[str], name: str) -> bool:
    return not patterns or (name != "" and any(sni_pattern_fits(pattern, name) for pattern in patterns))


def sni_pattern_fits(pattern: str, name: str) -> bool:
    """`**`: one or more labels; `*` in a label: any of its characters; alone, `*` is any name."""
    if pattern == "*":
        pattern = "**"
    return labels_fit(pattern.lower().split("."), name.lower().split("."))


def labels_fit(pattern: list[str], labels: list[str]) -> bool:
    if not pattern or not labels:
        return not pattern and not labels
    head, rest = pattern[0], pattern[1:]
    if head == "**":
        return (
            is_dns(labels[0]) and labels[0] != "" and (labels_fit(rest, labels[1:]) or labels_fit(pattern, labels[1:]))
        )
    return is_dns(labels[0]) and star_fits(head, labels[0]) and labels_fit(rest, labels[1:])


def is_dns(label: str) -> bool:
    return all(char.isascii() and (char.isalnum() or char in "-_") for char in label)


def star_fits(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(star_fits(pattern[1:], text[cut:]) for cut in range(len(text) + 1))
    return text[:1] == pattern[0] and star_fits(pattern[1:], text[1:])


def covers(rule: Json, question: Question) -> bool:
    proxy_id, remotes = rule.get("proxy_id", 0), rule.get("remote_policies", [])
    return proxy_id in (0, question.proxy_id) and (not remotes or question.remote in remotes)


def walk(rules: list[Json], judge: Callable[[Json], str | None]) -> Iterator[tuple[Json, str]]:
    """Verdicts of the rules in order. A pass skips to below its tier unless its own tier has given a verdict."""
    skip_until_below: int | None = None
    decided_at: int | None = None
    for rule in rules:
        precedence = rule.get("precedence", 0)
        if skip_until_below is not None and precedence >= skip_until_below:
            continue
        skip_until_below = None
        verdict = judge(rule)
        if verdict == PASS:
            if decided_at is None or decided_at < precedence:
                skip_until_below = rule["pass_precedence"]
        elif verdict is not None:
            yield rule, verdict
            decided_at = precedence if decided_at is None else decided_at


def first_verdict(rules: list[Json] | None, judge: Callable[[Json], str | None]) -> tuple[bool, Json | None]:
    if rules is None:
        return False, None
    if not rules:
        return True, None
    for rule, verdict in walk(rules, judge):
        return verdict == ALLOW, rule
    return False, None


def network(policy: Json, question: Question) -> Answer:
    """Connection level."""

    def judge(rule: Json) -> str | None:
        fitting = covers(rule, question) and sni_fits(rule.get("server_names", []), question.sni)
        return effect(rule) if fitting else None

    return Answer(first_verdict(rules_of_port(policy, question.direction, question.port), judge)[0])


def parser(policy: Json, question: Question) -> str | None:
    def judge(rule: Json) -> str | None:
        if not covers(rule, question):
            return None
        # An allowing rule without a parser says nothing about parsers.
        return None if effect(rule) == ALLOW and not rule.get("l7_proto") else effect(rule)

    allowed, rule = first_verdict(rules_of_port(policy, question.direction, question.port), judge)
    return rule.get("l7_proto") if allowed and rule is not None else None


def metadata(policy: Json, question: Question, values: Json) -> Answer:
    def judge(rule: Json) -> str | None:
        if not covers(rule, question):
            return None
        if effect(rule) != ALLOW:
            return effect(rule)
        l7 = rule.get("l7_rules", {}) if rule.get("l7_proto") else {}
        if any(fits(values, r.get("metadata_rule", [])) for r in l7.get("l7_deny_rules", [])):
            return DENY
        allows = l7.get("l7_allow_rules", [])
        return ALLOW if not allows or any(fits(values, r.get("metadata_rule", [])) for r in allows) else None

    return Answer(first_verdict(rules_of_port(policy, question.direction, question.port), judge)[0])


def tls(policy: Json, question: Question) -> Answer:
    """The first allowing rule with a context gives it, also from below an allowing rule without one."""
    name = "downstream_tls_context" if question.direction == "ingress" else "upstream_tls_context"

    def judge(rule: Json) -> str | None:
        fitting = covers(rule, question) and sni_fits(rule.get("server_names", []), question.sni)
        return effect(rule) if fitting else None

    rules = rules_of_port(policy, question.direction, question.port)
    if not rules:
        return Answer(rules is not None)
    raw_at: int | None = None
    for rule, verdict in walk(rules, judge):
        if verdict == DENY:
            return Answer(raw_at is not None and raw_at > rule.get("precedence", 0))
        if name in rule:
            return Answer(True, rule[name])
        raw_at = rule.get("precedence", 0) if raw_at is None else raw_at
    return Answer(raw_at is not None)


def http(policy: Json, question: Question, headers: Headers, secrets: dict[str, bytes]) -> Answer:
    """The request; the connection was allowed before."""
    answer = Answer(True, headers=list(headers))
    rules = rules_of_port(policy, question.direction, question.port) or []

    def alternatives(rule: Json) -> list[Json]:
        found: list[Json] = rule.get("http_rules", {}).get("http_rules", [])
        return found

    if not any(alternatives(rule) for rule in rules):
        return answer
    run_all_actions = any("header_matches" in one for rule in rules for one in alternatives(rule))

    def judge(rule: Json) -> str | None:
        if not covers(rule, question):
            return None
        if effect(rule) != ALLOW or not alternatives(rule):
            return effect(rule)
        actions_here = any("header_matches" in one for one in alternatives(rule))
        found = False
        for one in alternatives(rule):
            if matches_all(one.get("headers", []), answer.headers):
                accepted = [
                    act(action, answer.headers, answer.log, secrets) for action in one.get("header_matches", [])
                ]
                found = found or all(accepted)
                if found and not actions_here:
                    break
        return ALLOW if found else None

    answer.allowed = False
    for _, verdict in walk_one_precedence(rules, judge):
        answer.allowed = verdict == ALLOW
        if verdict == DENY or not run_all_actions:
            break
    return answer


def walk_one_precedence(rules: list[Json], judge: Callable[[Json], str | None]) -> Iterator[tuple[Json, str]]:
    """Like walk, up to the end of the precedence of the first verdict; rules below it are not even judged."""
    lowest = 0

    def judge_down_to(rule: Json) -> str | None:
        return judge(rule) if rule.get("precedence", 0) >= lowest else None

    for rule, verdict in walk(rules, judge_down_to):
        lowest = rule.get("precedence", 0)
        yield rule, verdict
