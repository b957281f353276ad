"""TCP proxies behind the websocket filters.

The filters shake hands before the proxy is connected, or to learn where to connect to. The reference's filters tell the
proxy so themselves; stock Envoy has an option for it.
"""

from __future__ import annotations

from typing import Any

from cilium_proxy.api import InvalidAnyError, pack, type_url, unpack
from cilium_proxy.rewrite.cilium.errors import RewriteError

_WEBSOCKETS = frozenset({type_url("cilium.WebSocketClient"), type_url("cilium.WebSocketServer")})
_TCP_PROXY = type_url("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy")
EARLY_DATA = 1 << 16
"""Bytes the proxy takes before it is connected; then it stops reading."""


def take_early_data(chain: Any, path: tuple[str, ...]) -> bool:
    """Lets the TCP proxy of a filter chain with a websocket filter take data early; tells whether anything changed.

    Raises RewriteError when the proxy's configuration does not parse.
    """
    if not any(item.typed_config.type_url in _WEBSOCKETS for item in chain.filters):
        return False
    changed = False
    for item in chain.filters:
        if item.typed_config.type_url != _TCP_PROXY:
            continue
        try:
            proxy: Any = unpack(item.typed_config)
        except InvalidAnyError as error:
            raise RewriteError((*path, "filters"), str(error)) from error
        if not proxy.HasField("max_early_data_bytes"):
            proxy.max_early_data_bytes.value = EARLY_DATA
            item.typed_config.CopyFrom(pack(proxy))
            changed = True
    return changed
