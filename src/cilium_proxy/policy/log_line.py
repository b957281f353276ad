"""Lines of the access log as questions: JSON lines say everything, compact lines all but the headers."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from cilium_proxy.config import Direction
from cilium_proxy.observe import InvalidLineError, parse_line


class InvalidLogLineError(ValueError):
    """A line is neither form of an access-log entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """What a line says. `source` and `target` are names, addresses or identities; `policy` is the endpoint's address.

    None: the line does not say. `headers` None: an entry about a connection.
    """

    source: str
    target: str
    direction: Direction | None
    policy: str | None
    remote: int | None
    port: int
    proxy_id: int
    headers: list[tuple[str, str]] | None


_END = r"(?P<{0}>\S+) \((?P<{0}_name>[^()]*)\)"
_COMPACT = re.compile(
    rf"(?:.*?\d\d:\d\d:\d\d\.\d+|N/A): {_END.format('source')} (?P<arrow>->|<-) {_END.format('target')} "
    r"(?P<kind>\S+) (?P<verdict>[A-Z]+) \((?P<summary>.*?)\)(?:: .*)?$"
)
_REQUEST = re.compile(r"(?P<method>\S+) [a-z]+://(?P<host>[^/\s]*)(?P<path>\S*)$")


def parse(line: str) -> Logged:
    """Reads a line. Raises InvalidLogLineError."""
    line = line.strip()
    return _json(line) if line.startswith("{") else _compact(line)


def _json(line: str) -> Logged:
    try:
        entry = parse_line(line)
    except InvalidLineError as error:
        raise InvalidLogLineError(f"not an access-log line: {error}") from error
    headers = None
    kind = entry.WhichOneof("l7")
    if kind == "http":
        http = entry.http
        headers = [(":method", http.method), (":path", http.path), (":authority", http.host)]
        if http.scheme:
            headers.append(("x-forwarded-proto", http.scheme))
        # A response entry has the headers of the response.
        if http.status == 0:
            headers += [(header.key, header.value) for header in http.headers]
    return Logged(
        source=_host(entry.source_address),
        target=_host(entry.destination_address),
        direction="ingress" if entry.is_ingress else "egress",
        policy=entry.policy_name or None,
        remote=entry.source_security_id if entry.is_ingress else entry.destination_security_id,
        port=_port(entry.destination_address),
        proxy_id=entry.proxy_id,
        headers=headers,
    )


def _compact(line: str) -> Logged:
    found = _COMPACT.match(line)
    if found is None:
        raise InvalidLogLineError(
            "not an access-log line; it looks like `Jan  1 00:00:00.000: 127.0.0.3:40000 (shop) -> 127.0.0.2:80 (api) "
            "http-request FORWARDED (HTTP/1.1 GET http://api/)` or is a JSON object"
        )
    headers = None
    if found["kind"].startswith("http"):
        summary = found["summary"]
        if found["arrow"] == "<-":
            # A response has its request in parentheses.
            summary = summary.partition(" (")[2].removesuffix(")")
        request = _REQUEST.search(summary)
        if request is None:
            raise InvalidLogLineError(f"the line has no request in `{found['summary']}`")
        headers = [(":method", request["method"]), (":path", request["path"] or "/"), (":authority", request["host"])]
    return Logged(
        source=_peer(found["source_name"], found["source"]),
        target=_peer(found["target_name"], found["target"]),
        direction=None,
        policy=None,
        remote=None,
        port=_port(found["target"]),
        proxy_id=0,
        headers=headers,
    )


def _peer(name: str, address: str) -> str:
    """The name, unless it says less than the address."""
    return _host(address) if name in ("", "unknown", "ID:0") else name.partition(",")[0]


def _host(address: str) -> str:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        raise InvalidLogLineError(f"`{address}` is not an address with a port") from None


def _port(address: str) -> int:
    port = address.rpartition(":")[2]
    if not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise InvalidLogLineError(f"`{address}` has no port")
    return int(port)
