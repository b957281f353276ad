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


HTTP = """
endpointSelector: {matchLabels: {app: api}}
ingress:
- fromEndpoints: [{matchLabels: {app: frontend}}]
  toPorts:
  - ports: [{port: "80", protocol: TCP}]
    rules:
      http:
"""


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        ("{method: GET}", ["GET /", "GET /admin?x=1"]),
        ("{method: 'GET|PUT'}", ["GET /", "PUT /", "GET /admin?x=1"]),
        ("{path: /}", ["GET /", "PUT /"]),
        ("{path: '/admin.*'}", ["GET /admin?x=1"]),
        ("{path: /admin}", []),
        ("{host: 'api[.]example'}", ["GET /", "PUT /", "GET /admin?x=1"]),
        ("{host: api}", []),
        ("{}", ["GET /", "PUT /", "GET /admin?x=1"]),
    ],
)
def test_http_rules_match_whole_values(asked: Ask, cnp: Make, rule: str, allowed: list[str]) -> None:
    engine = asked(cnp(f"{HTTP}      - {rule}\n"))
    requests = ["GET /", "PUT /", "GET /admin?x=1"]
    assert [request for request in requests if engine.http("frontend", "api", request)] == allowed
    assert not engine.http("batch", "api", "GET /")


@pytest.mark.parametrize(
    ("rule", "headers", "allowed"),
    [
        ('{headers: ["X-Token: a b"]}', {"x_token": "a b"}, True),
        ('{headers: ["X-Token: a b"]}', {"x_token": "a"}, False),
        ('{headers: ["X-Token a"]}', {"x_token": "a"}, True),
        ('{headers: ["X-Token"]}', {"x_token": ""}, True),
        ('{headers: ["X-Token"]}', {}, False),
        ("{headerMatches: [{name: X-Token, value: a}]}", {"x_token": "a"}, True),
        ("{headerMatches: [{name: X-Token, value: a}]}", {"x_token": "b"}, False),
        ("{headerMatches: [{name: X-Token}]}", {"x_token": "b"}, True),
        ("{headerMatches: [{name: X-Token}]}", {}, False),
        ("{headerMatches: [{name: X-Token, value: a, mismatch: LOG}]}", {}, True),
        ("{headerMatches: [{name: X-Token, value: a, mismatch: ADD}]}", {}, True),
        ("{headerMatches: [{name: X-Token, value: a, mismatch: DELETE}]}", {"x_token": "b"}, True),
        ("{headerMatches: [{name: X-Token, value: a, mismatch: REPLACE}]}", {"x_token": "b"}, True),
        ("{headerMatches: [{name: X-Token, secret: {name: s}}]}", {"x_token": "b"}, False),
    ],
)
def test_header_rules(asked: Ask, cnp: Make, rule: str, headers: dict[str, str], allowed: bool) -> None:
    engine = asked(cnp(f"{HTTP}      - {rule}\n"))
    assert engine.http("frontend", "api", "GET /", **headers) is allowed


@pytest.mark.parametrize(
    ("mismatch", "expected"), [("ADD", ["b", "a"]), ("DELETE", []), ("REPLACE", ["a"]), ("LOG", ["b"])]
)
def test_mismatch_actions_change_the_request(asked: Ask, cnp: Make, mismatch: str, expected: list[str]) -> None:
    engine = asked(cnp(f"{HTTP}      - {{headerMatches: [{{name: x-token, value: a, mismatch: {mismatch}}}]}}\n"))
    verdict = engine.policies.http(
        endpoint="10.0.0.1",
        direction="ingress",
        remote=engine.remote("frontend"),
        port=80,
        headers=[(":method", "GET"), (":path", "/"), (":authority", "x"), ("x-token", "b")],
    )
    assert [value for name, value in verdict.headers if name == "x-token"] == expected


def test_a_secret_for_a_header_is_named_after_its_namespace(compiled: Callable[..., Compiled], cnp: Make) -> None:
    first = "{name: x-a, secret: {name: s}, value: v}"
    second = "{name: x-b, secret: {name: t, namespace: n}, mismatch: LOG}"
    rule = f"{{headerMatches: [{first}, {second}]}}"
    result = compiled(cnp(f"{HTTP}      - {rule}\n"))
    (entry,) = result.resources["api"]["ingress_per_port_policies"]
    assert entry["rules"][0]["http_rules"]["http_rules"] == [
        {
            "headers": [{"name": "x-a", "present_match": True}],
            "header_matches": [
                {"name": "x-a", "mismatch_action": "FAIL_ON_MISMATCH", "value": "v", "value_sds_secret": "default/s"},
                {"name": "x-b", "mismatch_action": "CONTINUE_ON_MISMATCH", "value_sds_secret": "n/t"},
            ],
        }
    ]
    assert [(secret.name, secret.use) for secret in result.secrets] == [("default/s", "header"), ("n/t", "header")]


def test_an_allow_without_http_rules_wins_over_http_rules(asked: Ask, cnp: Make) -> None:
    http = cnp(f"{HTTP}      - {{method: GET}}\n", name="http")
    wide = "endpointSelector: {matchLabels: {app: api}}\ningress:\n- fromEndpoints: [{matchLabels: {app: frontend}}]\n"
    assert not asked(http).http("frontend", "api", "PUT /")
    assert asked(http, cnp(wide, name="l3")).http("frontend", "api", "PUT /")
    with_port = wide + '  toPorts: [{ports: [{port: "80"}]}]\n'
    assert asked(http, cnp(with_port, name="l4")).http("frontend", "api", "PUT /")
    other_port = wide + '  toPorts: [{ports: [{port: "81"}]}]\n'
    assert not asked(http, cnp(other_port, name="l4")).http("frontend", "api", "PUT /")


def test_a_deny_rule_wins_over_http_rules(asked: Ask, cnp: Make) -> None:
    deny = "endpointSelector: {}\ningressDeny: [{fromEndpoints: [{matchLabels: {app: frontend}}]}]\n"
    assert not asked(cnp(f"{HTTP}      - {{method: GET}}\n", name="a"), cnp(deny, name="b")).http(
        "frontend", "api", "GET /"
    )


def test_a_verdict_names_the_rule_and_its_place_is_known(asked: Ask, cnp: Make) -> None:
    engine = asked(cnp(f"{HTTP}      - {{method: GET}}\n"))
    verdict = engine.policies.network(
        endpoint="10.0.0.1", direction="ingress", remote=engine.remote("frontend"), port=80
    )
    assert verdict.rule == "default/p/ingress/0"
    place = engine.compiled.places[verdict.rule]
    assert (place.file.rpartition("/")[2], place.line) == ("0.yaml", 9)


def test_rules_with_several_port_lists_are_told_apart(compiled: Callable[..., Compiled], cnp: Make) -> None:
    spec = """
    endpointSelector: {matchLabels: {app: api}}
    ingress: [{toPorts: [{ports: [{port: "80"}]}, {ports: [{port: "81"}]}]}]
    """
    assert sorted(compiled(cnp(spec)).places) == ["default/p/ingress/0/toPorts/0", "default/p/ingress/0/toPorts/1"]


def test_tls_contexts_name_their_secrets(compiled: Callable[..., Compiled], cnp: Make) -> None:
    spec = """
    endpointSelector: {matchLabels: {app: api}}
    egress:
    - toPorts:
      - ports: [{port: "443", protocol: TCP}]
        serverNames: [b.example, a.example]
        terminatingTLS: {secret: {namespace: kube-system, name: cert}}
        originatingTLS: {secret: {name: ca}, trustedCA: ca.crt}
        rules: {http: [{method: GET}]}
    """
    result = compiled(cnp(spec))
    (entry,) = result.resources["api"]["egress_per_port_policies"]
    (rule,) = entry["rules"]
    assert rule["downstream_tls_context"] == {"tls_sds_secret": "kube-system/cert"}
    assert rule["upstream_tls_context"] == {"validation_context_sds_secret": "default/ca/ca.crt"}
    assert rule["server_names"] == ["a.example", "b.example"]
    assert [(secret.name, secret.use) for secret in result.secrets] == [
        ("kube-system/cert", "certificate"),
        ("default/ca", "ca"),
    ]


def test_tls_contexts_name_certificates_of_clients_where_policy_does(
    compiled: Callable[..., Compiled], cnp: Make
) -> None:
    spec = """
    endpointSelector: {matchLabels: {app: api}}
    egress:
    - toPorts:
      - ports: [{port: "443", protocol: TCP}]
        terminatingTLS: {secret: {name: a}, trustedCA: ca.crt}
        originatingTLS: {secret: {name: b}, certificate: tls.crt, privateKey: tls.key}
    """
    result = compiled(cnp(spec))
    (rule,) = result.resources["api"]["egress_per_port_policies"][0]["rules"]
    both = [
        {"tls_sds_secret": name, "validation_context_sds_secret": f"{name}/ca.crt"}
        for name in ("default/a", "default/b")
    ]
    assert [rule["downstream_tls_context"], rule["upstream_tls_context"]] == both
    uses = {(secret.name, secret.use) for secret in result.secrets}
    assert uses == {(name, use) for name in ("default/a", "default/b") for use in ("certificate", "ca")}


def test_server_names_restrict_connections(asked: Ask, cnp: Make) -> None:
    spec = 'endpointSelector: {}\negress: [{toPorts: [{ports: [{port: "443"}], serverNames: ["*.example"]}]}]\n'
    engine = asked(cnp(spec))
    for sni, allowed in (("a.example", True), ("example", False), ("", False)):
        verdict = engine.policies.network(endpoint="10.0.0.1", direction="egress", remote=2, port=443, sni=sni)
        assert verdict.allowed is allowed


def test_kafka_roles_become_api_keys(compiled: Callable[..., Compiled], cnp: Make) -> None:
    spec = """
    endpointSelector: {matchLabels: {app: api}}
    ingress:
    - toPorts:
      - ports: [{port: "9092", protocol: TCP}]
        rules:
          kafka:
          - {role: produce, topic: empire}
          - {apiKey: Fetch, apiVersion: "1", clientID: c}
          - {}
    """
    (entry,) = compiled(cnp(spec)).resources["api"]["ingress_per_port_policies"]
    assert entry["rules"][0]["l7_proto"] == "kafka"
    assert entry["rules"][0]["kafka_rules"]["kafka_rules"] == [
        {"api_version": -1, "api_keys": [0, 3, 18], "topic": "empire"},
        {"api_version": 1, "api_keys": [1], "client_id": "c"},
        {"api_version": -1},
    ]


def test_l7_rules_for_parsers_and_for_envoys_filters(compiled: Callable[..., Compiled], cnp: Make) -> None:
    spec = """
    endpointSelector: {{matchLabels: {{app: api}}}}
    ingress:
    - toPorts:
      - ports: [{{port: "80", protocol: TCP}}]
        rules: {{l7proto: {0}, l7: {1}}}
    """
    result = compiled(cnp(spec.format("memcache", "[{command: get}]")))
    (entry,) = result.resources["api"]["ingress_per_port_policies"]
    assert entry["rules"][0]["l7_proto"] == "memcache"
    assert entry["rules"][0]["l7_rules"] == {"l7_allow_rules": [{"rule": {"command": "get"}}]}

    result = compiled(cnp(spec.format("envoy.filters.network.mongo_proxy", "[{db/table: x}, {action: deny, db: ''}]")))
    (entry,) = result.resources["api"]["ingress_per_port_policies"]
    exact = {"list_match": {"one_of": {"string_match": {"exact": "x"}}}}
    name = "envoy.filters.network.mongo_proxy"
    assert entry["rules"][0]["l7_rules"] == {
        "l7_allow_rules": [
            {"metadata_rule": [{"filter": name, "path": [{"key": "db"}, {"key": "table"}], "value": exact}]}
        ],
        "l7_deny_rules": [
            {"metadata_rule": [{"filter": name, "path": [{"key": "db"}], "value": {"present_match": True}}]}
        ],
    }


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
