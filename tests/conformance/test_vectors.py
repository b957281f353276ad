"""Every conformance case of this directory; its folders are the kinds of the runner."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cilium_proxy.testing.vectors import host_map, policy

HERE = Path(__file__).parent
RUNS = {"policy": policy.run, "host_map": host_map.run}
CASES = [
    pytest.param(kind, [case], id=f"{kind}/{file.stem}/{case['name']}")
    for kind in RUNS
    for file in sorted((HERE / kind).glob("*.json"))
    for case in json.loads(file.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("kind", "document"), CASES)
def test_case_gives_the_expected_results(kind: str, document: list[object]) -> None:
    (result,) = RUNS[kind](document)
    assert not result.unusable
    assert result.failures == []
