"""Addresses and durations as Envoy's API has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cilium_proxy.config import Address


def socket_address(address: Address) -> dict[str, Any]:
    """`envoy.config.core.v3.Address` of a TCP address."""
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def pipe(path: Path, mode: int | None = None) -> dict[str, Any]:
    """`envoy.config.core.v3.Address` of a Unix socket; `mode` for those Envoy listens on."""
    return {"pipe": {"path": str(path)} | ({"mode": mode} if mode is not None else {})}


def duration(seconds: float) -> str:
    """`google.protobuf.Duration` in JSON form."""
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"
