"""Envoy as people configure it by hand: plain, with the stock RBAC filter, and with this project's filters added."""

from __future__ import annotations

import base64
from typing import Any

from bench.http.rules import RULES

Json = dict[str, Any]

_HTTP = "envoy.extensions.filters.http"
_NETWORK = "envoy.extensions.filters.network"
_MODULE = {"name": "cilium_dynamic_modules", "do_not_close": True, "metrics_namespace": "cilium"}


def bootstrap(
    port: int, backend: int, *, http_filters: list[Json], before: list[Json], accept: list[Json], extensions: list[Json]
) -> Json:
    """A static configuration: one listener, one cluster.

    Args:
        port: where it listens, on 127.0.0.1.
        backend: port of the upstream, on 127.0.0.1.
        http_filters: filters in front of the router.
        before: network filters in front of the HTTP connection manager.
        accept: listener filters.
        extensions: bootstrap extensions.
    """
    manager = {
        "stat_prefix": "ingress_http",
        "codec_type": "AUTO",
        "route_config": {
            "name": "local_route",
            "virtual_hosts": [
                {
                    "name": "backend",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "backend"}}],
                }
            ],
        },
        "http_filters": [*http_filters, _typed("envoy.filters.http.router", f"{_HTTP}.router.v3.Router", {})],
    }
    listener = {
        "name": "bench",
        "address": _address(port),
        "listener_filters": accept,
        "filter_chains": [
            {
                "filters": [
                    *before,
                    _typed(
                        "envoy.filters.network.http_connection_manager",
                        f"{_NETWORK}.http_connection_manager.v3.HttpConnectionManager",
                        manager,
                    ),
                ]
            }
        ],
    }
    cluster = {
        "name": "backend",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": "backend",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(backend)}}]}],
        },
    }
    return {
        "node": {"id": "bench", "cluster": "bench"},
        "bootstrap_extensions": extensions,
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


def plain(port: int, backend: int) -> Json:
    """No check at all."""
    return bootstrap(port, backend, http_filters=[], before=[], accept=[], extensions=[])


def rbac(port: int, backend: int) -> Json:
    """The ten rules in Envoy's own RBAC filter."""
    return bootstrap(port, backend, http_filters=[_rbac()], before=[], accept=[], extensions=[])


def rbac_logged(port: int, backend: int) -> Json:
    """The same with Envoy's own access log: one JSON line per request, with what ours tells of it, to a file."""
    config = rbac(port, backend)
    fields = {
        "time": "%START_TIME%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(:PATH)%",
        "host": "%REQ(:AUTHORITY)%",
        "agent": "%REQ(USER-AGENT)%",
        "status": "%RESPONSE_CODE%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "source": "%DOWNSTREAM_REMOTE_ADDRESS%",
        "destination": "%DOWNSTREAM_LOCAL_ADDRESS%",
        "request_id": "%REQ(X-REQUEST-ID)%",
    }
    log = {"path": "/dev/null", "log_format": {"json_format": fields}}
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    manager["access_log"] = [
        _typed("envoy.access_loggers.file", "envoy.extensions.access_loggers.file.v3.FileAccessLog", log)
    ]
    return config


def _rbac() -> Json:
    permissions = [
        {
            "and_rules": {
                "rules": [
                    {"header": {"name": ":method", "string_match": {"exact": method}}},
                    {"url_path": {"path": {"safe_regex": {"regex": path}}}},
                ]
            }
        }
        for method, path in RULES
    ]
    rules = {"policies": {"ten": {"permissions": permissions, "principals": [{"any": True}]}}}
    return _typed("envoy.filters.http.rbac", f"{_HTTP}.rbac.v3.RBAC", {"rules": rules})


def cilium(port: int, backend: int, *, metadata: bytes, network: bytes, l7policy: bytes, module: bytes) -> Json:
    """The same hand-made configuration with the three Cilium filters; the arguments are their serialised messages."""
    return bootstrap(
        port,
        backend,
        accept=[_filter("listener", "DynamicModuleListenerFilter", "cilium.bpf_metadata", metadata)],
        before=[_filter("network", "DynamicModuleNetworkFilter", "cilium.network", network)],
        http_filters=[_filter("http", "DynamicModuleFilter", "cilium.l7policy", l7policy)],
        extensions=[
            _typed(
                "envoy.bootstrap.dynamic_modules",
                "envoy.extensions.bootstrap.dynamic_modules.v3.DynamicModuleBootstrapExtension",
                {
                    "dynamic_module_config": _MODULE,
                    "extension_name": "cilium.bootstrap",
                    "extension_config": _bytes(module),
                },
            )
        ],
    )


def _filter(kind: str, message: str, name: str, config: bytes) -> Json:
    return _typed(
        name,
        f"envoy.extensions.filters.{kind}.dynamic_modules.v3.{message}",
        {"dynamic_module_config": _MODULE, "filter_name": name, "filter_config": _bytes(config)},
    )


def _bytes(value: bytes) -> Json:
    return {"@type": "type.googleapis.com/google.protobuf.BytesValue", "value": base64.b64encode(value).decode()}


def _typed(name: str, message: str, config: Json) -> Json:
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/{message}", **config}}


def _address(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
