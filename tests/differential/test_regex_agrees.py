"""The engine's regular expressions against RE2, which Envoy uses: the same verdict, or a clear refusal."""

from __future__ import annotations

import pytest
import re2
from hypothesis import HealthCheck, example, given, settings

from cilium_proxy import api
from cilium_proxy.policy import PolicyMap, PolicyRejected

from . import expressions as generated

QUIET = re2.Options()
QUIET.log_errors = False
HEADER = "x-subject"

COMMON = [
    "/public/.*", "/v1/users/[0-9]+", "GET|HEAD", r".*\.example\.com", "(?i)bearer .*", r"/api/v[12]/\w+", "[^/]*",
    "/.*/?", r"^/exact$", r"\d{3}-\d{4}", "/(a|b)/c?", ".*public$", "", r"/[\w.-]+/items", "(GET|PUT) /",
    r"\Qa.b\E", r"\pL+", "[[:alnum:]]+", r"\x2fabc", "(?s).*", "(?P<name>[a-z]+)", "a{2,5}", r"\/escaped\/slash",
    r"a\-b", "é+", r"\bword\b", r"\z",
]  # fmt: skip


def compiled(pattern: str) -> PolicyMap | None:
    """A policy that allows requests whose header matches; None if the engine refuses the pattern."""
    policy = api.messages("cilium.NetworkPolicy")(endpoint_ips=["10.1.2.3"], endpoint_id=1)
    rule = policy.ingress_per_port_policies.add(port=80).rules.add()
    rule.http_rules.http_rules.add().headers.add(name=HEADER).string_match.safe_regex.regex = pattern
    policies = PolicyMap()
    try:
        policies.update([policy], version="1")
    except PolicyRejected as error:
        if "regex" not in str(error) or "http_rules" not in str(error.field):
            pytest.fail(f"the refusal of {pattern!r} says neither what nor where: {error}")
        return None
    return policies


def matches(policies: PolicyMap, subject: bytes) -> bool:
    headers = [(HEADER, subject)]
    return policies.http(endpoint="10.1.2.3", direction="ingress", remote=1, port=80, headers=headers).allowed


def re2_compiled(pattern: str) -> re2._Regexp | None:
    try:
        return re2.compile(pattern, options=QUIET)
    except re2.error:
        return None


@settings(max_examples=2500, deadline=None, suppress_health_check=list(HealthCheck))
@given(pattern=generated.expressions, subjects=generated.subjects)
@example(pattern="a)|(?:b", subjects=[b"a", b"b", b"axyz"])
@example(pattern="a\\", subjects=[b"a"])
@example(pattern="(?x)a #", subjects=[b"a"])
def test_engine_matches_what_re2_matches_or_refuses_the_expression(pattern: str, subjects: list[bytes]) -> None:
    # Envoy refuses the empty expression.
    if not pattern:
        return
    reference = re2_compiled(pattern)
    policies = compiled(pattern)
    if policies is None:
        return
    assert reference is not None, f"RE2 refuses {pattern!r}, the engine does not"
    wrong = [s for s in subjects if matches(policies, s) != (reference.fullmatch(s) is not None)]
    assert not wrong, f"{pattern!r} and {wrong}: RE2 says {[reference.fullmatch(s) is not None for s in wrong]}"


@pytest.mark.parametrize("pattern", [pattern for pattern in COMMON if pattern])
def test_common_expressions_are_accepted(pattern: str) -> None:
    assert compiled(pattern) is not None
