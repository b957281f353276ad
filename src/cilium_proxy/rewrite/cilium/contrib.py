"""Contrib filters that agents configure and the stock Envoy release lacks."""

from __future__ import annotations

from typing import Any

# Filters the module's own parsers stand in for: `cilium.network` runs them where policy names the protocol.
_REPLACED = frozenset({"type.googleapis.com/envoy.extensions.filters.network.mysql_proxy.v3.MySQLProxy"})


def drop(chain: Any, path: tuple[str, ...], warnings: list[str]) -> bool:
    """Takes such filters out of a filter chain that `cilium.network` is part of; tells whether there were any."""
    dropped = [item for item in chain.filters if item.typed_config.type_url in _REPLACED]
    for item in dropped:
        warnings.append(f"{'.'.join(path)}: filter {item.name} is left out: the stock Envoy release does not have it")
        chain.filters.remove(item)
    return bool(dropped)
