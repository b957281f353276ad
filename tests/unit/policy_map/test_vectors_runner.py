from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cilium_proxy.testing.vectors.__main__ import main
from cilium_proxy.testing.vectors.messages import says

from .policies import policy

UPDATE = {
    "op": "update",
    "version": "1",
    "mode": "sotw",
    "new_stream": False,
    "resources": [policy()],
    "expect": "accept",
}


CONNECTION = {"pod_ip": "10.1.2.3", "direction": "ingress", "remote_id": 43, "port": 80}


def run(tmp_path: Path, *steps: dict[str, Any], kind: str = "policy") -> int:
    file = tmp_path / "cases.json"
    file.write_text(json.dumps([{"name": "case", "source": "test", "steps": list(steps)}]))
    return main([kind, str(file)])


def test_cases_that_pass_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, UPDATE, {"op": "exists", "pod_ip": "10.1.2.3", "expect": True}) == 0
    assert capsys.readouterr().out == "1 passed, 0 failed\n"


@pytest.mark.parametrize(
    ("step", "expected", "got"),
    [
        ({"op": "exists", "pod_ip": "10.1.2.3", "expect": False}, "false", "true"),
        ({**UPDATE, "expect": {"reject": "no"}}, "reject: no", "accept"),
        ({"op": "dump", "pod_ip": "10.1.2.3", "expect": {"ingress": [], "egress": []}}, '"ingress": []', '"port": 80'),
        ({"op": "sni_pattern", "pattern": "a", "valid": False}, "an invalid pattern", "a valid one"),
        ({"op": "sni_pattern", "pattern": "a", "valid": True, "match": ["b"]}, "as listed", "otherwise for b"),
        ({"op": "stat_name", "expect": "cilium.policy.other"}, "cilium.policy.other", "cilium.policy.updates_total"),
    ],
)
def test_a_step_that_fails_shows_expected_and_got(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], step: dict[str, Any], expected: str, got: str
) -> None:
    assert run(tmp_path, UPDATE, step) == 1
    output = capsys.readouterr().out
    assert f"case: step 2 ({step['op']})" in output
    assert expected in output.splitlines()[1]
    assert got in output.splitlines()[2]
    assert output.endswith("0 passed, 1 failed\n")


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ({"op": "guess"}, "step 2: unknown op 'guess'"),
        ({"op": "exists", "expect": True, "on": "nothing"}, "step 2 (exists): 'nothing' is missing"),
        ({"op": "http", "pod_ip": "10.1.2.3", "headers": 7}, "not of the form of its kind"),
        (7, "not of the form of its kind"),
    ],
)
def test_a_case_that_cannot_be_run_fails_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], step: Any, problem: str
) -> None:
    good = {"name": "good", "source": "test", "steps": [UPDATE]}
    bad = {
        "name": "bad",
        "source": "test",
        "steps": [UPDATE, {**CONNECTION, **step} if isinstance(step, dict) else step],
    }
    file = tmp_path / "cases.json"
    file.write_text(json.dumps([bad, 1, good]))
    assert main(["policy", str(file)]) == 1
    output = capsys.readouterr().out
    assert output.startswith("bad: ")
    assert problem in output
    assert output.endswith("1 passed, 2 failed\n")


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, wrong, broken = tmp_path / "good.json", tmp_path / "wrong.json", tmp_path / "broken.json"
    good.write_text(json.dumps([{"name": "good", "steps": [UPDATE]}]))
    wrong.write_text("{}")
    broken.write_text("[")
    missing = tmp_path / "missing.json"
    assert main(["policy", *(str(file) for file in (missing, wrong, broken, good))]) == 2
    output = capsys.readouterr()
    assert output.out == "1 passed, 0 failed\n"
    assert all(str(file) in output.err for file in (missing, wrong, broken))
    assert main(["guess", str(good)]) == 2
    assert "unknown kind 'guess'" in capsys.readouterr().err


def test_headers_are_compared_by_name_and_logs_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    update = {**UPDATE, "resources": [policy()]}
    step = {**CONNECTION, "op": "http", "headers": [["a", "1"], ["b", "2"], ["a", "3"]], "expect": True}
    assert run(tmp_path, update, {**step, "expect_headers_after": [["b", "2"], ["A", "1"], ["a", "3"]]}) == 0
    assert run(tmp_path, update, {**step, "expect_headers_after": [["b", "2"], ["a", "3"], ["a", "1"]]}) == 1
    assert run(tmp_path, update, {**step, "expect_log": {"missing": [["a", "1"]]}}) == 1
    capsys.readouterr()


@pytest.mark.parametrize(
    ("message", "wanted", "same"),
    [
        ('resource "1": Invalid port range 80-60', "Invalid port range 80-60", True),
        ("field port: 80-60 is no range of ports", "Invalid port range 80-60", True),
        ("field port: 80-61 is no range of ports", "Invalid port range 80-60", False),
        ("it names a oneof twice", "Unable to parse.*oneof", True),
        ("something else", "Unable to parse.*oneof", False),
        (
            "endpoint_ips is empty",
            "Proto constraint validation failed (NetworkPolicyValidationError.EndpointIps)",
            True,
        ),
        ("", "Proto constraint validation failed (NetworkPolicyValidationError.EndpointIps)", False),
    ],
)
def test_messages_are_compared_by_what_they_name(message: str, wanted: str, same: bool) -> None:
    assert says(message, wanted) is same
