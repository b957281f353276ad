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
from cilium_proxy.testing.vectors.http_proxy import VectorProxyError
from cilium_proxy.testing.vectors.result import Result, UnusableError

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
    if not isinstance(document, dict) or not isinstance(document.get("cases"), list):
        raise UnusableError("a bpf_metadata vector file has default_hosts, default_policies and cases")
    for case in document["cases"]:
        result = Result(str(case.get("name", "unnamed")))
        run_case = _RUNS.get(str(case.get("kind")))
        if run_case is None:
            result.unusable = f"unknown kind {case.get('kind')!r}"
        else:
            try:
                asyncio.run(run_case(document, case, result))
            except KeyError as error:
                result.unusable = f"{error} is missing"
            except VectorProxyError as error:
                result.unusable = f"Envoy: {error}"
            except TimeoutError:
                result.unusable = "Envoy is not ready in time"
        yield result
