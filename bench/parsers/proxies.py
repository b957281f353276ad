"""The proxies that are compared, with a listener for each shape, and the server behind them."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.http.peers import HOST, cilium_proxy, envoy_command, running
from bench.parsers.shapes import Shape, to_ports
from bench.policy import CLIENT_LABELS, LABELS, policy

PROXY_CORE, LOAD_CORE = 0, 1
PLAIN, ALLOWED, PARSED = "tcp_proxy", "policy without rules", "parser"
PEERS = (PLAIN, ALLOWED, PARSED)

Ports = dict[str, int]


@dataclass(frozen=True)
class Proxies:
    """Where the peers listen for each shape, and their processes."""

    ports: dict[str, Ports]
    pids: dict[str, int]


@contextlib.contextmanager
def proxies(shapes: list[Shape], directory: Path) -> Iterator[Proxies]:
    """Starts the server and the proxies."""
    names = [shape.name for shape in shapes]
    free = iter(_free(len(names) * (len(PEERS) + 1)))
    servers, *others = [
        dict(zip(names, itertools.islice(free, len(names)), strict=True)) for _ in range(len(PEERS) + 1)
    ]
    ports = dict(zip(PEERS, others, strict=True))
    serve = [sys.executable, "-c", "from bench.parsers.load import serve; serve()", *map(str, servers.values())]
    plain = envoy_command(_plain(ports[PLAIN], servers), directory / "envoy.json")
    config, last = _standalone(ports, servers, directory), shapes[-1].name
    with (
        running(serve, servers[last], LOAD_CORE, {"PYTHONPATH": os.pathsep.join(sys.path)}),
        running(plain, ports[PLAIN][last], PROXY_CORE) as plain_pid,
        cilium_proxy(config, ports[PARSED][last], directory, PROXY_CORE) as pid,
    ):
        yield Proxies(ports, {PLAIN: plain_pid, ALLOWED: pid, PARSED: pid})


def _free(count: int) -> list[int]:
    """Ports that differ."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]


def _standalone(ports: dict[str, Ports], servers: Ports, directory: Path) -> dict[str, Any]:
    """Writes the policy; proxy.yaml."""
    (directory / "policy.json").write_text(policy(to_ports(ports[PARSED], ports[ALLOWED])))
    listeners = [
        {
            "name": f"{peer} {name}",
            "direction": "ingress",
            "address": f"{HOST}:{port}",
            "endpoint": "bench",
            "upstream": f"{HOST}:{servers[name]}",
            "protocol": "tcp",
        }
        for peer in (ALLOWED, PARSED)
        for name, port in ports[peer].items()
    ]
    return {
        "endpoints": [{"name": "bench", "labels": LABELS, "ips": ["127.0.0.2"]}],
        "identities": [{"name": "client", "labels": CLIENT_LABELS, "cidrs": ["127.0.0.1/32"]}],
        "listeners": listeners,
        "policies": ["policy.json"],
        "access_log": False,
        "admin": False,
        "concurrency": 1,
    }


def _plain(ports: Ports, servers: Ports) -> dict[str, Any]:
    listeners = [_listener(port, str(servers[name])) for name, port in ports.items()]
    clusters = [_cluster(str(port), port) for port in servers.values()]
    return {"static_resources": {"listeners": listeners, "clusters": clusters}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": HOST, "port_value": port}}


def _listener(port: int, cluster: str) -> dict[str, Any]:
    proxy = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "tcp",
        "cluster": cluster,
    }
    chain = {"filters": [{"name": "tcp", "typed_config": proxy}]}
    return {"name": str(port), "address": _address(port), "filter_chains": [chain]}


def _cluster(name: str, port: int) -> dict[str, Any]:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}]
    assignment = {"cluster_name": name, "endpoints": endpoints}
    return {"name": name, "type": "STATIC", "load_assignment": assignment}
