"""The upstream verdict on its way from the module to the socket of an upstream connection.

The module leaves the verdict, `raw` or a TLS context's name, in filter state that ends with the downstream connection.
Envoy's `set_filter_state` filters share it with upstream connections, where the cluster's matcher picks the socket by
it (`tls_upstream`). Upstream connections are only pooled for downstream ones with the same verdict.
"""

from __future__ import annotations

from typing import Any

from cilium_proxy.api import InvalidAnyError, from_dict, pack, type_url, unpack
from cilium_proxy.rewrite.cilium.errors import RewriteError
from cilium_proxy.rewrite.dynamic_module import L7_POLICY, NETWORK_FILTER

VERDICT = "cilium.tls.upstream"
"""Key of the filter state in which the listener filter leaves a connection's verdict."""

REQUEST_VERDICT = "cilium.tls.upstream.request"
"""As VERDICT, for a request: policy may have changed since the connection was accepted."""

SHARED = "cilium.tls.upstream.shared"
"""Key of the verdict in an upstream connection's filter state."""

RAW = "raw"

_MANAGER = type_url("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager")
_NETWORK = "envoy.extensions.filters.network.set_filter_state.v3.Config"
_HTTP = "envoy.extensions.filters.http.set_filter_state.v3.Config"


def share(chain: Any, path: tuple[str, ...], *, per_request: bool) -> None:
    """Adds the filter that shares the verdict: of each request if wanted and the chain is for HTTP with a filter that
    judges requests, else of the connection.

    Raises RewriteError when the connection manager does not parse.
    """
    if not (per_request and _share_of_requests(chain, path)):
        _share_of_connection(chain)


def _share_of_connection(chain: Any) -> None:
    """Behind `cilium.network`, the first that may refuse the connection."""
    for index, item in enumerate(chain.filters):
        if item.name == NETWORK_FILTER:
            share = type(item)(name="envoy.filters.network.set_filter_state")
            share.typed_config.CopyFrom(pack(from_dict(_NETWORK, {"on_new_connection": [_value(VERDICT)]})))
            chain.filters.insert(index + 1, share)
            return


def _share_of_requests(chain: Any, path: tuple[str, ...]) -> bool:
    shared = False
    for item in chain.filters:
        if item.typed_config.type_url != _MANAGER:
            continue
        manager = _parsed(item.typed_config, path)
        for index, http in enumerate(manager.http_filters):
            if http.typed_config.type_url == L7_POLICY:
                policy = _parsed(http.typed_config, path)
                policy.upstream_tls = True
                http.typed_config.CopyFrom(pack(policy))
                share = type(http)(name="envoy.filters.http.set_filter_state")
                share.typed_config.CopyFrom(pack(from_dict(_HTTP, {"on_request_headers": [_value(REQUEST_VERDICT)]})))
                manager.http_filters.insert(index + 1, share)
                item.typed_config.CopyFrom(pack(manager))
                shared = True
                break
    return shared


def _parsed(envelope: Any, path: tuple[str, ...]) -> Any:
    try:
        return unpack(envelope)
    except InvalidAnyError as error:
        raise RewriteError(path, str(error)) from error


def _value(key: str) -> dict[str, Any]:
    return {
        "object_key": SHARED,
        "factory_key": "envoy.hashable_string",
        "format_string": {"text_format_source": {"inline_string": f"%FILTER_STATE({key}:PLAIN)%"}},
        "shared_with_upstream": "ONCE",
        "skip_if_empty": True,
    }
