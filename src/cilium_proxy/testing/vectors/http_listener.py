"""The listeners and filters that cases run with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cilium_proxy.api import from_dict, messages, pack, to_dict
from cilium_proxy.rewrite.dynamic_module import access_logger, module_filter

Json = dict[str, Any]

_HTTP = "envoy.extensions.filters.http"
_MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def listener(address: tuple[str, int], metadata: Json, filters: list[tuple[str, Any]]) -> Any:
    """A listener with `cilium.bpf_metadata`; `filters` are names and `Any` messages."""
    host, port = address
    message = from_dict(
        "envoy.config.listener.v3.Listener",
        {
            "name": "case",
            "address": {"socket_address": {"address": host, "port_value": port}},
            "filter_chains": [{}],
        },
    )
    config = from_dict("cilium.BpfMetadata", metadata)
    message.listener_filters.add(name="cilium.bpf_metadata").typed_config.CopyFrom(module_filter(config))
    for name, config in filters:
        message.filter_chains[0].filters.add(name=name).typed_config.CopyFrom(config)
    return message


def chain(last: Any, access_log: Path) -> list[tuple[str, Any]]:
    """`cilium.network`, then the message of another network filter."""
    network = messages("cilium.NetworkFilter")(access_log_path=str(access_log))
    return [("cilium.network", module_filter(network)), ("last", pack(last))]


def connection_manager(access_log: Path, **route: Any) -> Any:
    """HTTP with `cilium.l7policy`, routing all to the cluster `upstream`; `route` holds further route options."""
    return from_dict(
        _MANAGER,
        {
            "stat_prefix": "http",
            "use_remote_address": True,
            "skip_xff_append": True,
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "all",
                        "domains": ["*"],
                        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream", **route}}],
                    }
                ]
            },
            "http_filters": [
                {"name": "cilium.l7policy", "typed_config": _any(_l7policy(access_log))},
                {"name": "router", "typed_config": {"@type": f"type.googleapis.com/{_HTTP}.router.v3.Router"}},
            ],
        },
    )


def upstream_options(access_log: Path) -> Json:
    """Options of a cluster whose hosts are judged."""
    codec = f"{_HTTP}.upstream_codec.v3.UpstreamCodec"
    return {
        "typed_extension_protocol_options": {
            _OPTIONS: {
                "@type": f"type.googleapis.com/{_OPTIONS}",
                "common_http_protocol_options": {"max_requests_per_connection": 3},
                "use_downstream_protocol_config": {},
                "http_filters": [
                    {"name": "cilium.l7policy", "typed_config": _any(_l7policy(access_log))},
                    {"name": "codec", "typed_config": {"@type": f"type.googleapis.com/{codec}"}},
                ],
            }
        }
    }


def tcp_proxy(cluster: str = "upstream", **options: Any) -> Any:
    """A TCP proxy that tells `cilium.network` when its upstream connection is there."""
    return from_dict(
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        {
            "stat_prefix": "tcp_stats",
            "cluster": cluster,
            "access_log": [{"name": "cilium.connected", "typed_config": connected()}],
            "access_log_options": {"flush_access_log_on_connected": True},
            **options,
        },
    )


def connected() -> Json:
    """The access logger that wakes connections whose host is chosen."""
    return _any(access_logger("cilium.connected"))


def _l7policy(access_log: Path) -> Any:
    return module_filter(messages("cilium.L7Policy")(access_log_path=str(access_log)))


def _any(envelope: Any) -> Json:
    data: Json = to_dict(envelope)
    return data
