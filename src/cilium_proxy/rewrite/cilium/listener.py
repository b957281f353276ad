"""What a listener needs beside its filters."""

from __future__ import annotations

from typing import Any

from cilium_proxy.api import messages
from cilium_proxy.rewrite.cilium.module import METADATA_FILTER, is_module_filter


def finish(listener: Any) -> bool:
    """Completes a listener whose filters are rewritten already; tells whether anything changed.

    A UDP listener has no connections, so the metadata filter, which only prepares connections, is taken out of it.
    """
    if listener.address.socket_address.protocol != _udp():
        return False
    filters = [item for item in listener.listener_filters if is_module_filter(item.typed_config, METADATA_FILTER)]
    for item in filters:
        listener.listener_filters.remove(item)
    return bool(filters)


def _udp() -> int:
    return int(messages("envoy.config.core.v3.SocketAddress").UDP)
