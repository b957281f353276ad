"""NetworkPolicy resources in files."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.compile.conftest import CONFIG

from cilium_proxy.policy.compile import Compiled, CompileError

RESOURCE = """
"@type": type.googleapis.com/cilium.NetworkPolicy
endpoint_ips: [10.0.0.1]
endpoint_id: 42
ingress_per_port_policies:
- port: 80
  rules: [{name: frontend, remote_policies: [258]}]
"""


def test_a_resource_is_the_policy_of_the_endpoint_with_its_address(compiled: Callable[..., Compiled]) -> None:
    resource = compiled(RESOURCE).resources["api"]
    assert resource["endpoint_id"] == "42"
    assert resource["ingress_per_port_policies"] == [
        {"port": 80, "rules": [{"name": "frontend", "remote_policies": [258]}]}
    ]
    assert "egress_per_port_policies" not in resource


def test_camel_case_and_lists_of_resources_are_read(asked: Callable[..., Any]) -> None:
    engine = asked(
        """
        {"resources": [
          {"endpointIps": ["10.0.0.1"], "endpointId": 1, "ingressPerPortPolicies": [{"port": 80}]},
          {"endpointIps": ["10.9.9.9"], "endpointId": "7", "egressPerPortPolicies": [{}]}
        ]}
        """
    )
    assert set(engine.compiled.resources) == {"api", "db", "other", "npds/7"}
    assert engine.ingress("8.8.8.8", "api", 80)
    assert not engine.ingress("8.8.8.8", "api", 81)
    assert engine.egress("npds/7", "8.8.8.8")


def test_a_resource_excludes_policies_for_the_same_endpoint(
    problems: Callable[..., list[str]], cnp: Callable[..., str]
) -> None:
    (problem,) = problems(RESOURCE, cnp("endpointSelector: {matchLabels: {app: api}}\ningress: [{}]\n"))
    assert "`default/p` selects endpoint `api`, whose policy" in problem
    assert "0.yaml:2:1 gives as a resource; keep one of them" in problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("endpoint_id: 1", "endpoint_ips: is missing"),
        ("endpoint_ips: [10.0.0.1]", "endpoint_id: is missing"),
        ("endpoint_ips: [here]\nendpoint_id: 1", "`here` is not an IP address"),
        ("endpoint_ips: [10.0.0.1, 10.0.0.3]\nendpoint_id: 1", "has addresses of several endpoints: api, other"),
        ("endpoint_ips: [10.0.0.1]\nendpoint_id: 1\nport: 80", "0.yaml:3:1: cilium.NetworkPolicy: "),
        ("endpoint_ips: [10.0.0.1]\nendpoint_id: x", "cilium.NetworkPolicy: endpoint_id: "),
        ("resources: [{'@type': type.googleapis.com/envoy.x.Listener}]", "only network policies belong here"),
        ("resources: [x]", "must be a cilium.NetworkPolicy"),
    ],
)
def test_problems(problems: Callable[..., list[str]], text: str, expected: str) -> None:
    assert expected in problems(text)[0]


def test_an_address_may_have_one_resource(problems: Callable[..., list[str]]) -> None:
    found = problems(RESOURCE, RESOURCE)
    assert any("endpoint_ips: 10.0.0.1 has a policy already" in problem for problem in found)


@pytest.mark.parametrize(("tls", "port", "wrong"), [("false", 8080, 1), ("true", 8080, 0), ("false", 8081, 0)])
def test_a_resource_wants_tls_only_of_listeners_that_look_for_it(
    compiled: Callable[..., Compiled], tls: str, port: int, wrong: int
) -> None:
    config = (
        CONFIG
        + f"""
listeners:
  - {{name: in, direction: ingress, address: "127.0.0.1:8080", endpoint: api, upstream: "127.0.0.1:9000", tls: {tls}}}
"""
    )
    rule = "{name: out, upstream_tls_context: {trusted_ca: ca}}"
    text = RESOURCE.replace("port: 80", f"port: {port}").replace("{name: frontend, remote_policies: [258]}", rule)
    found = []
    try:
        compiled(text, config=config)
    except CompileError as error:
        found = [str(problem) for problem in error.problems]
    assert len(found) == wrong
    for problem in found:
        assert "upstream_tls_context cannot be enforced by listener `in` (port 8080)" in problem
