"""Conformance cases that run a real Envoy; each file is a document of its kind."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cilium_proxy.testing.vectors import bpf_metadata, http, tcp

HERE = Path(__file__).parent
RUNS = {"http": http.run, "tcp": tcp.run, "bpf_metadata": bpf_metadata.run}


def cases() -> list[Any]:
    made = []
    for kind in RUNS:
        for file in sorted((HERE / kind).glob("*.json")):
            document = json.loads(file.read_text(encoding="utf-8"))
            made += [
                pytest.param(kind, {**document, "cases": [case]}, id=f"{kind}/{file.stem}/{case['name']}")
                for case in document["cases"]
            ]
    return made


@functools.cache
def has_namespaces() -> bool:
    if shutil.which("unshare") is None or shutil.which("ip") is None or shutil.which("nsenter") is None:
        return False
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", *user, "--net", "ip", "link", "set", "lo", "up"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(("kind", "document"), cases())
def test_case_gives_the_expected_results(kind: str, document: dict[str, Any]) -> None:
    if document["cases"][0].get("kind") == "metadata" and not has_namespaces():
        pytest.skip("the case's addresses need a network namespace: run as root, or allow user namespaces")
    (result,) = RUNS[kind](document)
    assert not result.unusable
    assert result.failures == []
