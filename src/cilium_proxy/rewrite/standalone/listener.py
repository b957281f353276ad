"""A listener: who it is for, the connection's verdict, then HTTP or plain TCP.

Cilium's extensions have the form that an agent gives them; what stock Envoy gets is made of it by `rewrite.cilium`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cilium_proxy.api import from_dict, messages, pack
from cilium_proxy.config import Denied, Endpoint, Listener
from cilium_proxy.rewrite.standalone.address import duration, socket_address
from cilium_proxy.rewrite.standalone.http import connection_manager
from cilium_proxy.rewrite.standalone.keepalive import KEEPALIVE

_MANAGER = "envoy.filters.network.http_connection_manager"
_INSPECTOR = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"


def listener(wanted: Listener, endpoint: Endpoint, denied: Denied, access_log: Path | None) -> Any:
    """`envoy.config.listener.v3.Listener` with the name in proxy.yaml, and Cilium's extensions in it.

    `access_log` is the socket for its entries.
    """
    message = from_dict(
        "envoy.config.listener.v3.Listener",
        {
            "name": wanted.name,
            "address": socket_address(wanted.address),
            "traffic_direction": "INBOUND" if wanted.direction == "ingress" else "OUTBOUND",
            # Finds out clients that went away without a word, whatever the timeouts are.
            "tcp_keepalive": KEEPALIVE,
            "filter_chains": [{}],
        },
    )
    chain = message.filter_chains[0]
    if wanted.tls:
        inspector = messages(_INSPECTOR)()
        message.listener_filters.add(name="envoy.filters.listener.tls_inspector").typed_config.CopyFrom(pack(inspector))
        wrapper = messages("cilium.DownstreamTlsWrapperContext")(alpn_protocols=_alpn(wanted))
        chain.transport_socket.name = "cilium.tls_wrapper"
        chain.transport_socket.typed_config.CopyFrom(pack(wrapper))
    message.listener_filters.add(name="cilium.bpf_metadata").typed_config.CopyFrom(pack(_metadata(wanted, endpoint)))
    access_log_path = f"stream:{access_log}" if access_log else ""
    network = messages("cilium.NetworkFilter")(access_log_path=access_log_path)
    chain.filters.add(name="cilium.network").typed_config.CopyFrom(pack(network))
    if wanted.protocol == "http":
        manager = connection_manager(wanted, denied, access_log_path)
        chain.filters.add(name=_MANAGER).typed_config.CopyFrom(pack(manager))
    else:
        chain.filters.add(name="envoy.filters.network.tcp_proxy").typed_config.CopyFrom(pack(_tcp_proxy(wanted)))
    return message


def _metadata(wanted: Listener, endpoint: Endpoint) -> Any:
    metadata = messages("cilium.BpfMetadata")(
        is_ingress=wanted.direction == "ingress",
        use_nphds=True,
        # As the agent numbers its listeners.
        proxy_id=wanted.address.port,
        local_endpoint={"endpoint_ip": endpoint.ips[0], "port": wanted.port},
        tls_required=wanted.tls,
    )
    if wanted.direction == "egress":
        # Clients connect to the listener; policy is about where their data goes.
        metadata.local_endpoint.destination_ip = wanted.upstream.host
    return metadata


def _alpn(wanted: Listener) -> tuple[str, ...]:
    """HTTP/2 only where the upstream need not speak it because the client does."""
    if wanted.protocol != "http":
        return ()
    return ("http/1.1",) if wanted.http.upstream_protocol == "same" else ("h2", "http/1.1")


def _tcp_proxy(wanted: Listener) -> Any:
    return from_dict(
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        {"stat_prefix": wanted.name, "cluster": wanted.name, "idle_timeout": duration(wanted.idle_timeout)},
    )
