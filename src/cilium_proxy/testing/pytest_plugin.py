"""pytest plugin: files of cases are collected as tests, and fixtures ask policies in Python tests.

Loaded by its entry point wherever the package is installed. Everything is imported when it is used, so that projects
without policy tests pay nothing. Described in docs/policy-tests.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cilium_proxy.policy import PolicyMap
    from cilium_proxy.testing.cases import Case, Outcome, World
    from cilium_proxy.testing.policies import Policies

SUFFIXES = (".policy-test.yaml", ".policy-test.yml")
CONFIG = "cilium_config"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options and ini settings."""
    help_text = "proxy.yaml that the fixture cilium_policies asks, relative to pytest's root (default: proxy.yaml)"
    parser.addini(CONFIG, help_text, default="proxy.yaml")
    parser.getgroup("cilium-proxy").addoption("--cilium-config", dest=CONFIG, metavar="FILE", help=help_text)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.File | None:
    """Takes files of cases."""
    if file_path.name.endswith(SUFFIXES):
        return CaseFileCollector.from_parent(parent, path=file_path)
    return None


class CaseFileCollector(pytest.File):
    """A file of cases."""

    def collect(self) -> Iterator[pytest.Item]:
        """One test per case."""
        from cilium_proxy.testing.cases import build, load, peers
        from cilium_proxy.yaml import ProblemsError

        try:
            file = load(self.path)
            world = build(file.config, peers(file), file.secrets)
        except ProblemsError as error:
            raise self.CollectError(str(error)) from None
        for case in file.cases:
            yield CaseItem.from_parent(self, name=case.name, world=world, case=case)


class CaseItem(pytest.Item):
    """A case as a test."""

    def __init__(self, *, world: World, case: Case, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.world = world
        self.case = case

    def runtest(self) -> None:
        """Fails with what is not as expected and why."""
        from cilium_proxy.testing.cases import run_case
        from cilium_proxy.yaml import ProblemsError

        try:
            outcome = run_case(self.world, self.case)
        except ProblemsError as error:
            pytest.fail(str(error), pytrace=False)
        if not outcome.passed:
            pytest.fail(failure(outcome), pytrace=False)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the case is written; pytest counts lines from 0."""
        return self.path, self.case.mark.line - 1, self.case.name


def failure(outcome: Outcome) -> str:
    """A failed case in words."""
    place = f" ({outcome.place})" if outcome.place else ""
    because = f"because {outcome.verdict.reason}{place}"
    return "\n".join([f"{outcome.case.mark}:", *outcome.differences, because, "", outcome.explanation])


@pytest.fixture
def policy_map() -> PolicyMap:
    """An empty PolicyMap."""
    from cilium_proxy.policy import PolicyMap

    return PolicyMap()


@pytest.fixture(scope="session")
def cilium_policies(pytestconfig: pytest.Config) -> Policies:
    """The policies of the configuration that the setting cilium_config or --cilium-config names."""
    from cilium_proxy.testing.policies import Policies
    from cilium_proxy.yaml import ProblemsError

    given = pytestconfig.getoption(CONFIG) or pytestconfig.getini(CONFIG)
    try:
        return Policies(pytestconfig.rootpath / given)
    except ProblemsError as error:
        pytest.fail(str(error), pytrace=False)
