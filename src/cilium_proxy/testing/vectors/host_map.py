"""Kind `host_map`: identities of addresses; the `host_map_cases` of http vectors, or a list of such cases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cilium_proxy.policy import HostMap, PolicyRejected
from cilium_proxy.testing.vectors.messages import says
from cilium_proxy.testing.vectors.result import Failure, Result, UnusableError, rejection


def run(document: Any) -> Iterator[Result]:
    """Runs the cases of a document, each on a map of its own. The first step is the update."""
    cases = document.get("host_map_cases") if isinstance(document, dict) else document
    if not isinstance(cases, list):
        raise UnusableError("a host map vector file is a list of cases, or has one as `host_map_cases`")
    for case in cases:
        result = Result.of(case)
        with result.running():
            run_case(case, result)
        yield result


def run_case(case: dict[str, Any], result: Result) -> None:
    """An update, then addresses to resolve."""
    hosts = HostMap()
    wanted = rejection(case["expect"])
    try:
        hosts.update(case["resources"])
    except PolicyRejected as error:
        if wanted is None or not says(str(error), wanted):
            shown = "accept" if wanted is None else f"reject: {wanted}"
            result.failures.append(Failure(1, "update", shown, f"reject: {error}"))
        return
    if wanted is not None:
        result.failures.append(Failure(1, "update", f"reject: {wanted}", "accept"))
    for number, (address, identity) in enumerate(case.get("resolve", []), start=2):
        # Identity 0 stands for none.
        got = hosts.resolve(address) or 0
        if got != (identity or 0):
            result.failures.append(Failure(number, f"resolve {address}", str(identity), str(got)))
