"""Policy tests: cases in YAML files beside the policies, what they expect, and what came out.

    for file in find([Path("policies")]):
        cases = load(file)                                          # raises ProblemsError
        world = build(cases.config, peers(cases), cases.secrets)    # raises ProblemsError
        outcomes = [run_case(world, case) for case in cases.cases]

The engine is the proxy's own. `cilium-proxy test` and the pytest plugin are built on this.
"""

from cilium_proxy.policy.world import UnknownPeerError, World, build
from cilium_proxy.testing.cases import junit
from cilium_proxy.testing.cases.coverage import Coverage
from cilium_proxy.testing.cases.load import find, load
from cilium_proxy.testing.cases.model import Case, CaseFile, Expectation, Request, peers
from cilium_proxy.testing.cases.run import Outcome, run_case

__all__ = [
    "Case",
    "CaseFile",
    "Coverage",
    "Expectation",
    "Outcome",
    "Request",
    "UnknownPeerError",
    "World",
    "build",
    "find",
    "junit",
    "load",
    "peers",
    "run_case",
]
