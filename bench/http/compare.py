"""The table: every peer takes its turn in every round, and each figure is the median of the rounds."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from bench.http import envoy, load, peers
from bench.http.load import Sample
from bench.http.peers import HOST, Peer
from bench.http.rules import ALLOWED_PATH, DENIED_PATH
from bench.machine import machine

PROXY_CORE, LOAD_CORE = 0, 1
CONNECTIONS = 32
BASE = "plain Envoy"

Start = Callable[[str, int, Path, int], AbstractContextManager[Peer]]

PEERS: dict[str, Start] = {
    BASE: partial(peers.plain_envoy, envoy.plain),
    "Envoy + stock RBAC filter": partial(peers.plain_envoy, envoy.rbac),
    "Envoy + RBAC, Envoy's access log": partial(peers.plain_envoy, envoy.rbac_logged),
    "Envoy + Cilium filters": partial(peers.with_module, False),
    "Envoy + Cilium filters, access log": partial(peers.with_module, True),
    "cilium-proxy run": partial(peers.standalone, False),
    "cilium-proxy run, access log to a file": partial(peers.standalone, {"file": "access.log"}),
    "HAProxy": peers.haproxy,
    "nginx": peers.nginx,
}


def main(rounds: int, seconds: float) -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory(prefix="cilium-bench-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        backend = stack.enter_context(peers.backend(directory, LOAD_CORE))
        running = []
        for number, (peer_name, start) in enumerate(PEERS.items()):
            own = directory / str(number)
            own.mkdir()
            running.append(stack.enter_context(start(peer_name, backend, own, PROXY_CORE)))
        for peer in running:
            _check(peer)
        samples = _measure(running, rounds, seconds)
    _print(samples, rounds, seconds)


def _check(peer: Peer) -> None:
    """Every peer really allows the one path, and all but the plain one really deny the other."""
    for path, wanted in ((ALLOWED_PATH, "200"), (DENIED_PATH, "200" if peer.name == BASE else "403")):
        url = f"http://{HOST}:{peer.port}{path}"
        command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url]
        got = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        if got != wanted:
            raise RuntimeError(f"{peer.name}: {path} gave {got}, not {wanted}")


def _measure(running: list[Peer], rounds: int, seconds: float) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {peer.name: [] for peer in running}
    for _ in range(rounds):
        for peer in running:
            url = f"http://{HOST}:{peer.port}{ALLOWED_PATH}"
            sample = load.run(url, peer.pid, seconds=seconds, connections=CONNECTIONS, core=LOAD_CORE)
            samples[peer.name].append(sample)
    return samples


def _print(samples: dict[str, list[Sample]], rounds: int, seconds: float) -> None:
    print(machine())
    print(
        f"proxy on one core, load and backend on the other; {CONNECTIONS} connections, {rounds} rounds of {seconds:g} s"
    )
    print("ratios are to plain Envoy in the same round; CPU ratio: plain Envoy's CPU per request by the peer's\n")
    print(f"{'':42}{'requests/s':>11}{'ratio':>8}{'CPU us/request':>16}{'ratio':>8}{'p99 ms':>9}")
    base = samples[BASE]
    for name, own in samples.items():
        rate = statistics.median(sample.rate for sample in own)
        cpu = statistics.median(sample.cpu_us for sample in own)
        p99 = statistics.median(sample.p99_ms for sample in own)
        rates = statistics.median(sample.rate / other.rate for sample, other in zip(own, base, strict=True))
        costs = statistics.median(other.cpu_us / sample.cpu_us for sample, other in zip(own, base, strict=True))
        print(f"{name:42}{rate:11,.0f}{rates:8.2f}{cpu:16.1f}{costs:8.2f}{p99:9.2f}")
    print()
