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
        ({**UPDATE, "expect": {"reject": "no"}}, '{"reject": "no"}', "accept"),
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


def test_unknown_operations_and_kinds_cannot_be_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, UPDATE, {"op": "guess"}) == 2
    assert "unknown op 'guess'" in capsys.readouterr().out
    assert run(tmp_path, UPDATE, {"op": "exists"}) == 2
    assert run(tmp_path, UPDATE, kind="guess") == 2
    assert main(["policy", str(tmp_path / "missing.json")]) == 2
    (tmp_path / "wrong.json").write_text("{}")
    assert main(["policy", str(tmp_path / "wrong.json")]) == 2


@pytest.mark.parametrize(
    ("message", "wanted", "same"),
    [
        ('resource "1": Invalid port range 80-60', "Invalid port range 80-60", True),
        ("field port: 80-60 is no range of ports", "Invalid port range 80-60", True),
        ("field port: 80-61 is no range of ports", "Invalid port range 80-60", False),
        ("it names a oneof twice", "Unable to parse.*oneof", True),
        ("something else", "Unable to parse.*oneof", False),
    ],
)
def test_messages_are_compared_by_what_they_name(message: str, wanted: str, same: bool) -> None:
    assert says(message, wanted) is same
