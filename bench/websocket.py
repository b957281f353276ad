"""Throughput of TCP in a websocket against TCP as it is, through the same two listeners of one Envoy.

A client filter wraps and a server filter unwraps; in between lies a loopback connection, as between two nodes. The
plain peer has the same listeners without the filters. Each takes its turn in every round.
"""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.http.load import cpu_seconds
from bench.http.peers import HOST, envoy_command, free_port, running
from bench.machine import machine
from cilium_proxy import _native
from cilium_proxy.api import from_dict, to_dict
from cilium_proxy.rewrite.dynamic_module import module_filter

PROXY_CORE, LOAD_CORE = 0, 1
CHUNK = 1 << 18
UPLOAD, DOWNLOAD = b"u", b"d"
DIRECTIONS = {"to the server": UPLOAD, "from the server": DOWNLOAD}
PLAIN, WEBSOCKET = "tcp_proxy", "websocket"

Json = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """One transfer: bytes per second, and the proxy's CPU seconds per byte."""

    rate: float
    cpu: float


def main(rounds: int, mebibytes: int) -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory(prefix="cilium-bench-") as name, _backend() as backend:
        ports = {PLAIN: (free_port(), free_port()), WEBSOCKET: (free_port(), free_port())}
        command = envoy_command(_config(ports, backend), Path(name) / "envoy.json")
        modules = {"ENVOY_DYNAMIC_MODULES_SEARCH_PATH": str(_native.DIRECTORY)}
        samples: dict[tuple[str, str], list[Sample]] = {}
        with running(command, ports[WEBSOCKET][0], PROXY_CORE, modules) as pid:
            for peer in ports:
                _transfer(ports[peer][0], pid, UPLOAD, 16 << 20)
            for _ in range(rounds):
                for direction, code in DIRECTIONS.items():
                    for peer in ports:
                        sample = _transfer(ports[peer][0], pid, code, mebibytes << 20)
                        samples.setdefault((direction, peer), []).append(sample)
    _print(samples, rounds, mebibytes)


def _transfer(port: int, pid: int, direction: bytes, size: int) -> Sample:
    """Sends that many bytes one way; returns when the other end has had them all."""
    with socket.create_connection((HOST, port)) as connection:
        connection.sendall(direction + size.to_bytes(8, "big"))
        before, start = cpu_seconds(pid), time.monotonic()
        if direction == UPLOAD:
            _send(connection, size)
            connection.recv(1)
        else:
            _receive(connection, size)
        elapsed = time.monotonic() - start
        return Sample(size / elapsed, (cpu_seconds(pid) - before) / size)


def _send(connection: socket.socket, size: int) -> None:
    data = bytes(CHUNK)
    for _ in range(size // CHUNK):
        connection.sendall(data)


def _receive(connection: socket.socket, size: int) -> None:
    buffer = bytearray(CHUNK)
    while size > 0:
        got = connection.recv_into(buffer)
        if got == 0:
            raise RuntimeError(f"the connection ended {size} bytes early")
        size -= got


def serve() -> None:
    """The server: takes or sends as the first nine bytes of a connection say."""
    with socket.create_server((HOST, int(sys.argv[1]))) as server:
        while True:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError, RuntimeError):
                head = b""
                while len(head) < 9:
                    head += connection.recv(9 - len(head)) or b"?" * 9
                size = int.from_bytes(head[1:9], "big")
                if head[:1] == UPLOAD:
                    _receive(connection, size)
                    connection.sendall(b"!")
                elif head[:1] == DOWNLOAD:
                    _send(connection, size)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(CHUNK):
                    pass


@contextlib.contextmanager
def _backend() -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-c", "from bench.websocket import serve; serve()", str(port)]
    path = os.pathsep.join(sys.path)
    with running(command, port, LOAD_CORE, {"PYTHONPATH": path}):
        os.sched_setaffinity(0, {LOAD_CORE})
        yield port


def _config(ports: dict[str, tuple[int, int]], backend: int) -> Json:
    filters: dict[str, tuple[Any, Any]] = {
        PLAIN: (None, None),
        WEBSOCKET: (
            from_dict("cilium.WebSocketClient", {"host": "bench"}),
            from_dict("cilium.WebSocketServer", {"host": "bench"}),
        ),
    }
    listeners, clusters = [], [_cluster("backend", backend)]
    for peer, (first, second) in ports.items():
        client, server = filters[peer]
        listeners += [_listener(first, peer, client), _listener(second, "backend", server)]
        clusters.append(_cluster(peer, second))
    return {"static_resources": {"listeners": listeners, "clusters": clusters}}


def _listener(port: int, cluster: str, filter_config: Any) -> Json:
    proxy: Json = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "tcp",
        "cluster": cluster,
    }
    filters: list[Json] = [{"name": "tcp", "typed_config": proxy}]
    if filter_config is not None:
        proxy["max_early_data_bytes"] = 1 << 16
        filters.insert(0, {"name": "websocket", "typed_config": to_dict(module_filter(filter_config))})
    return {
        "name": str(port),
        "address": {"socket_address": {"address": HOST, "port_value": port}},
        "filter_chains": [{"filters": filters}],
    }


def _cluster(name: str, port: int) -> Json:
    endpoint = {"endpoint": {"address": {"socket_address": {"address": HOST, "port_value": port}}}}
    return {
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _print(samples: dict[tuple[str, str], list[Sample]], rounds: int, mebibytes: int) -> None:
    print(machine())
    print(f"Envoy with one worker on one core, both ends on the other; {rounds} rounds of {mebibytes} MiB, two hops")
    print("ratios are to tcp_proxy in the same round; CPU ratio: tcp_proxy's CPU per byte by the websocket's\n")
    print(f"{'':30}{'MiB/s':>10}{'ratio':>8}{'CPU ms/MiB':>12}{'ratio':>8}")
    for direction in DIRECTIONS:
        base = samples[direction, PLAIN]
        for peer in (PLAIN, WEBSOCKET):
            own = samples[direction, peer]
            rate = statistics.median(sample.rate for sample in own) / (1 << 20)
            cpu = statistics.median(sample.cpu for sample in own) * (1 << 20) * 1e3
            rates = statistics.median(sample.rate / other.rate for sample, other in zip(own, base, strict=True))
            costs = statistics.median(other.cpu / sample.cpu for sample, other in zip(own, base, strict=True))
            print(f"{peer + ' ' + direction:30}{rate:10,.0f}{rates:8.2f}{cpu:12.2f}{costs:8.2f}")
    print()
