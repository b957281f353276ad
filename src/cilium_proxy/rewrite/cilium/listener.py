"""What a listener with `cilium.bpf_metadata` needs beside its filters: marked, transparent listen sockets."""

from __future__ import annotations

import socket
from typing import Any

from cilium_proxy.api import InvalidAnyError, messages, unpack
from cilium_proxy.rewrite.cilium.errors import RewriteError
from cilium_proxy.rewrite.dynamic_module import METADATA

# crates/privileged/src/private_option.rs: options that the preloaded socket library has the supervisor set.
_PRIVATE_LEVEL = 0x43494C
_MARK, _TRANSPARENT = 2, 4

# By which Cilium's datapath knows the proxy's own sockets; for listeners it looks at no identity.
INGRESS_MARK, EGRESS_MARK = 0x0A00, 0x0B00


def prepare(listener: Any, privileged_sockets: bool, path: tuple[str, ...]) -> bool:
    """Adds the socket options, before the filters are rewritten; tells whether anything changed.

    A UDP listener has no connections, so the metadata filter, which only prepares connections, is taken out of it.

    Raises RewriteError when the metadata filter does not parse.
    """
    filters = [item for item in listener.listener_filters if item.typed_config.type_url == METADATA]
    if not filters:
        return False
    try:
        metadata: Any = unpack(filters[0].typed_config)
    except InvalidAnyError as error:
        raise RewriteError((*path, "listener_filters"), str(error)) from error
    ingress = bool(metadata.is_ingress)
    _add_options(listener.socket_options, ingress, privileged_sockets)
    for additional in listener.additional_addresses:
        # Set, even if empty, these stand in the place of the listener's.
        if additional.HasField("socket_options"):
            _add_options(additional.socket_options.socket_options, ingress, privileged_sockets)
    if listener.address.socket_address.protocol == _udp():
        for item in filters:
            listener.listener_filters.remove(item)
    return True


def _add_options(options: Any, ingress: bool, privileged: bool) -> None:
    prebind = messages("envoy.config.core.v3.SocketOption").STATE_PREBIND
    if privileged:
        mark = INGRESS_MARK if ingress else EGRESS_MARK
        options.add(description="SO_MARK", level=_PRIVATE_LEVEL, name=_MARK, int_value=mark, state=prebind)
        options.add(description="IP_TRANSPARENT", level=_PRIVATE_LEVEL, name=_TRANSPARENT, int_value=1, state=prebind)
    options.add(
        description="SO_REUSEADDR", level=socket.SOL_SOCKET, name=socket.SO_REUSEADDR, int_value=1, state=prebind
    )


def _udp() -> int:
    return int(messages("envoy.config.core.v3.SocketAddress").UDP)
