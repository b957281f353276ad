"""The Cilium filters as extensions of the dynamic module: one table for all places a filter may stand in.

A filter's message tells its kind, so a filter is known wherever it occurs: in chains, in per-route overrides, in an
extension config that is delivered on its own.
"""

from __future__ import annotations

from typing import Any

from cilium_proxy import _native
from cilium_proxy.api import messages, pack, type_url, unpack

METADATA_FILTER = "cilium.bpf_metadata"

_EXTENSION = "envoy.extensions.filters.{kind}.dynamic_modules.v3.{message}"
_LISTENER = _EXTENSION.format(kind="listener", message="DynamicModuleListenerFilter")
_NETWORK = _EXTENSION.format(kind="network", message="DynamicModuleNetworkFilter")
_HTTP = _EXTENSION.format(kind="http", message="DynamicModuleFilter")

# Type URL of a filter's own message -> the extension that carries it, the filter's name in the module.
_FILTERS: dict[str, tuple[str, str]] = {
    type_url("cilium.BpfMetadata"): (_LISTENER, METADATA_FILTER),
    type_url("cilium.NetworkFilter"): (_NETWORK, "cilium.network"),
    type_url("cilium.WebSocketClient"): (_NETWORK, "cilium.network.websocket.client"),
    type_url("cilium.WebSocketServer"): (_NETWORK, "cilium.network.websocket.server"),
    type_url("cilium.L7Policy"): (_HTTP, "cilium.l7policy"),
}


def is_filter(url: str) -> bool:
    """Whether the type URL is that of a Cilium filter's configuration."""
    return url in _FILTERS


def extension_url(url: str) -> str:
    """The type URL stock Envoy uses where a Cilium filter's type URL stood; others are returned as they are."""
    return type_url(_FILTERS[url][0]) if url in _FILTERS else url


def module_config() -> Any:
    """How Envoy loads the module. It stays loaded: it runs a thread."""
    return messages("envoy.extensions.dynamic_modules.v3.DynamicModuleConfig")(name=_native.MODULE, do_not_close=True)


def as_module_filter(config: Any) -> Any:
    """The `Any` of a Cilium filter as the `Any` of a dynamic-module filter with the same bytes as configuration."""
    extension, name = _FILTERS[config.type_url]
    return pack(
        messages(extension)(dynamic_module_config=module_config(), filter_name=name, filter_config=raw(config.value))
    )


def raw(value: bytes) -> Any:
    """An `Any` that reaches the module as these bytes."""
    return pack(messages("google.protobuf.BytesValue")(value=value))


def is_module_filter(config: Any, name: str) -> bool:
    """Whether the `Any` is a dynamic-module filter of ours with that name."""
    if config.type_url not in {type_url(extension) for extension, _ in _FILTERS.values()}:
        return False
    extension = unpack(config)
    return extension is not None and extension.filter_name == name
