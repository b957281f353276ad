"""The listeners and clusters of websocket cases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cilium_proxy.api import from_dict, pack
from cilium_proxy.rewrite.dynamic_module import module_filter
from cilium_proxy.testing.vectors import http_proxy
from cilium_proxy.testing.vectors.http_listener import chain, connection_manager, listener, tcp_proxy

Json = dict[str, Any]
Filters = list[tuple[str, Any]]

EARLY_DATA = 1 << 16
"""Bytes that a TCP proxy takes before it is connected."""


class Topology:
    """What a case's kind stands for."""

    def __init__(self, case: Json, ports: Sequence[int], upstream_port: int, ip: str = http_proxy.IPV4) -> None:
        self.case = case
        self.ip = ip
        self.ports = ports
        self.upstream_port = upstream_port
        self.limits = case.get("connection_buffer_limits", {})

    def listeners(self, log: Path) -> list[Any]:
        """One listener, or the three that a policy case has in a row."""
        match self.case["kind"]:
            case "codec":
                network, proxy = chain(self._proxy("cluster1"), log)
                return [self._listener(0, [network, self._client(log), self._server(log), proxy])]
            case "encap":
                network, proxy = chain(self._proxy("cluster1"), log)
                return [self._listener(0, [self._client(log), network, proxy])]
            case "decap":
                network, proxy = chain(self._proxy("cluster1"), log)
                return [self._listener(0, [self._server(log), network, proxy])]
        manager = connection_manager(log)
        manager.route_config.virtual_hosts[0].routes[0].route.cluster = "server"
        manager.upgrade_configs.add(upgrade_type="websocket")
        return [
            self._listener(0, [self._client(log), ("proxy", pack(self._proxy("http")))]),
            self._listener(1, chain(manager, log)),
            self._listener(2, [self._server(log), ("proxy", pack(self._proxy("cluster1")))]),
        ]

    def clusters(self, _log: Path) -> list[Json]:
        """The upstream, and the listeners of a policy case."""
        options = {"per_connection_buffer_limit_bytes": self.limits["upstream"]} if self.limits else {}
        own = dict(zip(("http", "server"), self.ports[1:], strict=False))
        clusters = [http_proxy.cluster(name, (self.ip, port), **options) for name, port in own.items()]
        if original := self.case.get("original_destination"):
            return [
                {"name": "cluster1", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED", **original},
                *clusters,
            ]
        return [http_proxy.cluster("cluster1", (self.ip, self.upstream_port), **options), *clusters]

    def _listener(self, number: int, filters: Filters) -> Any:
        ingress = bool(self.case.get("is_ingress"))
        local = {"endpoint_ip": self.ip, "port": self.upstream_port} | ({} if ingress else {"destination_ip": self.ip})
        metadata = {"is_ingress": ingress, "use_nphds": True, "local_endpoint": local}
        made = listener((self.ip, self.ports[number]), metadata, filters)
        made.name = f"case-{number}"
        if limit := self.limits.get("downstream"):
            made.per_connection_buffer_limit_bytes.value = limit
        return made

    def _client(self, log: Path) -> tuple[str, Any]:
        return self._filter("cilium.WebSocketClient", self.case["websocket_client"], log)

    def _server(self, log: Path) -> tuple[str, Any]:
        return self._filter("cilium.WebSocketServer", self.case["websocket_server"], log)

    @staticmethod
    def _filter(name: str, config: Json, log: Path) -> tuple[str, Any]:
        message = from_dict(name, {"access_log_path": str(log), **config})
        return name, module_filter(message)

    @staticmethod
    def _proxy(cluster: str) -> Any:
        return tcp_proxy(cluster, max_early_data_bytes=EARLY_DATA)
