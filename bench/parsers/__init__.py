"""What a parser costs: requests/s, CPU and latency of its protocol against plain TCP proxying of the same bytes.

One Envoy has a plain `tcp_proxy`, another is that of `cilium-proxy run`, with a listener that only allows the
connection and one whose rules name the parser. All three go to the same server. Each takes its turn in every round.
"""

from __future__ import annotations

import operator
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.http.load import cpu_seconds
from bench.machine import machine
from bench.parsers.load import exchange
from bench.parsers.proxies import LOAD_CORE, PEERS, PLAIN, Proxies, proxies
from bench.parsers.shapes import SHAPES, Shape

CONNECTIONS = 8


def main(rounds: int, seconds: float) -> None:
    """Measures and prints."""
    print(machine())
    print("Envoy with one worker on one core, client and server on the other, no access log;")
    print(
        f"{rounds} rounds of {seconds:g} s: {CONNECTIONS} connections for requests/s and the proxy's CPU per request,"
    )
    print("then one request at a time for the round trip. Medians; what is compared is of the same round.\n")
    print(f"{'':44}{'requests/s':>12}{'ratio':>7}{'CPU us':>9}{'more':>8}{'RTT us':>9}{'more':>8}", flush=True)
    with tempfile.TemporaryDirectory(prefix="cilium-bench-") as name, proxies(SHAPES, Path(name)) as running:
        for shape in SHAPES:
            _compare(shape, running, rounds, seconds)
    print()


def _compare(shape: Shape, running: Proxies, rounds: int, seconds: float) -> None:
    os.sched_setaffinity(0, {LOAD_CORE})
    rates: dict[str, list[float]] = {peer: [] for peer in PEERS}
    costs: dict[str, list[float]] = {peer: [] for peer in PEERS}
    waits: dict[str, list[float]] = {peer: [] for peer in PEERS}
    for _ in range(rounds):
        for peer in PEERS:
            port, pid = running.ports[peer][shape.name], running.pids[peer]
            before = cpu_seconds(pid)
            sample = exchange(port, shape, CONNECTIONS, seconds, together=True)
            rates[peer].append(sample.count / sample.seconds)
            costs[peer].append((cpu_seconds(pid) - before) / sample.count * 1e6)
            waits[peer].append(exchange(port, shape, 1, seconds / 2, together=False).round_trip * 1e6)
    for peer in PEERS:
        ratio = _median_of(rates[peer], rates[PLAIN], operator.truediv)
        cost, more_cost = statistics.median(costs[peer]), _median_of(costs[peer], costs[PLAIN], operator.sub)
        wait, more_wait = statistics.median(waits[peer]), _median_of(waits[peer], waits[PLAIN], operator.sub)
        label = f"{shape.name}, {peer}"
        print(
            f"{label:44}{statistics.median(rates[peer]):12,.0f}{ratio:7.2f}"
            f"{cost:9.2f}{more_cost:+8.2f}{wait:9.0f}{more_wait:+8.0f}",
            flush=True,
        )


def _median_of(own: list[float], plain: list[float], combine: Callable[[float, float], float]) -> float:
    return statistics.median(map(combine, own, plain))
