from __future__ import annotations

from typing import Any

import pytest

from cilium_proxy.policy import InvalidQuery, PolicyMap

from .policies import ENDPOINT, ask, http_rule, policy


def loaded(*rules: dict[str, Any]) -> PolicyMap:
    policies = PolicyMap()
    policies.update([policy(*rules)], version="1")
    return policies


def test_a_verdict_says_why_and_by_which_rule() -> None:
    policies = loaded(http_rule("/a"))
    verdict = policies.http(**ask(), headers=[(":path", "/b")])
    assert not verdict
    assert verdict.reason == 'rule "http": path "/b" is not "/a"'
    assert (verdict.code, verdict.rule) == ("header_mismatch", "http")
    assert verdict.position == "ingress_per_port_policies[0].rules[0]"


def test_an_endpoint_without_policy_denies_unless_egress_is_allowed_by_default() -> None:
    policies = PolicyMap()
    question = {**ask(), "endpoint": "10.9.9.9"}
    assert policies.network(**question).reason == "no policy for endpoint 10.9.9.9"
    assert not policies.network(**question, default_allow_egress=True).allowed
    assert policies.network(**{**question, "direction": "egress"}, default_allow_egress=True).allowed


def test_a_request_needs_its_connection_to_be_allowed() -> None:
    policies = loaded({**http_rule("/a"), "server_names": ["a.example"]})
    request = [(":path", "/a")]
    assert not policies.http(**ask(), headers=request).allowed
    assert policies.http(**ask(), headers=request, sni="a.example").allowed
    assert policies.http(**ask(), headers=request, network_check=False).allowed


def test_header_actions_show_in_the_verdict() -> None:
    policies = loaded(
        http_rule("/a", header_matches=[{"name": "X-A", "value": "v", "mismatch_action": "REPLACE_ON_MISMATCH"}])
    )
    verdict = policies.http(**ask(), headers=[(":path", "/a"), ("X-A", "w"), ("x-b", "1")])
    assert verdict.allowed
    assert verdict.headers == ((":path", "/a"), ("x-b", "1"), ("x-a", "v"))
    assert (verdict.missing, verdict.rejected) == ((("x-a", "v"),), (("x-a", "w"),))


def test_header_values_may_be_any_bytes() -> None:
    policies = loaded(http_rule("/a"))
    given = [(":path", "/a"), (b"x-raw", b"\xff"), ("x-raw", "\udcfe"), ("x-text", "é")]
    verdict = policies.http(**ask(), headers=given)
    assert verdict.headers == ((":path", "/a"), ("x-raw", "\udcff"), ("x-raw", "\udcfe"), ("x-text", "é"))


def test_a_secret_counts_from_its_delivery_on_also_in_older_snapshots() -> None:
    rule = http_rule("/a", header_matches=[{"name": "x-token", "value_sds_secret": "token"}])
    policies = loaded(rule)
    snapshot = policies.snapshot()
    request = [(":path", "/a"), ("x-token", "s3cret")]
    assert policies.secrets() == ["token"]
    assert policies.http(**ask(), headers=request).code == "secret_missing"
    policies.set_secret("token", "s3cret")
    assert snapshot.http(**ask(), headers=request).allowed
    policies.set_secret("token", None)
    assert not snapshot.http(**ask(), headers=request).allowed


def test_a_secret_shows_nowhere() -> None:
    policies = loaded(http_rule("/a", header_matches=[{"name": "x-token", "value_sds_secret": "token"}]))
    policies.set_secret("token", b"s3cret")
    request = [(":path", "/a"), ("x-token", "guess")]
    verdict = policies.http(**ask(), headers=request)
    assert verdict.missing == (("x-token", "[redacted]"),)
    explanation = policies.explain(**ask(), headers=request)
    for text in (verdict.reason, str(explanation), str(explanation.data), str(policies.dump(ENDPOINT))):
        assert "s3cret" not in text


def test_tls_contexts_are_chosen_by_side() -> None:
    policies = PolicyMap()
    down, up = {"tls_sds_secret": "cert"}, {"validation_context_sds_secret": "ca", "server_names": ["b.example"]}
    rule = {"remote_policies": [43], "downstream_tls_context": down, "upstream_tls_context": up}
    policies.update([policy(rule, {"remote_policies": [44]})], version="1")
    server = policies.tls(**ask())
    assert server.tls_required
    assert server.context is not None
    assert server.context.tls_sds_secret == "cert"
    client = policies.tls(**ask(), side="client")
    assert client.context is not None
    assert client.context.server_names == ["b.example"]
    raw = policies.tls(**ask(remote=44))
    assert raw.allowed
    assert raw.raw_socket_allowed
    assert raw.context is None
    assert not policies.tls(**ask(remote=45)).raw_socket_allowed


def test_metadata_takes_json_values() -> None:
    matcher = {
        "filter": "f",
        "path": [{"key": "k"}],
        "value": {"list_match": {"one_of": {"double_match": {"exact": 1}}}},
    }
    rule = {"l7_proto": "p", "l7_rules": {"l7_allow_rules": [{"metadata_rule": [matcher]}]}}
    policies = loaded(rule)
    assert policies.metadata(**ask(), metadata={"f": {"k": [None, True, 1, "x", {"y": []}]}}).allowed
    assert not policies.metadata(**ask(), metadata={"f": {"k": 1}}).allowed
    with pytest.raises(InvalidQuery, match="JSON values"):
        policies.metadata(**ask(), metadata={"f": {"k": object()}})


def test_metadata_nested_too_deep_is_refused() -> None:
    value: Any = 1
    for _ in range(1000):
        value = [value]
    with pytest.raises(InvalidQuery, match="nested"):
        loaded().metadata(**ask(), metadata={"f": {"k": value}})


def test_the_parser_is_named() -> None:
    assert loaded({"l7_proto": "kafka"}).l7_parser(**ask()) == "kafka"
    assert loaded().l7_parser(**ask()) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 65536},
        {"port": -1},
        {"remote": 1 << 32},
        {"direction": "inwards"},
        {"port": "80"},
        {"endpoint": 7},
        {"proxy_id": 70000},
    ],
)
def test_a_question_out_of_range_raises(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidQuery):
        loaded().network(**{**ask(), **wrong})


@pytest.mark.parametrize("headers", [[("a",)], [("a", 1)], [1], [(b"\xff", "v")]])
def test_headers_that_are_no_pairs_of_text_raise(headers: Any) -> None:
    with pytest.raises(InvalidQuery):
        loaded().http(**ask(), headers=headers)


def test_a_dump_shows_rules_as_they_are_evaluated() -> None:
    policies = loaded({"remote_policies": [43]}, {"deny": True, "precedence": 1})
    assert policies.dump(ENDPOINT)["ingress"] == [
        {"port": 80, "end_port": 80, "rules": [{"remotes": [], "deny": True, "precedence": 1}, {"remotes": [43]}]}
    ]
    assert policies.dump("10.9.9.9") == {"ingress": [], "egress": []}


def test_an_explanation_has_the_verdict_of_the_question() -> None:
    policies = loaded(http_rule("/a"))
    for path in ("/a", "/b"):
        headers = [(":path", path)]
        explanation = policies.explain(**ask(), headers=headers)
        verdict = policies.http(**ask(), headers=headers)
        assert (explanation.allowed, explanation.reason) == (verdict.allowed, verdict.reason)
        assert explanation.data["code"] == verdict.code
        assert "HTTP rule 0" in str(explanation)
