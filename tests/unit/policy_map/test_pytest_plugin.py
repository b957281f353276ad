from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cilium_proxy

from .conftest import EXAMPLE


def pytest_in(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    source = str(Path(cilium_proxy.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    plugin = ("-p", "cilium_proxy.testing.pytest_plugin", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir=.")
    command = [sys.executable, "-m", "pytest", *plugin, *arguments]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)


def test_the_example_of_the_documentation_runs(tmp_path: Path) -> None:
    copy = shutil.copytree(EXAMPLE, tmp_path / "example")
    result = pytest_in(copy, "-q")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "10 passed" in result.stdout


def test_a_failed_case_shows_the_way_to_the_verdict(project: Path) -> None:
    (project / "policies/a.policy-test.yaml").write_text(
        "cases:\n  - {name: admins, from: web, to: api, request: GET /admin, expect: allowed}\n"
    )
    result = pytest_in(project)
    assert result.returncode == 1
    assert "expected allowed, got denied" in result.stdout
    assert "HTTP rule 0: does not match" in result.stdout
    assert "a.policy-test.yaml:2" in result.stdout


def test_a_file_that_cannot_be_used_is_a_collection_error(project: Path) -> None:
    (project / "policies/a.policy-test.yaml").write_text("cases:\n  - {from: web, expect: allowed}\n")
    result = pytest_in(project)
    assert result.returncode == 2
    assert "cases[0].to: is missing" in result.stdout


def test_the_fixtures_ask_policies(project: Path) -> None:
    (project / "test_policies.py").write_text(
        "import pytest\n"
        "def test_allowed(cilium_policies):\n"
        "    assert cilium_policies.allowed('web', 'api', 'GET /public/1').rule == 'default/api/ingress/0'\n"
        "    assert not cilium_policies.verdict('app=stranger', 'api', port=8080)\n"
        "def test_explained(cilium_policies):\n"
        "    with pytest.raises(AssertionError, match='HTTP rule 0'):\n"
        "        cilium_policies.allowed('web', 'api', 'GET /admin')\n"
        "    with pytest.raises(AssertionError, match='expected denied'):\n"
        "        cilium_policies.denied('web', 'api', 'GET /public/1')\n"
        "def test_map(policy_map):\n"
        "    policy_map.update([], version='1')\n"
    )
    result = pytest_in(project, "-q")
    assert result.returncode == 0, result.stdout + result.stderr
    moved = project / "deploy"
    moved.mkdir()
    for name in ("proxy.yaml", "policies"):
        (project / name).rename(moved / name)
    assert pytest_in(project, "-q").returncode == 1
    assert pytest_in(project, "-q", "--cilium-config", "deploy/proxy.yaml").returncode == 0
