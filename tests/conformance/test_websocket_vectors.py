"""Conformance cases of the websocket filters, each with a real Envoy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cilium_proxy.testing.vectors import websocket

HERE = Path(__file__).parent


def cases() -> list[Any]:
    made = []
    for file in sorted((HERE / "websocket").glob("*.json")):
        document = json.loads(file.read_text(encoding="utf-8"))
        made += [
            pytest.param({**document, "websocket": [case]}, id=f"{file.stem}/{case['name']}")
            for case in document["websocket"]
        ]
    return made


@pytest.mark.parametrize("document", cases())
def test_case_gives_the_expected_results(document: dict[str, Any]) -> None:
    (result,) = websocket.run(document)
    assert not result.unusable
    assert result.failures == []
