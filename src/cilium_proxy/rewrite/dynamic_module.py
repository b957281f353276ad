"""Cilium's filters as stock Envoy loads them: extensions of the dynamic module.

A filter's message tells its kind, so a filter is known wherever it occurs: in chains, in overrides of routes, in an
extension config that is delivered on its own.
"""

from __future__ import annotations

from typing import Any

from cilium_proxy import _native
from cilium_proxy.api import messages, pack, serialise, type_url, unpack

METADATA_FILTER = "cilium.bpf_metadata"
NETWORK_FILTER = "cilium.network"
L7_POLICY_FILTER = "cilium.l7policy"
BOOTSTRAP_EXTENSION = "cilium.bootstrap"

_EXTENSION = "envoy.extensions.filters.{kind}.dynamic_modules.v3.{message}"
_LISTENER = _EXTENSION.format(kind="listener", message="DynamicModuleListenerFilter")
_NETWORK = _EXTENSION.format(kind="network", message="DynamicModuleNetworkFilter")
_HTTP = _EXTENSION.format(kind="http", message="DynamicModuleFilter")
_ROUTE = _EXTENSION.format(kind="http", message="DynamicModuleFilterPerRoute")
_LOGGER = "envoy.extensions.access_loggers.dynamic_modules.v3.DynamicModuleAccessLog"
_BOOTSTRAP = "envoy.extensions.bootstrap.dynamic_modules.v3.DynamicModuleBootstrapExtension"

METADATA = type_url("cilium.BpfMetadata")
L7_POLICY = type_url("cilium.L7Policy")
# Type URL of a filter's own message -> the extension that carries it, the filter's name in the module.
_FILTERS: dict[str, tuple[str, str]] = {
    METADATA: (_LISTENER, METADATA_FILTER),
    type_url("cilium.NetworkFilter"): (_NETWORK, NETWORK_FILTER),
    type_url("cilium.WebSocketClient"): (_NETWORK, "cilium.network.websocket.client"),
    type_url("cilium.WebSocketServer"): (_NETWORK, "cilium.network.websocket.server"),
    L7_POLICY: (_HTTP, L7_POLICY_FILTER),
}


def is_filter(url: str) -> bool:
    """Whether the type URL is that of a Cilium filter's configuration."""
    return url in _FILTERS


def extension_url(url: str) -> str:
    """The type URL stock Envoy uses where a Cilium filter's type URL stood; others are returned as they are."""
    return type_url(_FILTERS[url][0]) if url in _FILTERS else url


def module_filter(config: Any) -> Any:
    """The `Any` of the stock filter for a Cilium filter's message; KeyError for other messages."""
    return carry_filter(pack(config))


def carry_filter(config: Any) -> Any:
    """The `Any` of a Cilium filter as the `Any` of a dynamic-module filter with the same bytes as configuration.

    KeyError for other messages.
    """
    extension, name = _FILTERS[config.type_url]
    return pack(
        messages(extension)(dynamic_module_config=_module(), filter_name=name, filter_config=_raw(config.value))
    )


def carry_override(config: Any) -> Any:
    """As `carry_filter`, for the configuration that a route or virtual host has for an HTTP filter."""
    _, name = _FILTERS[config.type_url]
    return pack(
        messages(_ROUTE)(
            dynamic_module_config=_module(),
            per_route_config_name=name,
            filter_name=name,
            filter_config=_raw(config.value),
        )
    )


def access_logger(name: str) -> Any:
    """The `Any` of one of the module's access loggers."""
    return pack(messages(_LOGGER)(dynamic_module_config=_module(), logger_name=name))


def is_carried(config: Any, name: str) -> bool:
    """Whether the `Any` is a dynamic-module filter with that name."""
    if config.type_url not in (type_url(_LISTENER), type_url(_NETWORK), type_url(_HTTP)):
        return False
    extension = unpack(config)
    return extension is not None and extension.filter_name == name


def module_bootstrap(config: Any) -> Any:
    """The `Any` of the bootstrap extension for a `cilium_proxy.v1.ModuleBootstrap`."""
    return pack(
        messages(_BOOTSTRAP)(
            dynamic_module_config=_module(),
            extension_name=BOOTSTRAP_EXTENSION,
            extension_config=_raw(serialise(config)),
        )
    )


def is_module_bootstrap(config: Any) -> bool:
    """Whether the `Any` is a bootstrap extension of our module."""
    if config.type_url != type_url(_BOOTSTRAP):
        return False
    extension = unpack(config)
    return extension is not None and extension.dynamic_module_config.name == _native.MODULE


def _module() -> Any:
    # It runs a thread, so it stays loaded. The prefix gives its statistics the names that Cilium's have.
    return messages("envoy.extensions.dynamic_modules.v3.DynamicModuleConfig")(
        name=_native.MODULE, do_not_close=True, metrics_namespace="cilium"
    )


def _raw(value: bytes) -> Any:
    # Bytes in a BytesValue reach the module as they are.
    return pack(messages("google.protobuf.BytesValue")(value=value))
