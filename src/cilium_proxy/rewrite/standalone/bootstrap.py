"""The bootstrap: where Envoy finds the control plane, the module, and its own limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cilium_proxy.api import from_dict, messages
from cilium_proxy.config import Address
from cilium_proxy.rewrite import python_parsers
from cilium_proxy.rewrite.dynamic_module import module_bootstrap
from cilium_proxy.rewrite.instance import name_instance
from cilium_proxy.rewrite.python_parsers import PythonParsers
from cilium_proxy.rewrite.reconnect import reconnect_soon
from cilium_proxy.rewrite.standalone.address import pipe, socket_address

XDS_CLUSTER = "cilium-proxy-xds"
MAX_CONNECTIONS = 50_000
"""Downstream connections of all listeners together; Cilium's default for its Envoy."""

_UNLIMITED = 1_000_000
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_MAX_CONNECTIONS = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """What differs between proxies. `admin` is an address or a Unix socket; `instance` names this Envoy process."""

    xds_socket: Path
    policy_socket: Path
    admin: Address | Path
    instance: str
    python_parsers: PythonParsers | None = None


def bootstrap(wanted: Bootstrap) -> Any:
    """`envoy.config.bootstrap.v3.Bootstrap`."""
    admin = pipe(wanted.admin, 0o600) if isinstance(wanted.admin, Path) else socket_address(wanted.admin)
    ads = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    message = from_dict(
        "envoy.config.bootstrap.v3.Bootstrap",
        {
            "node": {"id": wanted.instance, "cluster": "cilium-proxy"},
            "admin": {"address": admin},
            "static_resources": {"clusters": [xds_cluster(XDS_CLUSTER, wanted.xds_socket)]},
            "dynamic_resources": {
                "ads_config": {
                    "api_type": "GRPC",
                    "transport_api_version": "V3",
                    "grpc_services": [{"envoy_grpc": {"cluster_name": XDS_CLUSTER}}],
                    "set_node_on_first_message_only": True,
                },
                "cds_config": ads,
                "lds_config": ads,
            },
            "overload_manager": {
                "resource_monitors": [
                    {
                        "name": "envoy.resource_monitors.global_downstream_max_connections",
                        "typed_config": {
                            "@type": f"type.googleapis.com/{_MAX_CONNECTIONS}",
                            "max_active_downstream_connections": MAX_CONNECTIONS,
                        },
                    }
                ]
            },
        },
    )
    reconnect_soon(message.dynamic_resources.ads_config)
    _add_module(message, wanted)
    return message


def xds_cluster(name: str, path: Path) -> dict[str, Any]:
    """The cluster of an xDS server on a Unix socket."""
    endpoint = {"endpoint": {"address": pipe(path)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        # Envoy has a stream for every secret; more than 1,024 at a time need leave.
        "circuit_breakers": {"thresholds": [{"max_requests": _UNLIMITED, "max_pending_requests": _UNLIMITED}]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
    }


def _add_module(message: Any, wanted: Bootstrap) -> None:
    config = messages("cilium_proxy.v1.ModuleBootstrap")(
        policy_socket=str(wanted.policy_socket), instance=wanted.instance
    )
    name_instance(message.node, wanted.instance)
    python_parsers.configure(message, config, wanted.python_parsers)
    message.bootstrap_extensions.add(name="cilium.bootstrap").typed_config.CopyFrom(module_bootstrap(config))
