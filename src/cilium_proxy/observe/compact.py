"""The line format of `hubble observe`, with the reason of a denial behind it."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

from cilium_proxy.observe.names import Names

PROTOCOLS = {0: "HTTP/1.0", 1: "HTTP/1.1", 2: "HTTP/2"}
"""`cilium.HttpProtocol` as Hubble writes it."""

REQUEST, RESPONSE, DENIED = 0, 1, 2
"""`cilium.EntryType`."""

IN_FLIGHT = 4096
"""Requests whose time is kept for the latency of their response."""

REQUEST_ID = "x-request-id"


class CompactPrinter:
    """Prints entries in Hubble's compact format, in UTC. Keeps the time of requests, so use one for a whole log.

    Source: hubble/pkg/printer in cilium/cilium. A response has its arrow turned round rather than its ends; its latency
    is left out when the request was not seen, or carries no x-request-id.
    """

    def __init__(self, names: Names | None = None) -> None:
        self.names = names or Names()
        self._started: OrderedDict[str, int] = OrderedDict()

    def __call__(self, entry: Any) -> str:
        """One line, without its end."""
        arrow = "<-" if entry.entry_type == RESPONSE else "->"
        verdict = "DROPPED" if entry.entry_type == DENIED else "FORWARDED"
        source = f"{entry.source_address or '?'} ({self.names.source(entry)})"
        destination = f"{entry.destination_address or '?'} ({self.names.destination(entry)})"
        kind, summary = self._summary(entry)
        line = f"{_stamp(entry.timestamp)}: {source} {arrow} {destination} {kind} {verdict} ({summary})"
        if entry.entry_type == DENIED and entry.cilium_rule_ref:
            line += f": {self.names.in_reason(entry.cilium_rule_ref)}"
        return printable(line)

    def _summary(self, entry: Any) -> tuple[str, str]:
        step = "response" if entry.entry_type == RESPONSE else "request"
        match entry.WhichOneof("l7"):
            case "http":
                return f"http-{step}", self._http(entry)
            case "kafka":
                topics = "".join(f" topic '{topic}'" for topic in entry.kafka.topics)
                return f"kafka-{step}", f"Kafka {step} key {entry.kafka.api_key}{topics}"
            case "generic_l7":
                fields = "".join(f" {name}={value}" for name, value in sorted(entry.generic_l7.fields.items()))
                return f"l7-{step}", f"{entry.generic_l7.proto}{fields}"
            case _:
                return "connection", "TCP"

    def _http(self, entry: Any) -> str:
        http = entry.http
        protocol = PROTOCOLS.get(http.http_protocol, f"HTTP/{http.http_protocol}")
        request = f"{http.method} {http.scheme or 'http'}://{http.host}{http.path}"
        if entry.entry_type != RESPONSE:
            self._remember(entry)
            return f"{protocol} {request}"
        latency = self._latency(entry)
        return f"{protocol} {http.status}{'' if latency is None else f' {latency}ms'} ({request})"

    def _remember(self, entry: Any) -> None:
        request_id = _request_id(entry)
        if request_id:
            self._started[request_id] = entry.timestamp
            if len(self._started) > IN_FLIGHT:
                self._started.popitem(last=False)

    def _latency(self, entry: Any) -> int | None:
        started = self._started.pop(_request_id(entry), None)
        # A clock that was set back gives no latency.
        return None if started is None or started > entry.timestamp else int(entry.timestamp - started) // 1_000_000


def printable(text: str) -> str:
    """`text` without what moves a terminal's cursor: a client chooses the paths and hosts that are printed."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _request_id(entry: Any) -> str:
    return next((header.value for header in entry.http.headers if header.key == REQUEST_ID), "")


def _stamp(timestamp: int) -> str:
    seconds, nanoseconds = divmod(timestamp, 1_000_000_000)
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return "N/A"
    return f"{moment:%b} {moment.day:2d} {moment:%H:%M:%S}.{nanoseconds // 1_000_000:03d}"
