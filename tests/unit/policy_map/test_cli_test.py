from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import Result

from cilium_proxy.policy.compile import load_policies

from .conftest import EXAMPLE

Run = Callable[..., Result]


def cases(project: Path, text: str, name: str = "policies/api.policy-test.yaml") -> Path:
    file = project / name
    file.write_text(text)
    return file


def test_the_example_passes_and_covers_every_rule(run: Run) -> None:
    result = run("test", EXAMPLE)
    assert result.exit_code == 0, result.output
    assert result.output == "8 passed, 0 failed; 3 of 3 rules decided a case\n"


def test_a_failed_case_is_explained_and_rules_without_cases_are_named(run: Run, project: Path) -> None:
    file = cases(project, "cases:\n  - {from: web, to: api, request: GET /admin, expect: allowed}\n")
    result = run("test", project)
    assert result.exit_code == 1
    assert f"FAILED {file}:2:5: web to api GET /admin" in result.output
    assert "expected allowed, got denied" in result.output
    assert 'because rule "default/api/ingress/0": path "/admin" does not match "/public/.*"' in result.output
    assert "policies/api.yaml:9" in result.output
    assert "0 passed, 1 failed; 1 of 2 rules decided a case" in result.output
    assert "never decided: default/api/ingress/1" in result.output
    assert "HTTP rule 0: does not match" in run("test", project, "-v").output


def test_peers_are_names_labels_addresses_and_numbers(run: Run, project: Path) -> None:
    lines = [
        "{from: web, to: api, request: GET /public/1, expect: allowed}",
        "{from: 127.0.0.3, to: 127.0.0.2, request: GET /public/1, expect: allowed}",
        "{from: app=web, to: app=api, request: GET /public/1, expect: allowed}",
        "{from: app=batch, to: api, request: DELETE /, expect: allowed}",
        "{from: world, to: api, request: GET /public/1, expect: denied}",
        "{from: 2, to: api, expect: denied}",
    ]
    cases(project, "cases:\n" + "".join(f"  - {line}\n" for line in lines))
    result = run("test", project)
    assert (result.exit_code, result.output) == (0, "6 passed, 0 failed; 2 of 2 rules decided a case\n")


def test_header_changes_are_all_or_a_failure(run: Run, project: Path) -> None:
    policy = (project / "policies/api.yaml").read_text()
    matches = "headerMatches: [{name: x-a, value: v, mismatch: REPLACE}, {name: x-b, value: w, mismatch: DELETE}]"
    (project / "policies/api.yaml").write_text(policy.replace('path: "/public/.*"', f'path: "/public/.*", {matches}'))
    request = "request: {method: GET, path: /public/1, headers: {x-a: old, x-b: [one, two], x-c: kept}}"
    expect = "verdict: allowed, rejected: [{x-a: old}, {x-b: 'one,two'}], missing: {x-a: v}"
    for headers, code in (
        ("{x-a: v, x-b: null}", 0),
        ("{x-a: v}", 1),
        ("{x-a: u, x-b: null}", 1),
        ("{x-a: v, x-b: null, x-c: other}", 1),
    ):
        cases(project, f"cases:\n  - {{from: web, to: api, {request}, expect: {{{expect}, headers: {headers}}}}}\n")
        assert run("test", project).exit_code == code, headers


def test_rule_and_reason_can_be_expected(run: Run, project: Path) -> None:
    line = "{from: web, to: api, request: GET /x, expect: {verdict: denied, rule: %s, reason: %s}}"
    cases(project, f"cases:\n  - {line % ('default/api/ingress/0', 'does not match')}\n")
    assert run("test", project).exit_code == 0
    cases(project, f"cases:\n  - {line % ('other', 'nothing like it')}\n")
    result = run("test", project)
    assert 'expected rule "other", got "default/api/ingress/0"' in result.output
    assert 'expected a reason with "nothing like it"' in result.output


def test_secrets_of_the_file_are_delivered(run: Run, tmp_path: Path) -> None:
    text = """
fixtures:
  policies: [npds.json]
secrets: {token: s3cret}
cases:
  - {from: 43, to: 10.1.2.3, port: 80, request: {headers: {x-token: s3cret}}, expect: allowed}
  - {from: 43, to: 10.1.2.3, port: 80, request: {headers: {x-token: guess}}, expect: denied}
"""
    rule = {"http_rules": {"http_rules": [{"header_matches": [{"name": "x-token", "value_sds_secret": "token"}]}]}}
    npds = {
        "endpoint_ips": ["10.1.2.3"],
        "endpoint_id": 42,
        "ingress_per_port_policies": [{"port": 80, "rules": [rule]}],
    }
    (tmp_path / "npds.json").write_text(json.dumps(npds))
    cases(tmp_path, text, "secret.policy-test.yaml")
    result = run("test", tmp_path)
    assert (result.exit_code, result.output) == (0, "2 passed, 0 failed; 1 of 1 rules decided a case\n")


def test_junit_reports_are_written(run: Run, project: Path) -> None:
    cases(
        project,
        "cases:\n"
        + "".join(f"  - {{from: web, to: api, request: GET {p}, expect: allowed}}\n" for p in ("/public/1", "/x")),
    )
    assert run("test", project, "--junit", project / "report.xml").exit_code == 1
    suite = ElementTree.parse(project / "report.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "expected allowed, got denied"


def test_json_has_cases_and_coverage(run: Run, project: Path) -> None:
    cases(project, "cases:\n  - {from: web, to: api, request: GET /public/1, expect: allowed}\n")
    data = json.loads(run("test", project, "-o", "json").output)
    assert (data["passed"], data["failed"], data["rules"]["decided"]) == (1, 0, 1)
    assert [rule["rule"] for rule in data["rules"]["never_decided"]] == ["default/api/ingress/1"]
    assert data["cases"][0]["rule"] == "default/api/ingress/0"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cases: [", "not valid YAML"),
        ("", "0 documents"),
        ("case: []", "did you mean `cases`?"),
        ("cases:\n  - {to: api, expect: allowed}", "cases[0].from: is missing"),
        ("cases:\n  - {from: web, to: api}", "cases[0].expect: is missing"),
        ("cases:\n  - {from: web, to: api, expect: maybe}", "allowed, denied"),
        ("cases:\n  - {from: web, to: api, expect: {verdict: allowed, header: {}}}", "did you mean `headers`?"),
        ("cases:\n  - {from: web, to: api, request: /x, expect: allowed}", "write it like GET /path"),
        ("cases:\n  - {from: web, to: api, port: 0, expect: allowed}", "1 to 65535"),
        ("cases:\n  - {from: nobody, to: api, expect: allowed}", "`nobody` is neither"),
        ("cases:\n  - {from: api, to: web, direction: ingress, expect: allowed}", "`web` is not an endpoint"),
        ("cases:\n  - {from: api, to: world, expect: allowed}", "has no port"),
        ("cases:\n  - {from: web, to: api, expect: {verdict: allowed, headers: {a: b}}}", "there is no request"),
        ("config: missing.yaml\ncases: []", "missing.yaml"),
        ("config: a\nfixtures: {}\ncases: []", "keep one of them"),
        ("fixtures: {endpoint: []}\ncases: []", "did you mean `endpoints`?"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_its_place(run: Run, project: Path, text: str, problem: str) -> None:
    cases(project, text)
    result = run("test", project)
    assert result.exit_code == 2, result.output
    assert problem in result.output
    assert "policy-test.yaml" in result.output or "missing.yaml" in text


def test_a_wrong_policy_is_told(run: Run, project: Path) -> None:
    cases(project, "cases:\n  - {from: web, to: api, expect: denied}\n")
    (project / "policies/api.yaml").write_text((project / "policies/api.yaml").read_text().replace("/public/.*", "("))
    result = run("test", project)
    assert result.exit_code == 2
    assert "policies/api.yaml:9" in result.output


def test_one_bad_file_does_not_keep_the_others_from_running(run: Run, project: Path) -> None:
    cases(project, "cases: 1", "policies/bad.policy-test.yaml")
    cases(project, "cases:\n  - {from: web, to: api, request: GET /public/1, expect: allowed}\n")
    result = run("test", project)
    assert result.exit_code == 2
    assert "1 passed, 0 failed" in result.output


def test_no_cases_at_all_is_an_error(run: Run, project: Path) -> None:
    assert run("test", project).exit_code == 2
    cases(project, "cases: []")
    assert run("test", project).exit_code == 2


def test_files_of_cases_are_no_policies(project: Path) -> None:
    cases(project, "cases: []")
    assert [file.name for file in load_policies([project / "policies"]).files] == ["api.yaml"]
