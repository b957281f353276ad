"""`cilium-proxy verdict`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cilium_proxy.cli.verdict import command

CONFIG = """
endpoints:
- {name: deathstar, labels: {org: empire, class: deathstar}, ips: [10.0.0.1]}
- {name: base, labels: {org: alliance, class: base}, ips: [10.0.0.5]}
identities:
- {name: tiefighter, labels: {org: empire, class: tiefighter}, cidrs: [10.0.0.2]}
- {name: xwing, labels: {org: alliance, class: xwing}, cidrs: [10.0.0.3]}
listeners:
- {name: in, direction: ingress, address: "127.0.0.1:80", endpoint: deathstar, upstream: "10.0.0.1:8080"}
- {name: raw, direction: ingress, address: "127.0.0.1:81", endpoint: base, upstream: "10.0.0.5:81", protocol: tcp}
policies: [rule1.yaml]
"""
POLICY = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: rule1}
spec:
  endpointSelector: {matchLabels: {org: empire, class: deathstar}}
  ingress:
  - fromEndpoints: [{matchLabels: {org: empire}}]
    toPorts:
    - ports: [{port: "80", protocol: TCP}]
      rules: {http: [{method: POST, path: /v1/request-landing, headers: ["X-Code: 1"]}]}
  egress:
  - toCIDR: [192.0.2.0/24]
"""
LANDING = ("--method", "POST", "--path", "/v1/request-landing", "--header", "X-Code: 1")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "proxy.yaml").write_text(CONFIG)
    (tmp_path / "rule1.yaml").write_text(POLICY)
    return tmp_path


def verdict(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


@pytest.mark.parametrize("source", ["tiefighter", "10.0.0.2", "org=empire,class=tiefighter", "k8s:org=empire", "258"])
def test_an_allowed_request_names_the_rule_and_its_place(source: str) -> None:
    result = verdict("--from", source, "--to", "deathstar", *LANDING, "-o", "json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 0, result.output
    assert answer["allowed"] is True
    assert (answer["rule"], answer["place"]) == ("default/rule1/ingress/0", "rule1.yaml:10:7")
    assert (answer["direction"], answer["port"]) == ("ingress", 80)
    assert answer["request"] == "POST /v1/request-landing"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--from", "xwing", "--to", "deathstar", *LANDING),
        ("--from", "org=alliance", "--to", "deathstar", *LANDING),
        ("--from", "org=empire,io.kubernetes.pod.namespace=elsewhere", "--to", "deathstar", *LANDING),
        ("--from", "8.8.8.8", "--to", "deathstar", *LANDING),
        ("--from", "world", "--to", "10.0.0.1", *LANDING),
        ("--from", "tiefighter", "--to", "deathstar"),
        ("--from", "tiefighter", "--to", "deathstar", "--port", "81", *LANDING),
        ("--from", "deathstar", "--to", "8.8.8.8", "--port", "443"),
        ("--from", "deathstar", "--to", "base", "--direction", "egress", "--port", "81"),
    ],
)
def test_denied_requests_exit_with_1_and_say_why(arguments: tuple[str, ...]) -> None:
    result = verdict(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stdout.startswith("DENIED ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--from", "tiefighter", "--to", "deathstar", "--tcp"),
        ("--from", "deathstar", "--to", "192.0.2.1", "--port", "443"),
        ("--from", "xwing", "--to", "base"),
        ("--from", "deathstar", "--to", "base"),
    ],
)
def test_allowed_requests_exit_with_0(arguments: tuple[str, ...]) -> None:
    result = verdict(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("ALLOWED ")


def test_the_line_has_both_sides_and_the_request() -> None:
    line = verdict("--from", "xwing", "--to", "deathstar").stdout.splitlines()[0]
    assert line.startswith("DENIED xwing (259) -> deathstar:80 GET /: ")


def test_a_tcp_listener_is_asked_about_connections() -> None:
    answer = json.loads(verdict("--from", "xwing", "--to", "base", "-o", "json").stdout)
    assert "request" not in answer
    assert answer["rule"] == "no policy restricts ingress"


def test_a_table_has_one_row() -> None:
    lines = verdict("--from", "xwing", "--to", "deathstar", "-o", "table").stdout.splitlines()
    assert lines[0].split()[:3] == ["VERDICT", "DIRECTION", "FROM"]
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--from", "nobody", "--to", "deathstar"), "`nobody` is neither a name in the configuration"),
        (
            ("--from", "xwing", "--to", "tiefighter"),
            "neither `xwing` nor `tiefighter` is an endpoint; policies belong to endpoints",
        ),
        (("--from", "deathstar", "--to", "xwing"), "give --port; deathstar has no single egress listener"),
        (("--from", "xwing", "--to", "deathstar", "--header", "x"), "is not of the form 'NAME: VALUE'"),
        (("--from", "xwing", "--to", "deathstar", "--port", "0"), "0 is not in the range"),
        (("--from", "xwing"), "Missing option '--to'"),
    ],
)
def test_wrong_questions(arguments: tuple[str, ...], expected: str) -> None:
    result = verdict(*arguments)
    assert result.exit_code == 2
    assert expected in result.stderr


def test_wrong_policies_are_shown_with_their_places(project: Path) -> None:
    (project / "rule1.yaml").write_text(POLICY.replace("method: POST", "method: 'POST('"))
    result = verdict("--from", "xwing", "--to", "deathstar")
    assert result.exit_code == 2
    assert result.stderr.startswith("rule1.yaml:11:")


def test_a_peer_that_only_a_prefix_knows_is_called_by_it() -> None:
    answer = json.loads(verdict("--from", "deathstar", "--to", "192.0.2.7", "--port", "443", "-o", "json").stdout)
    assert answer["remote"]["name"] == "192.0.2.0/24"
