"""Kind `host_map`: identities of addresses; the `host_map_cases` of http vectors, or a list of such cases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cilium_proxy.policy import HostMap, PolicyRejected
from cilium_proxy.testing.vectors.messages import says
from cilium_proxy.testing.vectors.result import Failure, Result, UnusableError


def run(document: Any) -> Iterator[Result]:
    """Runs the cases of a document, each on a map of its own. The first step is the update."""
    cases = document.get("host_map_cases") if isinstance(document, dict) else document
    if not isinstance(cases, list):
        raise UnusableError("a host map vector file is a list of cases, or has one as `host_map_cases`")
    for case in cases:
        yield run_case(case)


def run_case(case: dict[str, Any]) -> Result:
    """An update, then addresses to resolve."""
    result = Result(case["name"])
    hosts = HostMap()
    expect = case["expect"]
    try:
        hosts.update(case["resources"])
    except PolicyRejected as error:
        wanted = "accept" if expect == "accept" else expect["reject"]
        if expect == "accept" or not says(str(error), wanted):
            result.failures.append(Failure(1, "update", wanted, f"reject: {error}"))
        return result
    if expect != "accept":
        result.failures.append(Failure(1, "update", f"reject: {expect['reject']}", "accept"))
    for number, (address, identity) in enumerate(case.get("resolve", []), start=2):
        got = hosts.resolve(address)
        if got != identity:
            result.failures.append(Failure(number, f"resolve {address}", str(identity), str(got)))
    return result
