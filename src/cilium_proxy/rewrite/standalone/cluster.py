"""The cluster behind a listener: its upstream."""

from __future__ import annotations

from typing import Any

from cilium_proxy.api import from_dict
from cilium_proxy.config import Listener
from cilium_proxy.config.model import UpstreamProtocol
from cilium_proxy.rewrite.standalone.address import duration, socket_address
from cilium_proxy.rewrite.standalone.keepalive import KEEPALIVE

IDLE_TIMEOUT = 60.0
"""Seconds after which an unused upstream connection is closed, before most servers do it."""

# The listeners' connection limit is the limit; Envoy's default of 1,024 would turn load into errors.
_UNLIMITED = 1_000_000
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

_HTTP1: dict[str, Any] = {"http_protocol_options": {}}
_HTTP2: dict[str, Any] = {"http2_protocol_options": {}}
_PROTOCOLS: dict[UpstreamProtocol, dict[str, Any]] = {
    # As the client speaks: HTTP/1.1, or HTTP/2 and with it gRPC.
    "same": {"use_downstream_protocol_config": _HTTP1 | _HTTP2},
    "http1": {"explicit_http_config": _HTTP1},
    "http2": {"explicit_http_config": _HTTP2},
}


# Policy chooses between plaintext and its TLS contexts.
_WRAPPER = {
    "name": "cilium.tls_wrapper",
    "typed_config": {"@type": "type.googleapis.com/cilium.UpstreamTlsWrapperContext"},
}
# The server is asked for by the request's host, and must be it, unless the client named another in its TLS handshake.
_NAMES = {"upstream_http_protocol_options": {"auto_sni": True, "auto_san_validation": True}}


def cluster(listener: Listener) -> Any:
    """`envoy.config.cluster.v3.Cluster` with the listener's name."""
    fields: dict[str, Any] = {
        "name": listener.name,
        "connect_timeout": duration(listener.connect_timeout),
        "upstream_connection_options": {"tcp_keepalive": KEEPALIVE},
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": _UNLIMITED,
                    "max_pending_requests": _UNLIMITED,
                    "max_requests": _UNLIMITED,
                    "max_retries": 128,
                }
            ]
        },
        "load_assignment": {
            "cluster_name": listener.name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket_address(listener.upstream)}}]}],
        },
    }
    if listener.upstream.is_ip:
        fields["type"] = "STATIC"
    else:
        fields |= {"type": "STRICT_DNS", "dns_lookup_family": "ALL", "respect_dns_ttl": True}
    if listener.tls:
        fields["transport_socket"] = _WRAPPER
    if listener.protocol == "http":
        fields["typed_extension_protocol_options"] = {
            _HTTP_OPTIONS: {
                "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
                "common_http_protocol_options": {"idle_timeout": duration(IDLE_TIMEOUT)},
                **_PROTOCOLS[listener.http.upstream_protocol],
                **(_NAMES if listener.tls else {}),
            }
        }
    return from_dict("envoy.config.cluster.v3.Cluster", fields)
