"""CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy: what they become, and the engine's verdicts on it."""

from collections.abc import Callable
from typing import Any

import pytest

from cilium_proxy.policy.compile import Compiled

Make = Callable[..., str]
Ask = Callable[..., Any]

STAR_WARS = """
apiVersion: "cilium.io/v2"
kind: CiliumNetworkPolicy
metadata:
  name: "rule1"
spec:
  description: "L7 policy to restrict access to specific HTTP call"
  endpointSelector:
    matchLabels:
      org: empire
      class: deathstar
  ingress:
  - fromEndpoints:
    - matchLabels:
        org: empire
    toPorts:
    - ports:
      - port: "80"
        protocol: TCP
      rules:
        http:
        - method: "POST"
          path: "/v1/request-landing"
"""
STAR_WARS_CONFIG = """
endpoints:
  - {name: deathstar, labels: {org: empire, class: deathstar}, ips: [10.0.0.1]}
identities:
  - {name: tiefighter, labels: {org: empire, class: tiefighter}, cidrs: [10.0.0.2]}
  - {name: xwing, labels: {org: alliance, class: xwing}, cidrs: [10.0.0.3]}
policies: [policies]
"""


def test_star_wars_becomes_the_known_resource(compiled: Callable[..., Compiled]) -> None:
    resource = compiled(STAR_WARS, config=STAR_WARS_CONFIG).resources["deathstar"]
    assert resource == {
        "endpoint_ips": ["10.0.0.1"],
        "endpoint_id": 1,
        "ingress_per_port_policies": [
            {
                "port": 80,
                "protocol": "TCP",
                "rules": [
                    {
                        "name": "default/rule1/ingress/0",
                        "remote_policies": [256, 257],
                        "http_rules": {
                            "http_rules": [
                                {
                                    "headers": [
                                        {"name": ":method", "string_match": {"safe_regex": {"regex": "POST"}}},
                                        {
                                            "name": ":path",
                                            "string_match": {"safe_regex": {"regex": "/v1/request-landing"}},
                                        },
                                    ]
                                }
                            ]
                        },
                    }
                ],
            }
        ],
        "egress_per_port_policies": [{"port": 0, "protocol": "TCP", "rules": [{"name": "no policy restricts egress"}]}],
    }


@pytest.mark.parametrize(
    ("source", "request_line", "allowed"),
    [
        ("tiefighter", "POST /v1/request-landing", True),
        ("tiefighter", "PUT /v1/exhaust-port", False),
        ("tiefighter", "GET /v1/request-landing", False),
        ("tiefighter", "POST /v1/request-landing/x", False),
        ("xwing", "POST /v1/request-landing", False),
        ("8.8.8.8", "POST /v1/request-landing", False),
    ],
)
def test_star_wars_verdicts(asked: Ask, source: str, request_line: str, allowed: bool) -> None:
    engine = asked(STAR_WARS, config=STAR_WARS_CONFIG)
    assert engine.http(source, "deathstar", request_line) is allowed


def test_without_policy_everything_is_allowed(asked: Ask) -> None:
    engine = asked()
    assert engine.ingress("8.8.8.8", "api")
    assert engine.egress("api", "8.8.8.8")


def test_only_directions_with_rules_are_closed(asked: Ask, cnp: Make) -> None:
    engine = asked(cnp("endpointSelector: {matchLabels: {app: api}}\ningress: [{}]\n"))
    assert not engine.ingress("frontend", "api")
    assert engine.egress("api", "frontend")
    assert engine.ingress("frontend", "db"), "the policy does not select it"
    assert engine.ingress("frontend", "other"), "the policy is of another namespace"


def test_a_policy_selects_endpoints_of_its_namespace(asked: Ask, cnp: Make) -> None:
    engine = asked(cnp("endpointSelector: {}\ningress: [{}]\n", namespace="prod"))
    assert not engine.ingress("frontend", "other")
    assert engine.ingress("frontend", "api")


def test_a_clusterwide_policy_selects_endpoints_of_all_namespaces(asked: Ask, cnp: Make) -> None:
    engine = asked(
        cnp("endpointSelector: {matchLabels: {app: api}}\ningress: [{}]\n", kind="CiliumClusterwideNetworkPolicy")
    )
    assert not engine.ingress("frontend", "api")
    assert not engine.ingress("frontend", "other")
    assert engine.ingress("frontend", "db")


@pytest.mark.parametrize(
    ("selector", "allowed"),
    [
        ("{}", ["frontend"]),
        ("{matchLabels: {app: batch}}", []),
        ("{matchLabels: {app: batch, 'k8s:io.kubernetes.pod.namespace': prod}}", ["batch"]),
        ("{matchLabels: {io.kubernetes.pod.namespace: prod}}", ["batch"]),
        ("{matchExpressions: [{key: 'k8s:io.kubernetes.pod.namespace', operator: Exists}]}", ["frontend", "batch"]),
        ("{matchLabels: {'k8s:io.cilium.k8s.namespace.labels.env': production}}", ["batch"]),
        ("{matchLabels: {'reserved:host': ''}}", ["node"]),
        ("{matchExpressions: [{key: app, operator: NotIn, values: [frontend]}]}", []),
    ],
)
def test_from_endpoints_means_the_policys_namespace_unless_it_names_one(
    asked: Ask, cnp: Make, selector: str, allowed: list[str]
) -> None:
    engine = asked(
        cnp(f"endpointSelector: {{matchLabels: {{app: api}}}}\ningress: [{{fromEndpoints: [{selector}]}}]\n")
    )
    peers = ["frontend", "batch", "node", "8.8.8.8"]
    assert [peer for peer in peers if engine.ingress(peer, "api")] == allowed


def test_from_endpoints_of_a_clusterwide_policy_means_any_namespace_but_no_reserved_peers(
    asked: Ask, cnp: Make
) -> None:
    spec = "endpointSelector: {matchLabels: {app: api}}\ningress: [{fromEndpoints: [{}]}]\n"
    engine = asked(cnp(spec, kind="CiliumClusterwideNetworkPolicy"))
    peers = ["frontend", "batch", "node", "8.8.8.8"]
    assert [peer for peer in peers if engine.ingress(peer, "api")] == ["frontend", "batch"]


@pytest.mark.parametrize(
    ("entity", "allowed"),
    [
        ("all", ["frontend", "batch", "node", "192.0.2.1", "8.8.8.8"]),
        ("world", ["192.0.2.1", "8.8.8.8"]),
        ("host", ["node"]),
        ("cluster", ["frontend", "batch", "node"]),
        ("remote-node", []),
        ("none", []),
        ("kube-apiserver", []),
        ("unmanaged", []),
    ],
)
def test_entities(asked: Ask, cnp: Make, entity: str, allowed: list[str]) -> None:
    engine = asked(
        cnp(f"endpointSelector: {{matchLabels: {{app: api}}}}\ningress: [{{fromEntities: [{entity}]}}]\n"),
        # Gives 192.0.2.1 an identity of its own, which is world still.
        cnp("endpointSelector: {matchLabels: {app: db}}\ningress: [{fromCIDR: [192.0.2.0/24]}]\n", name="q"),
    )
    peers = ["frontend", "batch", "node", "192.0.2.1", "8.8.8.8"]
    assert [peer for peer in peers if engine.ingress(peer, "api")] == allowed


def test_an_empty_list_of_peers_is_nobody_and_no_list_is_anyone(asked: Ask, cnp: Make) -> None:
    selector = "endpointSelector: {matchLabels: {app: api}}\n"
    ports = 'toPorts: [{ports: [{port: "80"}]}]'
    assert not asked(cnp(f"{selector}ingress: [{{fromEndpoints: [], {ports}}}]\n")).ingress("frontend", "api")
    assert asked(cnp(f"{selector}ingress: [{{{ports}}}]\n")).ingress("8.8.8.8", "api")


def test_rules_for_peers_without_ports_allow_every_port(asked: Ask, cnp: Make) -> None:
    engine = asked(
        cnp(
            """
            endpointSelector: {matchLabels: {app: api}}
            ingress: [{fromEndpoints: [{matchLabels: {app: frontend}}]}]
            """
        )
    )
    assert engine.ingress("frontend", "api", 1)
    assert engine.ingress("frontend", "api", 65535)
    assert not engine.ingress("batch", "api", 1)


@pytest.mark.parametrize(
    ("ports", "allowed"),
    [
        ('[{port: "80"}]', [80]),
        ('[{port: "80", protocol: TCP}]', [80]),
        ('[{port: "80", protocol: ANY}]', [80]),
        ("[{port: 80, protocol: tcp}]", [80]),
        ('[{port: "80", endPort: 82}]', [80, 81, 82]),
        ('[{port: "80", endPort: 80}, {port: "82"}]', [80, 82]),
        ('[{port: "0"}]', [79, 80, 81, 82, 83]),
        ('[{port: "80", protocol: UDP}]', []),
        ('[{port: "80", protocol: SCTP}]', []),
    ],
)
def test_ports(asked: Ask, cnp: Make, ports: str, allowed: list[int]) -> None:
    engine = asked(
        cnp(f"endpointSelector: {{matchLabels: {{app: api}}}}\ningress: [{{toPorts: [{{ports: {ports}}}]}}]\n")
    )
    assert [port for port in range(79, 84) if engine.ingress("frontend", "api", port)] == allowed


def test_udp_rules_are_kept_as_udp(compiled: Callable[..., Compiled], cnp: Make) -> None:
    spec = (
        'endpointSelector: {matchLabels: {app: api}}\negress: [{toPorts: [{ports: [{port: "53", protocol: UDP}]}]}]\n'
    )
    resource = compiled(cnp(spec)).resources["api"]
    assert resource["egress_per_port_policies"] == [
        {"port": 53, "protocol": "UDP", "rules": [{"name": "default/p/egress/0"}]}
    ]


def test_egress_to_endpoints_cidrs_and_entities(asked: Ask, cnp: Make) -> None:
    engine = asked(
        cnp(
            """
            endpointSelector: {matchLabels: {app: api}}
            egress:
            - {toEndpoints: [{matchLabels: {app: db}}], toPorts: [{ports: [{port: "5432"}]}]}
            - {toCIDRSet: [{cidr: 192.0.2.0/24, except: [192.0.2.9/32]}]}
            - {toEntities: [host]}
            """
        )
    )
    assert engine.egress("api", "db", 5432)
    assert not engine.egress("api", "db", 5433)
    assert engine.egress("api", "192.0.2.8")
    assert not engine.egress("api", "192.0.2.9")
    assert engine.egress("api", "node")
    assert not engine.egress("api", "frontend")


def test_deny_rules_win_over_allow_rules_whatever_their_ports(asked: Ask, cnp: Make) -> None:
    engine = asked(
        cnp(
            """
            endpointSelector: {matchLabels: {app: api}}
            ingress:
            - {fromEntities: [all], toPorts: [{ports: [{port: "80"}]}]}
            - {fromEntities: [all], toPorts: [{ports: [{port: "8080"}]}]}
            ingressDeny:
            - {fromEndpoints: [{matchLabels: {app: frontend}}]}
            - {fromEntities: [world], toPorts: [{ports: [{port: "8000", endPort: 9000}]}]}
            """
        )
    )
    assert not engine.ingress("frontend", "api", 80)
    assert engine.ingress("batch", "api", 80)
    assert engine.ingress("8.8.8.8", "api", 80)
    assert not engine.ingress("8.8.8.8", "api", 8080)
    assert engine.ingress("batch", "api", 8080)


def test_without_default_deny_only_deny_rules_count(asked: Ask, cnp: Make) -> None:
    engine = asked(
        cnp(
            """
            endpointSelector: {matchLabels: {app: api}}
            enableDefaultDeny: {ingress: false}
            ingressDeny: [{fromEndpoints: [{matchLabels: {app: frontend}}]}]
            """
        )
    )
    assert not engine.ingress("frontend", "api")
    assert engine.ingress("batch", "api")


def test_another_policy_may_close_what_one_leaves_open(asked: Ask, cnp: Make) -> None:
    engine = asked(
        cnp("endpointSelector: {}\nenableDefaultDeny: {ingress: false}\ningress: [{fromEntities: [host]}]\n", name="a"),
        cnp("endpointSelector: {matchLabels: {app: api}}\ningress: [{}]\n", name="b"),
    )
    assert not engine.ingress("frontend", "api")
    assert engine.ingress("node", "api")
    assert engine.ingress("frontend", "db")


def test_default_deny_can_be_asked_for_without_rules(asked: Ask, cnp: Make) -> None:
    engine = asked(cnp("endpointSelector: {matchLabels: {app: api}}\nenableDefaultDeny: {egress: true}\n"))
    assert not engine.egress("api", "db")
    assert engine.ingress("frontend", "api")


def test_specs_are_policies_of_their_own(compiled: Callable[..., Compiled]) -> None:
    result = compiled(
        """
        apiVersion: cilium.io/v2
        kind: CiliumNetworkPolicy
        metadata: {name: p}
        specs:
        - {endpointSelector: {matchLabels: {app: api}}, ingress: [{fromEntities: [host]}]}
        - {endpointSelector: {matchLabels: {app: db}}, egress: [{toEntities: [host]}]}
        """
    )
    selecting = {name: [rule.name for rule in rules] for name, rules in result.rules.items()}
    assert selecting == {"api": ["default/p/specs/0"], "db": ["default/p/specs/1"], "other": []}
    (entry,) = result.resources["api"]["ingress_per_port_policies"]
    assert entry["rules"] == [{"name": "default/p/specs/0/ingress/0", "remote_policies": [1]}]


def test_rules_with_several_port_lists_are_told_apart(compiled: Callable[..., Compiled], cnp: Make) -> None:
    spec = """
    endpointSelector: {matchLabels: {app: api}}
    ingress: [{toPorts: [{ports: [{port: "80"}]}, {ports: [{port: "81"}]}]}]
    """
    assert sorted(compiled(cnp(spec)).places) == ["default/p/ingress/0/toPorts/0", "default/p/ingress/0/toPorts/1"]


def test_the_order_of_files_changes_nothing(compiled: Callable[..., Compiled], cnp: Make) -> None:
    a = cnp("endpointSelector: {}\ningress: [{fromEntities: [host]}]\n", name="a")
    b = cnp("endpointSelector: {}\ningress: [{fromCIDR: [192.0.2.0/24]}]\n", name="b")
    assert compiled(a, b).resources == compiled(b, a).resources


def test_what_a_cluster_adds_to_objects_is_let_pass(compiled: Callable[..., Compiled]) -> None:
    result = compiled(
        """
        apiVersion: v1
        kind: List
        items:
        - apiVersion: cilium.io/v2
          kind: CiliumNetworkPolicy
          metadata: {name: p, namespace: default, uid: x, resourceVersion: "1", generation: 1, annotations: {a: b}}
          spec: {endpointSelector: {}, ingress: [{}], labels: [{key: a, source: k8s, value: b}]}
          status: {conditions: []}
        """
    )
    assert [rule.name for rule in result.rules["api"]] == ["default/p"]
