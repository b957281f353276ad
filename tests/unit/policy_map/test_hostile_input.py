"""Whatever comes in, the answer is a typed error or an accepted update, and a refused one changes nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cilium_proxy import api
from cilium_proxy.policy import PolicyMap, PolicyRejected

from .policies import ENDPOINT, ask, http_rule, policy

VALID = api.from_dict(
    "cilium.NetworkPolicy",
    policy(
        http_rule("/a", header_matches=[{"name": "x-a", "value_sds_secret": "s"}]),
        {"server_names": ["*.a.example"], "downstream_tls_context": {"tls_sds_secret": "cert"}, "l7_proto": "p"},
        {"pass_precedence": 1, "precedence": 7, "remote_policies": [1, 2]},
    ),
).SerializeToString()


def check(data: bytes) -> None:
    policies = PolicyMap()
    policies.update([policy()], version="1")
    try:
        policies.update([data], version="2")
    except PolicyRejected:
        assert policies.version == "1"
        assert policies.network(**ask()).allowed
    else:
        for endpoint in policies.endpoints():
            policies.dump(endpoint)
            policies.explain(**{**ask(), "endpoint": endpoint}, headers=[(":path", "/a")])


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_accepted(data: bytes) -> None:
    check(data)


@settings(max_examples=500)
@given(
    st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, len(VALID)),
)
def test_changed_messages_are_refused_or_accepted(changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(VALID)
    for position, value in changes:
        data[position] = value
    check(bytes(data))
    check(bytes(data[:cut]))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(
    ["endpoint_ips", "endpoint_id", "ingress_per_port_policies", "egressPerPortPolicies", "@type", "resource", "name"]
)


@settings(max_examples=500)
@given(st.dictionaries(names, json_values, max_size=4) | json_values)
def test_any_dictionary_is_refused_or_accepted(fields: Any) -> None:
    policies = PolicyMap()
    policies.update([policy()], version="1")
    try:
        policies.update([fields], version="2")
    except PolicyRejected:
        assert list(policies.endpoints()) == [ENDPOINT]
