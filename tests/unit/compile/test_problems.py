"""What is wrong with policies: the place, the field, and what to do."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilium_proxy.config import parse_config
from cilium_proxy.policy.compile import Compiled, CompileError, Documents, compile_policies, load_policies, verify
from cilium_proxy.policy.compile.compiler import KINDS
from cilium_proxy.yaml import Mapping, Problem, Problems, parse

Find = Callable[..., list[str]]
Make = Callable[..., str]


MYSQL = "envoy.filters.network.mysql_proxy"
TCP = "ports: [{port: '80', protocol: TCP}]"


def ingress(rule: str) -> str:
    return f"endpointSelector: {{}}\ningress:\n- {rule}\n"


def egress(rule: str) -> str:
    return f"endpointSelector: {{}}\negress:\n- {rule}\n"


@pytest.mark.parametrize(
    ("spec", "field", "fix"),
    [
        (egress("toFQDNs: [{matchName: a.example}]"), "spec.egress[0].toFQDNs", "use toCIDR"),
        (egress("toServices: []"), "spec.egress[0].toServices", "use toEndpoints"),
        (egress("toGroups: []"), "spec.egress[0].toGroups", "list the prefixes"),
        (egress("toNodes: []"), "spec.egress[0].toNodes", "use entities host and remote-node"),
        (egress("toRequires: []"), "spec.egress[0].toRequires", "put the labels into every selector"),
        (ingress("fromRequires: []"), "spec.ingress[0].fromRequires", "put the labels into every selector"),
        (ingress("fromGroups: []"), "spec.ingress[0].fromGroups", "list the prefixes"),
        (ingress("fromNodes: []"), "spec.ingress[0].fromNodes", "use entities"),
        (ingress("icmps: []"), "spec.ingress[0].icmps", "this proxy sees TCP only"),
        (ingress("authentication: {mode: required}"), "spec.ingress[0].authentication", "needs a Cilium agent"),
        ("nodeSelector: {}\ningress: [{}]", "spec.nodeSelector", "use endpointSelector"),
        ("endpointSelector: {}\ningress: [{}]\nlog: {value: x}", "spec.log", "remove it"),
        (
            egress('toPorts: [{ports: [{port: "53", protocol: TCP}], rules: {dns: [{matchPattern: "*"}]}}]'),
            "spec.egress[0].toPorts[0].rules.dns",
            "DNS rules need Cilium's DNS proxy",
        ),
        (
            egress('toPorts: [{ports: [{port: "80"}], listener: {name: x}}]'),
            "spec.egress[0].toPorts[0].listener",
            "listeners are configured in proxy.yaml",
        ),
        (egress("toCIDRSet: [{cidr: 10.0.0.0/8, cidrGroupRef: g}]"), "toCIDRSet[0].cidrGroupRef", "list the prefixes"),
        (
            "endpointSelector: {}\ningressDeny: [{toPorts: [{ports: [{port: '80'}], rules: {http: [{}]}}]}]",
            "spec.ingressDeny[0].toPorts[0].rules",
            "deny rules know ports only",
        ),
    ],
)
def test_what_the_proxy_cannot_enforce_is_an_error(problems: Find, cnp: Make, spec: str, field: str, fix: str) -> None:
    (problem,) = problems(cnp(spec))
    assert f"{field}: cannot be enforced by this proxy; {fix}" in problem or (
        f"{field}: cannot be enforced by this proxy" in problem and fix in problem
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            "endpointSelektor: {}\ningress: [{}]",
            "spec.endpointSelektor: unknown field; did you mean `endpointSelector`?",
        ),
        ("ingress: [{}]", "spec.endpointSelector: is missing; add it"),
        ("endpointSelector: {}", "spec: has no ingress, ingressDeny, egress or egressDeny and does nothing"),
        (ingress("fromEndpoints:"), "spec.ingress[0].fromEndpoints: has no value; give it one or remove it"),
        (ingress("toPorts: [{ports: [{port: '80'}], serverNames: []}]"), "serverNames: is empty and would restrict"),
        (ingress("fromEndpoint: []"), "spec.ingress[0].fromEndpoint: unknown field; did you mean `fromEndpoints`?"),
        (ingress("toEndpoints: []"), "spec.ingress[0].toEndpoints: unknown field; did you mean `fromEndpoints`?"),
        (ingress("fromEntities: [word]"), "fromEntities[0]: unknown entity `word`; did you mean `world`?"),
        (ingress("fromEntities: [world-ipv4]"), "use fromCIDR with 0.0.0.0/0"),
        (ingress("fromCIDR: [10.0.0.0/33]"), "`10.0.0.0/33` is not a prefix"),
        (ingress("fromCIDR: [10.0.0.0/255.0.0.0]"), "is not a prefix"),
        (ingress("fromCIDRSet: [{cidr: 10.0.0.1}]"), "`10.0.0.1` is not a prefix"),
        (ingress("fromCIDRSet: [{cidr: 10.0.0.0/8, except: ['fd00::/8']}]"), "fd00::/8 is not inside 10.0.0.0/8"),
        (
            ingress("{fromCIDR: [10.0.0.0/8], fromEntities: [host]}"),
            "cannot be combined with fromCIDR; write two rules",
        ),
        (ingress("toPorts: [{}]"), "toPorts[0].ports: are missing"),
        (ingress("toPorts: [{ports: [{}]}]"), "ports[0].port: is missing"),
        (ingress("toPorts: [{ports: [{port: http}]}]"), "named port `http` cannot be enforced"),
        (ingress("toPorts: [{ports: [{port: '65536'}]}]"), "`65536` is not a port"),
        (ingress("toPorts: [{ports: [{port: '80', endPort: 79}]}]"), "79 is below port 80"),
        (ingress("toPorts: [{ports: [{port: '0', endPort: 79}]}]"), "port 0 is every port"),
        (ingress("toPorts: [{ports: [{port: '80', protocol: ICMP}]}]"), "`ICMP` is not one of TCP, UDP, SCTP, ANY"),
        (ingress("toPorts: [{ports: [{port: '80'}], rules: {http: [{}]}}]"), "write `protocol: TCP`"),
        (
            ingress("toPorts: [{ports: [{port: '0', protocol: TCP}], rules: {http: [{}]}}]"),
            "L7 rules cannot be used with port 0",
        ),
        (
            ingress("toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {http: []}}]"),
            "is empty and would restrict",
        ),
        (
            ingress("toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {http: [{}], kafka: [{}]}}]"),
            "rules.kafka: cannot be combined with http",
        ),
        (ingress("toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {l7: [{a: b}]}}]"), "l7: needs l7proto"),
        (
            ingress(f"toPorts: [{{{TCP}, rules: {{l7proto: memcached, l7: [{{}}]}}}}]"),
            "rules.l7proto: there is no parser `memcached`; did you mean `memcache`?",
        ),
        (
            ingress(f"toPorts: [{{{TCP}, rules: {{l7proto: x, l7: [{{}}]}}}}]"),
            "there is no parser `x`; use one of cassandra, envoy.filters.network.mongo_proxy",
        ),
        (
            ingress(f"toPorts: [{{{TCP}, rules: {{l7proto: r2d2, l7: [{{cmd: HALT}}, {{command: HALT}}]}}}}]"),
            'rules.l7[1]: L7 rules of r2d2: unknown key "command", the keys are cmd, file; see docs/policies.md',
        ),
        (
            ingress(f"toPorts: [{{{TCP}, rules: {{l7proto: r2d2, l7: [{{file: '('}}]}}}}]"),
            'rules.l7[0]: L7 rules of r2d2: file "(" is not a regular expression',
        ),
        (
            ingress(f"toPorts: [{{{TCP}, rules: {{l7proto: kafka, l7: [{{topic: a}}]}}}}]"),
            "rules.l7[0]: L7 rules of kafka: it takes kafka_rules",
        ),
        (ingress(f"toPorts: [{{{TCP}, rules: {{l7proto: r2d2, l7: []}}}}]"), "rules.l7: is empty and would restrict"),
        (
            ingress(f"toPorts: [{{{TCP}, rules: {{l7proto: {MYSQL}, l7: [{{action: Deny, a: b}}]}}}}]"),
            "rules.l7[0].action: `Deny` is not one of allow, deny; did you mean `deny`?",
        ),
        (
            ingress("toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {http: [{method: ON}]}}]"),
            "http[0].method: must be a string, not a boolean; quote it",
        ),
        (
            ingress("toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {http: [{headers: ['a:b']}]}}]"),
            'write "Name: value" or "Name"',
        ),
        (
            ingress(f"toPorts: [{{{TCP}, rules: {{http: [{{headerMatches: [{{name: a, mismatch: ADD}}]}}]}}}}]"),
            "ADD needs a value",
        ),
        (
            ingress("toPorts: [{ports: [{port: '80', protocol: TCP}], serverNames: [a], rules: {http: [{}]}}]"),
            "add terminatingTLS",
        ),
        (ingress("toPorts: [{ports: [{port: '80'}], serverNames: ['']}]"), "serverNames[0]: is empty"),
        (ingress("toPorts: [{ports: [{port: '80'}], terminatingTLS: {}}]"), "terminatingTLS.secret: is missing"),
        (
            ingress("toPorts: [{ports: [{port: '80'}], terminatingTLS: {secret: {name: s}, certificate: my.crt}}]"),
            "secrets have tls.crt",
        ),
        (
            ingress("toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {kafka: [{role: eat}]}}]"),
            "`eat` is not one of produce, consume",
        ),
        (
            ingress("toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {kafka: [{apiKey: fetsh}]}}]"),
            "did you mean `fetch`?",
        ),
        (
            "endpointSelector: {matchLabels: {'k8s:io.kubernetes.pod.namespace': prod}}\ningress: [{}]",
            "selects another namespace than the policy's own, default",
        ),
    ],
)
def test_wrong_policies(problems: Find, cnp: Make, spec: str, expected: str) -> None:
    assert expected in "\n".join(problems(cnp(spec)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kind: Deployment", "kind: `Deployment` is not a policy"),
        ("kind: CiliumNetworkPolcy", "did you mean `CiliumNetworkPolicy`?"),
        ("a: b", "kind: is missing"),
        ("- a", "is not a policy"),
        ("kind: CiliumNetworkPolicy\napiVersion: v1\nmetadata: {name: a}\nspec: {}", "`v1` is not one of cilium.io/v2"),
        ("kind: CiliumNetworkPolicy\napiVersion: cilium.io/v2\nspec: {}", "metadata: is missing"),
        ("kind: CiliumNetworkPolicy\napiVersion: cilium.io/v2\nmetadata: {}", "metadata.name: is missing"),
        ("kind: CiliumNetworkPolicy\napiVersion: cilium.io/v2\nmetadata: {name: a}", "spec: is missing"),
        (
            "kind: CiliumClusterwideNetworkPolicy\napiVersion: cilium.io/v2\nmetadata: {name: a, namespace: b}",
            "clusterwide policies have no namespace",
        ),
    ],
)
def test_wrong_documents(problems: Find, text: str, expected: str) -> None:
    assert expected in "\n".join(problems(text))


def test_problems_of_all_files_come_together_with_their_places(problems: Find, cnp: Make) -> None:
    wrong = cnp("endpointSelector: {}\ningress:\n- fromCIDR: [x]\n  icmps: []\n")
    assert problems(wrong, "kind: Pod", wrong.replace("name: p", "name: q")) == [
        "0.yaml:7:16: spec.ingress[0].fromCIDR[0]: `x` is not a prefix; write it like 10.0.0.0/8 or 2001:db8::/32",
        "0.yaml:8:5: spec.ingress[0].icmps: cannot be enforced by this proxy; remove it; this proxy sees TCP only",
        f"1.yaml:1:7: kind: `Pod` is not a policy; use one of {', '.join(KINDS)}, or keep it elsewhere",
        "2.yaml:7:16: spec.ingress[0].fromCIDR[0]: `x` is not a prefix; write it like 10.0.0.0/8 or 2001:db8::/32",
        "2.yaml:8:5: spec.ingress[0].icmps: cannot be enforced by this proxy; remove it; this proxy sees TCP only",
    ]


def test_a_policy_may_not_be_defined_twice(problems: Find, cnp: Make) -> None:
    text = cnp("endpointSelector: {}\ningress: [{}]\n")
    (problem,) = problems(text, text)
    assert "1.yaml:1:1: metadata.name: CiliumNetworkPolicy `default/p` is also defined at" in problem


def test_the_engine_finds_invalid_regular_expressions_and_their_places(
    compiled: Callable[..., Compiled], cnp: Make
) -> None:
    spec = ingress(
        "toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {http: [{path: '/('}, {method: 'G[', path: /}]}}]"
    )
    found = [str(problem) for problem in verify(compiled(cnp(spec)), "proxy.yaml")]
    assert len(found) == 2
    assert "/0.yaml:7:76: spec.ingress[0].toPorts[0].rules.http[0].path: invalid regex" in found[0]
    assert "/0.yaml:7:92: spec.ingress[0].toPorts[0].rules.http[1].method: invalid regex" in found[1]


def test_rules_that_select_no_endpoint_are_verified_too(compiled: Callable[..., Compiled], cnp: Make) -> None:
    spec = ingress("toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {http: [{path: '/('}]}}]")
    assert len(verify(compiled(cnp(spec, namespace="elsewhere")), "proxy.yaml")) == 1


def test_valid_policies_pass_the_engine(compiled: Callable[..., Compiled], cnp: Make) -> None:
    spec = ingress("toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {http: [{path: '/.*'}]}}]")
    assert verify(compiled(cnp(spec)), "proxy.yaml") == []


LISTENER = """
endpoints: [{{name: api, labels: {{app: api}}, ips: [10.0.0.1]}}]
listeners:
- {{name: in, direction: ingress, address: '127.0.0.1:80', endpoint: api, upstream: '10.0.0.1:80', protocol: {0}}}
policies: [policies]
"""


@pytest.mark.parametrize(
    ("protocol", "rules", "expected"),
    [
        ("tcp", "{http: [{}]}", "HTTP rules are not checked by listener `in` (port 80), which has protocol tcp"),
        ("http", "{kafka: [{}]}", "kafka rules are not checked by listener `in` (port 80), which has protocol http"),
    ],
)
def test_rules_that_a_listener_would_not_check_are_errors(
    problems: Find, cnp: Make, protocol: str, rules: str, expected: str
) -> None:
    policy = cnp(ingress(f"toPorts: [{{ports: [{{port: '80', protocol: TCP}}], rules: {rules}}}]"))
    (problem,) = problems(policy, config=LISTENER.format(protocol))
    assert f"spec.ingress[0].toPorts[0]: {expected}" in problem


def test_rules_of_other_ports_or_directions_do_not_concern_a_listener(
    compiled: Callable[..., Compiled], cnp: Make
) -> None:
    rule = "toPorts: [{{ports: [{{port: '{0}', protocol: TCP}}], rules: {{http: [{{}}]}}}}]"
    compiled(cnp(ingress(rule.format(81))), config=LISTENER.format("tcp"))
    compiled(cnp(egress(rule.format(80))), config=LISTENER.format("tcp"))


KINDS_OF_RULES = ["{http: [{}]}", "{kafka: [{}]}", "{l7proto: memcache, l7: [{}]}"]


@pytest.mark.parametrize(("port", "conflict"), [("85", True), ("80", True), ("91", False)])
@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(KINDS_OF_RULES, 2)))
def test_rules_of_two_kinds_may_not_meet_on_a_port(
    compiled: Callable[..., Compiled], cnp: Make, port: str, conflict: bool, first: str, second: str
) -> None:
    rule = "toPorts: [{{ports: [{{port: '{0}', endPort: {1}, protocol: TCP}}], rules: {2}}}]"
    policies = [
        cnp(ingress(rule.format(80, 90, first)), name="a"),
        cnp(ingress(rule.format(port, port, second)), name="b"),
    ]
    if conflict:
        with pytest.raises(CompileError, match="use one kind of rules per port"):
            compiled(*policies)
    else:
        compiled(*policies)


def test_rules_of_two_kinds_may_have_the_same_port_for_different_endpoints(
    compiled: Callable[..., Compiled], cnp: Make
) -> None:
    rule = "toPorts: [{{ports: [{{port: '80', protocol: TCP}}], rules: {0}}}]"
    compiled(cnp(ingress(rule.format("{http: [{}]}"))), cnp(ingress(rule.format("{kafka: [{}]}")), namespace="prod"))
    compiled(cnp(ingress(rule.format("{http: [{}]}"))), cnp(egress(rule.format("{kafka: [{}]}")), name="q"))


def test_directories_are_read_recursively_without_hidden_files(tmp_path: Path) -> None:
    for name in ("a.yaml", "sub/b.yml", "sub/c.json", "d.txt", ".e.yaml", ".git/f.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}\n")
    found = load_policies([tmp_path])
    assert [str(file.relative_to(tmp_path)) for file in found.files] == ["a.yaml", "sub/b.yml", "sub/c.json"]
    assert len(load_policies([f"{tmp_path}/**/*.yml"]).files) == 1
    assert len(load_policies([tmp_path, tmp_path / "a.yaml"]).files) == 3


def test_a_path_that_does_not_exist_is_an_error_but_an_empty_glob_is_not(tmp_path: Path) -> None:
    assert load_policies([f"{tmp_path}/*.yaml"]).files == ()
    with pytest.raises(CompileError, match="does not exist; correct the path or create it"):
        load_policies([tmp_path / "none"])


FIELDS = st.sampled_from(
    [
        *(
            "apiVersion",
            "kind",
            "metadata",
            "name",
            "spec",
            "specs",
            "items",
            "endpointSelector",
            "podSelector",
            "matchLabels",
        ),
        *("matchExpressions", "key", "operator", "values", "ingress", "ingressDeny", "egress", "from", "fromEndpoints"),
        *(
            "fromCIDR",
            "fromCIDRSet",
            "fromEntities",
            "cidr",
            "except",
            "ipBlock",
            "toPorts",
            "ports",
            "port",
            "endPort",
        ),
        *(
            "protocol",
            "rules",
            "http",
            "method",
            "path",
            "headers",
            "headerMatches",
            "kafka",
            "l7",
            "l7proto",
            "secret",
        ),
        *("serverNames", "terminatingTLS", "enableDefaultDeny", "policyTypes", "endpoint_ips", "endpoint_id"),
    ]
)
TEXTS = st.sampled_from(
    [
        *("", "x", "80", "TCP", "10.0.0.0/8", "fd00::/8", "all", "world", "In", "Exists", "POST", "(", "List"),
        *("cilium.io/v2", "networking.k8s.io/v1", "CiliumNetworkPolicy", "NetworkPolicy"),
    ]
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 70000) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=5),
    max_leaves=25,
)


@given(TREES, st.sampled_from(["NetworkPolicy", "CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"]))
def test_any_document_compiles_or_is_refused_with_places(tree: object, kind: str) -> None:
    version = "networking.k8s.io/v1" if kind == "NetworkPolicy" else "cilium.io/v2"
    text = json.dumps({"apiVersion": version, "kind": kind, "metadata": {"name": "p"}, "spec": tree})
    reading = Problems()
    documents = Documents(tuple(parse(text, "p.yaml", reading) + parse(json.dumps(tree), "q.yaml", reading)), ())
    (config,) = parse("endpoints: [{name: a, ips: [10.0.0.1]}]", "proxy.yaml", reading)
    assert isinstance(config, Mapping)
    assert not reading
    refused: list[Problem] = []
    try:
        refused = verify(compile_policies(parse_config(config, Path("proxy.yaml")), documents), "proxy.yaml")
    except CompileError as error:
        refused = error.problems
    assert all(problem.mark.line and problem.message for problem in refused)


@pytest.mark.parametrize("pattern", ["policies", "policies/*.yaml", "policies/**/*.yaml"])
@pytest.mark.parametrize("mode", [0, 0o111])
def test_a_directory_that_cannot_be_listed_is_an_error(tmp_path: Path, pattern: str, mode: int) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "p.yaml").write_text("x: 1")
    # Root reads everything, unless it gives its capabilities up.
    code = f"from cilium_proxy.policy.compile import load_policies; load_policies([{str(tmp_path / pattern)!r}])"
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    folder.chmod(mode)
    result = subprocess.run([*drop, sys.executable, "-c", code], capture_output=True, text=True, check=False)
    folder.chmod(0o755)
    assert "CompileError" in result.stderr
    assert "Permission denied; check" in result.stderr


def test_symlinked_directories_are_read_once(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "p.yaml").write_text("x: 1")
    (elsewhere / "loop").symlink_to(elsewhere)
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "team").symlink_to(elsewhere)
    assert load_policies([folder]).files == ((elsewhere / "p.yaml").resolve(),)
