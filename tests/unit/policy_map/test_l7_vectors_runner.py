"""The runner of kind `l7` reports what differs."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from cilium_proxy.testing.vectors import UnusableError, l7

CASES = json.loads((Path(__file__).parents[2] / "conformance/l7/reference.json").read_text())["cases"]


def case(name):
    return copy.deepcopy(next(one for one in CASES if one["name"] == name))


def failures(one):
    (result,) = l7.run({"cases": [one]})
    assert not result.unusable
    return [failure.what for failure in result.failures]


def expect(one):
    return one["steps"][-1]["expect"]


def test_an_operation_that_differs_fails():
    one = case("TestKafkaOnDataSimpleHeaderWithPolicyDrop")
    assert failures(one) == []
    expect(one)["ops"][0] = ["DROP", 45]
    assert failures(one) == ["on_data, operations"]


def test_injected_bytes_that_differ_fail():
    one = case("TestKafkaOnDataSimpleHeaderWithPolicyDrop")
    expect(one)["inject_reply_hex"] = "00"
    assert failures(one) == ["on_data, injected towards the client"]


@pytest.mark.parametrize(("field", "value"), [("error_code", 30), ("topics", ["EF"]), ("correlation_id", 1)])
def test_an_entry_of_kafka_that_differs_fails(field, value):
    one = case("TestKafkaOnDataSimpleHeaderWithPolicyDrop")
    expect(one)["access_log"][0]["kafka"][field] = value
    assert failures(one) == ["on_data, entry 0"]


def test_a_missing_entry_fails():
    one = case("TestR2d2OnDataMultipleReq")
    expect(one)["access_log"].pop()
    assert failures(one) == ["on_data, number of entries"]


@pytest.mark.parametrize(
    "rules",
    [
        [{"l7_proto": "r2d2", "l7_rules": {"l7_allow_rules": [{"rule": {"cmdd": "READ"}}]}}],
        [{"l7_proto": "r2d2", "l7_rules": {"l7_deny_rules": [{"rule": {"file": "("}}]}}],
        [{"l7_proto": "r2d2"}, {"l7_proto": "memcache"}],
    ],
)
def test_rules_that_parsers_refuse_are_refused(rules):
    resource = {
        "endpoint_ips": ["1.1.1.1"],
        "endpoint_id": 2,
        "ingress_per_port_policies": [{"port": 80, "rules": rules}],
    }
    step = {"op": "policy_update", "version": "1", "resources": [resource], "expect": {"reject": ""}}
    assert failures({"name": "refused", "steps": [step]}) == []
    assert failures({"name": "accepted", "steps": [{**step, "expect": "accept"}]}) == ["policy_update, policies"]


def test_an_unknown_step_makes_a_case_unusable():
    (result,) = l7.run({"cases": [{"name": "x", "steps": [{"op": "dance"}]}]})
    assert "dance" in result.unusable
    assert not result.passed


def test_a_document_of_another_form_is_refused():
    with pytest.raises(UnusableError):
        list(l7.run([]))
