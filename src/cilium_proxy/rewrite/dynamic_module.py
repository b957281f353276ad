"""Cilium's filters as stock Envoy loads them: extensions of the dynamic module."""

from __future__ import annotations

from typing import Any

from cilium_proxy import _native
from cilium_proxy.api import messages, pack, serialise

_FILTER = "envoy.extensions.filters.{kind}.dynamic_modules.v3.{message}"
_BOOTSTRAP = "envoy.extensions.bootstrap.dynamic_modules.v3.DynamicModuleBootstrapExtension"

# Full name of a filter's own message -> message that carries it, the filter's name in the module.
_FILTERS = {
    "cilium.BpfMetadata": (
        _FILTER.format(kind="listener", message="DynamicModuleListenerFilter"),
        "cilium.bpf_metadata",
    ),
    "cilium.NetworkFilter": (_FILTER.format(kind="network", message="DynamicModuleNetworkFilter"), "cilium.network"),
    "cilium.L7Policy": (_FILTER.format(kind="http", message="DynamicModuleFilter"), "cilium.l7policy"),
}


def module_filter(config: Any) -> Any:
    """The `Any` of the stock filter for a Cilium filter's message; KeyError for other messages."""
    extension, name = _FILTERS[config.DESCRIPTOR.full_name]
    return pack(messages(extension)(dynamic_module_config=_module(), filter_name=name, filter_config=_raw(config)))


def module_bootstrap(config: Any) -> Any:
    """The `Any` of the bootstrap extension for a `cilium_proxy.v1.ModuleBootstrap`."""
    return pack(
        messages(_BOOTSTRAP)(
            dynamic_module_config=_module(), extension_name="cilium.bootstrap", extension_config=_raw(config)
        )
    )


def _module() -> Any:
    # It runs a thread, so it stays loaded.
    return messages("envoy.extensions.dynamic_modules.v3.DynamicModuleConfig")(name=_native.MODULE, do_not_close=True)


def _raw(config: Any) -> Any:
    # Bytes in a BytesValue reach the module as they are.
    return pack(messages("google.protobuf.BytesValue")(value=serialise(config)))
