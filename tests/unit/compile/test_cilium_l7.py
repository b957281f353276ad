"""What rules of CiliumNetworkPolicy demand beyond peer and port: HTTP, TLS, Kafka and other protocols."""

from collections.abc import Callable
from typing import Any

import pytest

from cilium_proxy.policy.compile import Compiled

Make = Callable[..., str]
Ask = Callable[..., Any]

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
