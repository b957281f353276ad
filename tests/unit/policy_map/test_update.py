from __future__ import annotations

from typing import Any

import pytest

from cilium_proxy import api
from cilium_proxy.policy import PolicyError, PolicyMap, PolicyRejected

from .policies import ENDPOINT, ask, policy

CAMEL = {"endpointIps": [ENDPOINT], "endpointId": "42", "ingressPerPortPolicies": [{"port": 80}]}


def message(fields: dict[str, Any]) -> Any:
    return api.from_dict("cilium.NetworkPolicy", fields)


def named(fields: dict[str, Any], name: str) -> Any:
    resource = api.messages("envoy.service.discovery.v3.Resource")(name=name)
    resource.resource.CopyFrom(api.pack(message(fields)))
    return resource


@pytest.mark.parametrize(
    "resource",
    [
        policy(),
        CAMEL,
        {"@type": "type.googleapis.com/cilium.NetworkPolicy", **policy()},
        message(policy()),
        message(policy()).SerializeToString(),
        api.pack(message(policy())),
        named(policy(), "any-name"),
        {"name": "any-name", "resource": policy()},
    ],
    ids=["snake", "camel", "typed", "message", "bytes", "any", "resource", "named"],
)
def test_every_form_of_a_policy_is_taken(resource: Any) -> None:
    policies = PolicyMap()
    policies.update([resource], version="1")
    assert policies.network(**ask()).allowed
    assert policies.endpoints() == {ENDPOINT: 42}
    assert policies.version == "1"


def test_a_full_update_removes_what_it_does_not_hold() -> None:
    policies = PolicyMap()
    policies.update([policy()], version="1")
    policies.update([policy(endpoint="10.1.2.4", endpoint_id=43)], version="2")
    assert not policies.exists(ENDPOINT)
    assert policies.exists("10.1.2.4")


def test_differences_are_named_after_the_endpoint_id() -> None:
    policies = PolicyMap()
    policies.update([policy(), policy(endpoint="10.1.2.4", endpoint_id=43)], version="1")
    policies.update([policy(endpoint="10.1.2.5", endpoint_id=44)], removed=["42"], version="2", delta=True)
    assert sorted(policies.endpoints()) == ["10.1.2.4", "10.1.2.5"]


def test_a_mapping_names_its_resources() -> None:
    policies = PolicyMap()
    policies.update({"a": policy(), "b": policy(endpoint="10.1.2.4", endpoint_id=43)}, version="1")
    policies.update({"a": policy(endpoint="10.1.2.6")}, removed=["b"], version="2", delta=True)
    assert list(policies.endpoints()) == ["10.1.2.6"]


def test_a_new_stream_keeps_nothing_of_the_old_one() -> None:
    policies = PolicyMap()
    policies.update({"a": policy()}, version="1", delta=True)
    policies.update({"b": policy(endpoint="10.1.2.4", endpoint_id=43)}, version="1", delta=True, new_stream=True)
    assert list(policies.endpoints()) == ["10.1.2.4"]


@pytest.mark.parametrize(
    ("resource", "text", "field"),
    [
        (policy(endpoint_id=0), "endpoint_id must be non-zero", "endpoint_id"),
        ({**policy(), "endpoint_ips": []}, "no endpoint ips", "endpoint_ips"),
        (policy({"proxy_id": 65536}), "65535", "ingress_per_port_policies[0].rules[0].proxy_id"),
        (policy({"server_names": ["a..b"]}), "Unsupported match pattern", "ingress_per_port_policies[0].rules[0]"),
        ({**policy(), "unknown_field": 1}, "unknown_field", None),
        ({**policy(), "endpoint_id": "many"}, "endpoint_id", None),
        (policy({"deny": True, "pass_precedence": 1}), "oneof", None),
        (b"\xff\xff", "not a serialised cilium.NetworkPolicy", None),
        (b"", "endpoint", None),
        (17, "int", None),
        (api.messages("cilium.L7Policy")(), "cilium.L7Policy", None),
        (api.pack(api.messages("cilium.L7Policy")()), "cilium.L7Policy", None),
        ({"@type": "type.googleapis.com/cilium.L7Policy"}, "cilium.L7Policy", None),
        ({"name": 7, "resource": policy()}, "name", None),
        ({"name": "a b", "resource": policy()}, "whitespace", None),
        ({"nam": "a", "resource": policy()}, "nam", None),
    ],
)
def test_a_refused_update_says_why_and_changes_nothing(resource: Any, text: str, field: str | None) -> None:
    policies = PolicyMap()
    policies.update([policy()], version="1")
    with pytest.raises(PolicyRejected, match=text.replace("[", r"\[")) as caught:
        policies.update([policy(endpoint="10.1.2.9", endpoint_id=9), resource], version="2")
    if field is not None:
        assert str(caught.value.field).startswith(field)
    assert policies.version == "1"
    assert list(policies.endpoints()) == [ENDPOINT]
    assert isinstance(caught.value, PolicyError)
    assert isinstance(caught.value, ValueError)


def test_the_refusal_names_resource_endpoint_and_field() -> None:
    with pytest.raises(PolicyRejected) as caught:
        PolicyMap().update(
            {"pod": {**policy(), "ingress_per_port_policies": [{"port": 80, "end_port": 1}]}}, version="1"
        )
    assert caught.value.resource == "pod"
    assert ENDPOINT in str(caught.value.endpoint)
    assert caught.value.field == "ingress_per_port_policies[0].end_port"
    for part in ("pod", ENDPOINT, "ingress_per_port_policies[0].end_port"):
        assert part in str(caught.value)


def test_one_policy_instead_of_a_list_is_refused() -> None:
    with pytest.raises(PolicyRejected, match="list of resources"):
        PolicyMap().update(b"\x10\x01", version="1")  # type: ignore[arg-type]


def test_removed_names_belong_to_differences() -> None:
    with pytest.raises(PolicyRejected, match="delta=True"):
        PolicyMap().update([], removed=["1"], version="1")


def test_updates_are_counted() -> None:
    policies = PolicyMap()
    policies.update([policy()], version="1")
    with pytest.raises(PolicyRejected):
        policies.update([policy(endpoint_id=0)], version="2")
    assert policies.statistics() == {
        "cilium.policy.updates_total": 2,
        "cilium.policy.update_success": 1,
        "cilium.policy.updates_rejected": 1,
    }


def test_a_snapshot_stays_as_it_was() -> None:
    policies = PolicyMap()
    policies.update([policy()], version="1")
    snapshot = policies.snapshot()
    policies.update([], version="2")
    assert snapshot.version == "1"
    assert snapshot.network(**ask()).allowed
    assert not policies.network(**ask()).allowed
