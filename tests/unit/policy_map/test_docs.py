from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from .conftest import EXAMPLE
from .policies import ask, policy

PAGE = (EXAMPLE.parents[1] / "docs/policy-tests.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_cases_of_the_page_pass(run: Callable[..., Result], tmp_path: Path) -> None:
    copy = shutil.copytree(EXAMPLE, tmp_path / "example")
    (copy / "policies/api.policy-test.yaml").write_text(blocks("yaml")[0])
    result = run("test", copy)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("2 passed, 0 failed")


def test_the_output_on_the_page_is_the_output(run: Callable[..., Result], project: Path) -> None:
    (project / "policies/api.policy-test.yaml").write_text(
        "cases:\n  - {from: web, to: api, request: GET /admin, expect: allowed}\n"
    )
    shown = next(block for block in blocks("console") if block.startswith("FAILED"))
    assert run("test", project).output.replace(f"{project}/", "") == shown


def test_the_python_of_the_page_runs() -> None:
    program = next(block for block in blocks("python") if "PolicyMap" in block)
    names: dict[str, object] = {"resources": [policy({"remote_policies": [43], "name": "web"})]}
    exec(program, names)
    assert getattr(names["verdict"], "rule", None) == "web"
    assert ask()["endpoint"] in program
