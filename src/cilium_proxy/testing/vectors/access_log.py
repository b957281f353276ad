"""Kind `access_log`: the entries that a request and its response make; the `access_log` of websocket vectors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from cilium_proxy._core import LogEntry
from cilium_proxy.api import from_dict, messages
from cilium_proxy.testing.vectors.result import Failure, Result, cases_of

Json = dict[str, Any]

LIST = "access_log"
"""Where a document has the cases."""

_ENTRY = "cilium.LogEntry"


def run(document: Any) -> Iterator[Result]:
    """Runs the cases of a document."""
    for case in cases_of(document, LIST):
        result = Result.of(case)
        with result.running():
            run_case(case, result)
        yield result


def run_case(case: Json, result: Result) -> None:
    """One entry: made from a request, then turned into that of the response."""
    entry: LogEntry | None = None
    for number, step in enumerate(case["steps"], start=1):
        if step["op"] == "init_from_request":
            entry, kind = _request(step), "Request"
        elif step["op"] == "update_from_response" and entry is not None:
            entry.respond(time.time_ns(), [(name, value) for name, value in step["headers"]])
            kind = "Response"
        else:
            result.unusable = f"step {number}: {step['op']!r} is not possible here"
            return
        got = messages(_ENTRY)()
        got.ParseFromString(entry.encode(kind))
        expected = from_dict(_ENTRY, step["expect_entry"])
        for name in step["expect_entry"]:
            wanted, value = getattr(expected, name), getattr(got, name)
            if wanted != value:
                result.failures.append(Failure(number, name, str(wanted), str(value)))
        if "expect_timestamp" in step and not got.timestamp:
            result.failures.append(Failure(number, "timestamp", str(step["expect_timestamp"]), "0"))


def _request(step: Json) -> LogEntry:
    return LogEntry(
        step["policy_name"],
        proxy_id=step["proxy_id"],
        ingress=step["ingress"],
        source=(step["source_identity"], step["source_address"]),
        destination=(step["destination_identity"], step["destination_address"]),
        # HTTP/1.1 is HTTP11, HTTP/2 is HTTP2.
        protocol=step["protocol"].replace("/", "").replace(".", ""),
        timestamp=time.time_ns(),
        headers=[(name, value) for name, value in step["headers"]],
    )
