"""What a parser written in Python costs: r2d2 in Python, r2d2 built in, and no parser, behind one `cilium-proxy run`.

Each peer is a listener with its own policy; messages are the same. Alone: one connection, one message at a time.
Pipelined: eight connections, batches of messages. Each peer takes its turn in every round.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.http.load import cpu_seconds
from bench.http.peers import HOST, free_port, running
from bench.machine import machine
from bench.policy import CLIENT_LABELS, LABELS, policy
from cilium_proxy.supervisor import control

PROXY_CORE, LOAD_CORE = 0, 1
CLIENT = "127.0.0.3"
EXAMPLES = Path(__file__).resolve().parent.parent / "examples/parsers"
PLAIN, RUST, PYTHON = "tcp_proxy", "r2d2 in Rust", "r2d2 in Python"
PARSERS = {PLAIN: None, RUST: "r2d2", PYTHON: "python:r2d2:R2d2"}
LINE, ANSWER = b"READ public/plans\r\n", b"OK\r\n"
CONNECTIONS, BATCH = 8, 50
START_LIMIT = 30.0


@dataclass(frozen=True)
class Sample:
    """Messages per second, the median time of one in microseconds, and the proxy's CPU time of one."""

    rate: float
    latency: float
    cpu: float


def main(rounds: int, seconds: float) -> None:
    """Measures and prints."""
    samples: dict[tuple[str, str], list[Sample]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="cp-") as name,
        _robot() as robot,
        _proxy(Path(name), robot) as (ports, pid),
    ):
        for load in (_alone, _pipelined):
            for port in ports.values():
                load(port, pid, 0.5)
            for _ in range(rounds):
                for peer, port in ports.items():
                    samples.setdefault((load.__name__, peer), []).append(load(port, pid, seconds))
    _print(samples, rounds, seconds)


def _alone(port: int, pid: int, seconds: float) -> Sample:
    times = []
    with _connect(port) as connection:
        before, end = cpu_seconds(pid), time.perf_counter() + seconds
        start = time.perf_counter()
        while start < end:
            connection.sendall(LINE)
            _receive(connection, len(ANSWER))
            now = time.perf_counter()
            times.append(now - start)
            start = now
    used = cpu_seconds(pid) - before
    return Sample(len(times) / seconds, statistics.median(times) * 1e6, used / len(times) * 1e6)


def _pipelined(port: int, pid: int, seconds: float) -> Sample:
    """Sends the next batch of a connection when the last one is answered."""
    done = 0
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        left = {}
        for _ in range(CONNECTIONS):
            connection = stack.enter_context(_connect(port))
            selector.register(connection, selectors.EVENT_READ, connection)
            left[connection] = 0
        before, start = cpu_seconds(pid), time.perf_counter()
        for connection in left:
            connection.sendall(LINE * BATCH)
            left[connection] = BATCH * len(ANSWER)
        while time.perf_counter() < start + seconds:
            for key, _ in selector.select(1):
                connection = key.data
                left[connection] -= len(connection.recv(1 << 16))
                if left[connection] == 0:
                    done += BATCH
                    connection.sendall(LINE * BATCH)
                    left[connection] = BATCH * len(ANSWER)
        elapsed = time.perf_counter() - start
        used = cpu_seconds(pid) - before
    return Sample(done / elapsed, elapsed / (done / BATCH / CONNECTIONS) * 1e6, used / done * 1e6)


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection((HOST, port), START_LIMIT, source_address=(CLIENT, 0))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _receive(connection: socket.socket, size: int) -> None:
    while size > 0:
        got = connection.recv(size)
        if not got:
            raise RuntimeError("the connection was closed")
        size -= len(got)


def serve() -> None:
    """The server: answers each line."""
    selector = selectors.DefaultSelector()
    server = socket.create_server((HOST, int(sys.argv[1])))
    selector.register(server, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is server:
                connection, _ = server.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection, selectors.EVENT_READ)
                continue
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            try:
                data = connection.recv(1 << 16)
                connection.sendall(ANSWER * data.count(b"\n"))
            except OSError:
                data = b""
            if not data:
                selector.unregister(connection)
                connection.close()


@contextlib.contextmanager
def _robot() -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-c", "from bench.python_parsers import serve; serve()", str(port)]
    with running(command, port, LOAD_CORE, {"PYTHONPATH": os.pathsep.join(sys.path)}):
        os.sched_setaffinity(0, {LOAD_CORE})
        yield port


@contextlib.contextmanager
def _proxy(directory: Path, upstream: int) -> Iterator[tuple[dict[str, int], int]]:
    """Ports of the peers, and Envoy's process."""
    ports = {peer: free_port() for peer in PARSERS}
    config = {
        "endpoints": [{"name": "droid", "labels": LABELS, "ips": ["10.0.0.1"]}],
        "identities": [{"name": "pilot", "labels": CLIENT_LABELS, "cidrs": [f"{CLIENT}/32"]}],
        "listeners": [
            {
                "name": peer.replace(" ", "-"),
                "direction": "ingress",
                "address": f"{HOST}:{port}",
                "endpoint": "droid",
                "upstream": f"{HOST}:{upstream}",
                "protocol": "tcp",
            }
            for peer, port in ports.items()
        ],
        "policies": ["policies.json"],
        "parsers": {"directories": [str(EXAMPLES)]},
        "access_log": False,
        "admin": False,
        "concurrency": 1,
    }
    (directory / "proxy.yaml").write_text(json.dumps(config))
    to_ports = [_entry(port, PARSERS[peer]) for peer, port in ports.items()]
    (directory / "policies.json").write_text(policy(to_ports))
    state = directory / "state"
    command = [
        sys.executable,
        "-m",
        "cilium_proxy",
        "run",
        "-c",
        str(directory / "proxy.yaml"),
        "--state-dir",
        str(state),
    ]
    with running(command, ports[PYTHON], PROXY_CORE):
        yield ports, control.ask(state / "control.sock", "status")["envoy"]["pid"]


def _entry(port: int, parser: str | None) -> dict[str, object]:
    entry: dict[str, object] = {"ports": [{"port": str(port), "protocol": "TCP"}]}
    if parser is not None:
        entry["rules"] = {"l7proto": parser, "l7": [{"cmd": "READ", "file": "^public/"}, {"cmd": "HALT"}]}
    return entry


def _print(samples: dict[tuple[str, str], list[Sample]], rounds: int, seconds: float) -> None:
    print(machine())
    print(f"Envoy on one core, both ends on the other; {rounds} rounds of {seconds:g} s, medians; no access log\n")
    print(f"{'':28}{'messages/s':>12}{'to plain':>10}{'us':>8}{'CPU us':>9}")
    for load, name in ((_alone, "alone"), (_pipelined, "pipelined")):
        base = samples[load.__name__, PLAIN]
        for peer in PARSERS:
            own = samples[load.__name__, peer]
            ratio = statistics.median(one.rate / other.rate for one, other in zip(own, base, strict=True))
            rate, latency, cpu = (
                statistics.median(getattr(one, field) for one in own) for field in ("rate", "latency", "cpu")
            )
            print(f"{name + ', ' + peer:28}{rate:12,.0f}{ratio:10.2f}{latency:8.0f}{cpu:9.1f}")
    print("\nus: of a message, or of a batch of one of the connections\n")
