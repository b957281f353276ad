"""Kind `bpf_metadata`: what the listener filter `cilium.bpf_metadata` finds out, in a real Envoy.

Cases of kind `config` are validated, those of kind `metadata` are connections, `xds` updates of policies, and
`network_filter` connections whose policy names a parser.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from cilium_proxy.testing.vectors.bpf_metadata_connection import ConnectionCase
from cilium_proxy.testing.vectors.bpf_metadata_listener import config_case, network_filter_case
from cilium_proxy.testing.vectors.bpf_metadata_updates import UpdatesCase
from cilium_proxy.testing.vectors.result import Result, UnusableError, cases_of

Json = dict[str, Any]
Run = Callable[[Json, Json, Result], Coroutine[Any, Any, None]]


async def _connection(document: Json, case: Json, result: Result) -> None:
    await ConnectionCase(document, case, result).run()


async def _updates(_document: Json, case: Json, result: Result) -> None:
    await UpdatesCase(case, result).run()


async def _config(_document: Json, case: Json, result: Result) -> None:
    await config_case(case, result)


async def _network_filter(_document: Json, case: Json, result: Result) -> None:
    await network_filter_case(case, result)


_RUNS: dict[str, Run] = {
    "config": _config,
    "metadata": _connection,
    "xds": _updates,
    "network_filter": _network_filter,
}


def run(document: Any) -> Iterator[Result]:
    """Runs the cases of a document, each with an Envoy of its own."""
    for case in cases_of(document, "cases"):
        result = Result.of(case)
        with result.running():
            run_case(document, case, result)
        yield result


def run_case(document: Json, case: Any, result: Result) -> None:
    """Runs a case as its kind asks for."""
    run_kind = _RUNS.get(str(case["kind"]))
    if run_kind is None:
        raise UnusableError(f"unknown kind {case['kind']!r}")
    asyncio.run(run_kind(document, case, result))
