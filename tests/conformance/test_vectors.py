"""Every conformance case of this directory; its folders are the kinds of the runner."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cilium_proxy.testing.vectors import access_log, health_check_sink, host_map, l7, policy

HERE = Path(__file__).parent
RUNS = {
    "policy": policy.run,
    "host_map": host_map.run,
    "l7": l7.run,
    "access_log": access_log.run,
    "health_check_sink": health_check_sink.run,
}


def cases():
    for kind in RUNS:
        for file in sorted((HERE / kind).glob("*.json")):
            for one in documents(json.loads(file.read_text(encoding="utf-8"))):
                case = one[0] if isinstance(one, list) else next(cases[0] for cases in one.values() if cases)
                yield pytest.param(kind, one, id=f"{kind}/{file.stem}/{case['name']}")


def documents(document):
    """A document of each case alone."""
    if isinstance(document, list):
        return [[case] for case in document]
    nothing: dict[str, list[object]] = {key: [] for key in document}
    return [{**nothing, key: [case]} for key, cases in document.items() for case in cases]


@pytest.mark.parametrize(("kind", "document"), list(cases()))
def test_case_gives_the_expected_results(kind: str, document: object) -> None:
    (result,) = RUNS[kind](document)
    assert not result.unusable
    assert result.failures == []
