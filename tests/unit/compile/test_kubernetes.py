"""NetworkPolicy of Kubernetes."""

import textwrap
from collections.abc import Callable
from typing import Any

import pytest

Ask = Callable[..., Any]
HEAD = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n"
PEERS = ["db", "frontend", "batch", "node", "192.0.2.1", "8.8.8.8"]


def policy(spec: str) -> str:
    return HEAD + textwrap.indent(textwrap.dedent(spec).strip("\n"), "  ") + "\n"


@pytest.mark.parametrize(
    ("peer", "allowed"),
    [
        ("podSelector: {}", ["db", "frontend"]),
        ("podSelector: {matchLabels: {app: batch}}", []),
        ("namespaceSelector: {}", ["db", "frontend", "batch"]),
        ("namespaceSelector: {matchLabels: {env: production}}", ["batch"]),
        ("namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: default}}", ["db", "frontend"]),
        ("namespaceSelector: {}, podSelector: {matchExpressions: [{key: tier, operator: Exists}]}", ["db"]),
        ("ipBlock: {cidr: 192.0.2.0/24}", ["192.0.2.1"]),
        ("ipBlock: {cidr: 0.0.0.0/0, except: [192.0.2.0/24]}", ["8.8.8.8"]),
    ],
)
def test_peers(asked: Ask, peer: str, allowed: list[str]) -> None:
    engine = asked(policy(f"podSelector: {{matchLabels: {{app: api}}}}\ningress: [{{from: [{{{peer}}}]}}]"))
    assert [peer for peer in PEERS if engine.ingress(peer, "api")] == allowed


def test_several_peers_of_one_rule_are_alternatives(asked: Ask) -> None:
    engine = asked(
        policy(
            """
            podSelector: {matchLabels: {app: api}}
            ingress: [{from: [{podSelector: {matchLabels: {app: db}}}, {ipBlock: {cidr: 192.0.2.0/24}}]}]
            """
        )
    )
    assert [peer for peer in PEERS if engine.ingress(peer, "api")] == ["db", "192.0.2.1"]


@pytest.mark.parametrize(
    ("ports", "allowed"),
    [
        ("", [79, 80, 81, 82]),
        ("ports: []", [79, 80, 81, 82]),
        ("ports: [{port: 80}]", [80]),
        ("ports: [{port: 80, endPort: 81}]", [80, 81]),
        ("ports: [{protocol: TCP}]", [79, 80, 81, 82]),
        ("ports: [{port: 80, protocol: UDP}, {port: 82}]", [82]),
        ("ports: [{protocol: UDP}]", []),
    ],
)
def test_ports(asked: Ask, ports: str, allowed: list[int]) -> None:
    engine = asked(policy(f"podSelector: {{matchLabels: {{app: api}}}}\ningress: [{{{ports}}}]"))
    assert [port for port in range(79, 83) if engine.ingress("8.8.8.8", "api", port)] == allowed


@pytest.mark.parametrize(
    ("spec", "ingress", "egress"),
    [
        ("podSelector: {}", False, True),
        ("podSelector: {}\npolicyTypes: [Ingress]", False, True),
        ("podSelector: {}\npolicyTypes: [Egress]", True, False),
        ("podSelector: {}\npolicyTypes: [Ingress, Egress]", False, False),
        ("podSelector: {}\negress: [{ports: [{port: 1}]}]", False, False),
        ("podSelector: {}\ningress: [{}]", True, True),
    ],
)
def test_policy_types(asked: Ask, spec: str, ingress: bool, egress: bool) -> None:
    engine = asked(policy(spec))
    assert engine.ingress("frontend", "api") is ingress
    assert engine.egress("api", "frontend") is egress
    assert engine.ingress("frontend", "other"), "another namespace"


def test_egress_rules(asked: Ask) -> None:
    engine = asked(
        policy("podSelector: {}\negress: [{to: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: 5432}]}]")
    )
    assert engine.egress("api", "db", 5432)
    assert not engine.egress("api", "db", 5433)
    assert not engine.egress("api", "frontend", 5432)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("{}", "spec.podSelector: is missing"),
        ("podSelector: {}\ningress: [{ports: [{port: http}]}]", "spec.ingress[0].ports[0].port: named port `http`"),
        ("podSelector: {}\ningress: [{ports: [{endPort: 81}]}]", "endPort: needs `port`"),
        ("podSelector: {}\ningress: [{ports: [{port: 80, endPort: 79}]}]", "79 is below port 80"),
        ("podSelector: {}\ningress: [{ports: [{port: 0}]}]", "`0` is not a port; use 1 to 65535"),
        ("podSelector: {}\ningress: [{from: [{}]}]", "spec.ingress[0].from[0]: names no peer"),
        ("podSelector: {}\ningress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}]", "write two peers"),
        ("podSelector: {}\ningress: [{from: [{ipBlock: {cidr: 10.0.0.1}}]}]", "`10.0.0.1` is not a prefix"),
        (
            "podSelector: {}\ningress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/8]}}]}]",
            "11.0.0.0/8 is not inside 10.0.0.0/8",
        ),
        ("podSelector: {}\npolicyTypes: [Egress]\ningress: [{}]", "add Ingress to policyTypes or remove the rules"),
        ("podSelector: {}\npolicyTypes: [ingress]", "`ingress` is not one of Ingress, Egress"),
        ("podSelector: {}\ningress: [{to: []}]", "spec.ingress[0].to: unknown field"),
    ],
)
def test_problems(problems: Callable[..., list[str]], spec: str, expected: str) -> None:
    assert expected in problems(policy(spec))[0]
