"""Access log entries of a step compared with what is expected of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]


def find(entries: Sequence[Any], entry_type: str) -> Any | None:
    """The first entry of that type."""
    wanted = entry_type.lower()
    for entry in entries:
        if entry.DESCRIPTOR.fields_by_name["entry_type"].enum_type.values_by_number[entry.entry_type].name.lower() == (
            wanted
        ):
            return entry
    return None


def differences(expected: Json, entry: Any, request_id: str | None) -> list[tuple[str, Any, Any]]:
    """What differs: name, expected, got."""
    got: dict[str, Any] = {
        "http_status": entry.http.status,
        "source_security_id": entry.source_security_id,
        "destination_security_id": entry.destination_security_id,
        "source_ip": _ip(entry.source_address),
        "destination_ip": _ip(entry.destination_address),
        "source_address": entry.source_address,
        "destination_address": entry.destination_address,
        "policy_name": entry.policy_name,
        "proxy_id": entry.proxy_id,
        "is_ingress": entry.is_ingress,
        "method": entry.http.method,
        "path": entry.http.path,
        "host": entry.http.host,
        "scheme": entry.http.scheme,
        "missing_count": len(entry.http.missing_headers),
        "rejected_count": len(entry.http.rejected_headers),
    }
    lists = {
        "headers": entry.http.headers,
        "missing": entry.http.missing_headers,
        "rejected": entry.http.rejected_headers,
    }
    found = []
    for name, wanted in expected.items():
        if name in got and got[name] != wanted:
            found.append((name, wanted, got[name]))
        base = name.removesuffix("_absent")
        if base in lists:
            pairs = [[header.key.lower(), header.value] for header in lists[base]]
            wrong = [header for header in wanted if any(fits(header, pair) for pair in pairs) != (base == name)]
            found += [(name, header, pairs) for header in wrong]
    if "x_request_id" in expected and request_id is not None:
        own = request_id_of(entry)
        if own != request_id:
            found.append(("x_request_id", request_id, own))
    return found


def request_id_of(entry: Any) -> str | None:
    """The entry's `x-request-id`."""
    return next((header.value for header in entry.http.headers if header.key.lower() == "x-request-id"), None)


def fits(wanted: Sequence[str | None], pair: Sequence[str]) -> bool:
    """Whether a header is the wanted one; a wanted value of None is any."""
    name, value = wanted
    return str(name).lower() == pair[0] and (value is None or value == pair[1])


def _ip(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")
