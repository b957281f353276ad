"""Offline commands know the secrets of the configuration, and say which are missing."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cilium_proxy.cli import group

CONFIG = """
endpoints: [{name: api, labels: {app: api}, ips: [10.0.0.1]}]
identities: [{name: shop, labels: {app: shop}, cidrs: [10.1.0.0/24]}]
listeners: [{name: api-in, direction: ingress, address: "127.0.0.1:18080", endpoint: api, upstream: "127.0.0.1:9000"}]
policies: [policy.yaml]
"""
POLICY = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api}
spec:
  endpointSelector: {}
  ingress:
    - toPorts:
        - ports: [{port: "18080", protocol: TCP}]
          rules: {http: [{headerMatches: [{name: X-Token, secret: {name: token}}]}]}
"""
CASES = """
cases:
  - {from: shop, to: api, request: {path: /, headers: {X-Token: VALUE}}, expect: allowed}
"""
VALUE = "correct-horse"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("proxy.yaml").write_text(CONFIG)
    Path("policy.yaml").write_text(POLICY)
    return lambda *arguments: CliRunner().invoke(group, arguments)


@pytest.fixture
def secret(run):
    Path("token").write_text(f"{VALUE}\n")
    Path("proxy.yaml").write_text(CONFIG + "secrets: {token: token}\n")


@pytest.mark.parametrize("command", ["verdict", "explain"])
def test_verdicts_compare_with_the_secret(run, secret, command):
    asked = (command, "--from", "shop", "--to", "api", "--header")
    assert run(*asked, f"X-Token: {VALUE}").exit_code == 0
    denied = run(*asked, "X-Token: other")
    assert denied.exit_code == 1
    assert VALUE not in denied.output


def test_cases_get_the_secret_of_the_configuration(run, secret):
    Path("api.policy-test.yaml").write_text(CASES.replace("VALUE", VALUE))
    assert run("test").exit_code == 0


def test_values_of_a_file_of_cases_count_instead_and_files_are_not_read(run, secret):
    Path("token").unlink()
    Path("api.policy-test.yaml").write_text(f"secrets: {{default/token: mine}}{CASES.replace('VALUE', 'mine')}")
    result = run("test")
    assert result.exit_code == 0, result.output


def test_check_tells_which_secrets_there_are(run, secret):
    result = run("check")
    assert result.exit_code == 0
    assert "has secret default/token (header)" in result.output
    assert "warning" not in result.output


def test_check_warns_of_a_missing_secret(run):
    result = run("check")
    assert result.exit_code == 0
    assert "needs secret default/token (header)" in result.output
    assert "warning: policy.yaml:10:" in result.output
    assert "secret `default/token` is missing" in result.output
    data = json.loads(run("check", "-o", "json").output)
    assert data["secrets"] == [{"name": "default/token", "use": "header", "delivered": False}]
    assert "default/token" in data["warnings"][0]["message"]


def test_tls_that_a_listener_does_not_do_is_an_error(run):
    Path("policy.yaml").write_text(
        POLICY.replace("          rules:", "          terminatingTLS: {secret: {name: cert}}\n          rules:")
    )
    result = run("check")
    assert result.exit_code == 1
    assert "terminatingTLS cannot be enforced by listener `api-in` (port 18080)" in result.output
    assert "set `tls: true` for it" in result.output
