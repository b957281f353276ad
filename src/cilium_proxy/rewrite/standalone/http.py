"""The HTTP connection manager of a listener."""

from __future__ import annotations

from typing import Any

from cilium_proxy.api import from_dict, messages, pack
from cilium_proxy.config import Denied, Listener
from cilium_proxy.rewrite.standalone.address import duration

# Envoy tells requests of the host itself from others by these; it only decides on headers that are not sent anyway.
_LOCAL = [{"address_prefix": "127.0.0.1", "prefix_len": 32}, {"address_prefix": "::1", "prefix_len": 128}]
_ROUTER = "envoy.extensions.filters.http.router.v3.Router"


def connection_manager(listener: Listener, denied: Denied, access_log_path: str) -> Any:
    """`envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`, with `cilium.l7policy`.

    What costs time is off unless the listener asks for it: request ids, Envoy's own headers, statistics of upstreams,
    and the timer that every request is followed by.
    """
    options = listener.http
    manager = from_dict(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        {
            "stat_prefix": listener.name,
            "route_config": _routes(listener),
            "common_http_protocol_options": {"idle_timeout": duration(listener.idle_timeout)},
            "stream_idle_timeout": duration(options.idle_timeout),
            "http_protocol_options": {"accept_http_10": True},
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            # Policy sees the path the server will see.
            "normalize_path": True,
            "merge_slashes": True,
            "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
            "use_remote_address": True,
            "skip_xff_append": not options.forwarded_for,
            "internal_address_config": {"cidr_ranges": _LOCAL},
            "generate_request_id": options.request_id,
            # An id that the client gave stays, so that it can be followed from proxy to proxy.
            "preserve_external_request_id": options.request_id,
            "server_header_transformation": "OVERWRITE" if options.server_header else "PASS_THROUGH",
        },
    )
    policy = messages("cilium.L7Policy")(
        access_log_path=access_log_path,
        denied_403_body=denied.body,
        denied_reason_header=denied.reason_header or "",
    )
    manager.http_filters.add(name="cilium.l7policy").typed_config.CopyFrom(pack(policy))
    router = messages(_ROUTER)(
        dynamic_stats={"value": options.upstream_statistics}, suppress_envoy_headers=not options.envoy_headers
    )
    manager.http_filters.add(name="envoy.filters.http.router").typed_config.CopyFrom(pack(router))
    return manager


def _routes(listener: Listener) -> dict[str, Any]:
    timeout = duration(listener.request_timeout)
    route = {
        "match": {"prefix": "/"},
        "route": {
            "cluster": listener.name,
            "timeout": timeout,
            # Only what the upstream has surely not begun to process.
            "retry_policy": {"retry_on": "refused-stream,reset-before-request", "num_retries": 2},
        },
    }
    return {
        "name": listener.name,
        "virtual_hosts": [{"name": listener.name, "domains": ["*"], "routes": [route]}],
    }
