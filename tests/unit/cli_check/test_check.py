"""`cilium-proxy check`."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from cilium_proxy.cli.check import command

CONFIG = """
endpoints: [{name: api, labels: {app: api}, ips: [10.0.0.1]}]
identities: [{name: web, labels: {app: web}, cidrs: [10.0.0.2]}]
policies: [policies]
"""
POLICY = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: web}}]
    toPorts:
    - ports: [{port: "80", protocol: TCP}]
      rules: {http: [{method: GET, headerMatches: [{name: x, secret: {name: s}}]}]}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policies").mkdir()
    (tmp_path / "proxy.yaml").write_text(CONFIG)
    (tmp_path / "policies" / "web.yaml").write_text(POLICY)
    return tmp_path


def check(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


def give_secret(project: Path) -> None:
    (project / "s").write_text("value")
    (project / "proxy.yaml").write_text(CONFIG + "secrets: {s: s}\n")


def test_a_valid_project_passes_and_shows_what_selects_whom(project: Path) -> None:
    give_secret(project)
    result = check()
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "ok: 1 endpoint, 1 identity, 0 listeners, 1 policy rule\n  api: default/web\n  has secret default/s (header)\n"
    )


def test_an_endpoint_that_no_policy_selects_is_pointed_out(project: Path) -> None:
    (project / "policies" / "web.yaml").unlink()
    assert "api: no policy selects it, everything is allowed" in check().stdout


def test_a_table_has_a_row_for_each_endpoint(project: Path) -> None:
    lines = check("-o", "table").stdout.splitlines()
    assert lines[1].split() == ["ENDPOINT", "ADDRESSES", "IDENTITY", "RULES"]
    assert lines[2].split() == ["api", "10.0.0.1", "256", "default/web"]


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_results_as_data(project: Path, form: str) -> None:
    give_secret(project)
    result = check("-o", form)
    assert (json.loads if form == "json" else yaml.safe_load)(result.stdout) == {
        "ok": True,
        "problems": [],
        "endpoints": [{"name": "api", "addresses": "10.0.0.1", "identity": 256, "rules": ["default/web"]}],
        "secrets": [{"name": "default/s", "use": "header", "delivered": True}],
        "warnings": [],
    }


def test_problems_of_configuration_and_policies_come_together(project: Path) -> None:
    (project / "proxy.yaml").write_text(CONFIG + "admn: x\n")
    (project / "policies" / "web.yaml").write_text(POLICY.replace("fromEndpoints", "fromEndpoint"))
    result = check("policies")
    assert result.exit_code == 1
    result = check("-c", "proxy.yaml", "policies")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "policies/web.yaml:8:5: spec.ingress[0].fromEndpoint: unknown field; did you mean `fromEndpoints`?\n"
        "proxy.yaml:5:1: admn: unknown field; did you mean `admin`?\n"
        "2 problems found\n"
    )


def test_an_invalid_regular_expression_is_found_with_its_place(project: Path) -> None:
    (project / "policies" / "web.yaml").write_text(POLICY.replace("method: GET", "method: 'GET('"))
    result = check("-o", "json")
    assert result.exit_code == 1
    (problem,) = json.loads(result.stdout)["problems"]
    assert (problem["file"], problem["line"]) == ("policies/web.yaml", 11)
    assert problem["field"] == "spec.ingress[0].toPorts[0].rules.http[0].method"


def test_what_the_engine_refuses_is_shown_next_to_other_problems(project: Path) -> None:
    text = POLICY.replace("method: GET", "method: 'GET('").replace("fromEndpoints", "fromEndpoint")
    (project / "policies" / "web.yaml").write_text(text)
    lines = check().stderr.splitlines()
    assert [line.split(": ")[:2] for line in lines[:2]] == [
        ["policies/web.yaml:8:5", "spec.ingress[0].fromEndpoint"],
        ["policies/web.yaml:11:31", "spec.ingress[0].toPorts[0].rules.http[0].method"],
    ]


def test_policy_files_are_checked_without_configuration(project: Path) -> None:
    (project / "proxy.yaml").unlink()
    assert check("policies/web.yaml").exit_code == 0
    (project / "policies" / "web.yaml").write_text(POLICY.replace("method: GET", "method: 'GET('"))
    assert check("policies").exit_code == 1


def test_one_screen_of_problems_is_shown(project: Path) -> None:
    (project / "policies" / "web.yaml").write_text("\n---\n".join(["kind: Pod"] * 50))
    lines = check().stderr.splitlines()
    assert len(lines) == 22
    assert lines[-2:] == ["... and 30 more; -o json shows all", "50 problems found"]


def test_a_configuration_that_cannot_be_read_is_a_usage_error(project: Path) -> None:
    assert check("-c", "none.yaml").exit_code == 2
    assert check("none").exit_code == 2
    (project / "proxy.yaml").unlink()
    result = check()
    assert result.exit_code == 2
    assert "there is no proxy.yaml here" in result.stderr
