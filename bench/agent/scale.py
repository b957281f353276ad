"""Large states: how long until the agent has its ACK, what they cost, and what one change in them costs."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

from tests.agent.double import HOSTS, POLICIES

from bench.agent import shapes
from bench.agent.proxy import Proxy, started

TRANSPORTS = ("split", "delta")
NAMES = {"split": "state of the world", "delta": "incremental"}


@dataclass
class Cost:
    """Of an update: seconds until the ACK, CPU seconds of relay and Envoy, the longest the relay did not answer."""

    seconds: float
    relay: float
    envoy: float
    silent: float


async def measure(policies: int, identities: tuple[int, ...], hosts: int, changes: int) -> None:
    """Measures and prints."""
    print(f"{'':50}{'MiB':>7}{'ACK s':>8}{'CPU s relay':>12}{'Envoy':>7}{'silent ms':>11}{'MiB relay':>11}{'Envoy':>7}")
    for transport in TRANSPORTS:
        for count in identities:
            name = f"{policies:,} policies of {count} identities"
            await _state(name, transport, POLICIES, shapes.policies(policies, count), changes)
        await _state(f"{hosts:,} identities", transport, HOSTS, shapes.hosts(hosts), changes)
    print()


async def _state(name: str, transport: str, url: str, resources: dict[str, bytes], changes: int) -> None:
    async with started(transport) as proxy, _asking(proxy) as asking:
        for kind in (POLICIES, HOSTS):
            await proxy.push(kind, {})
        before = proxy.memory()
        cost = await _push(proxy, asking, url, resources)
        grown = [after - at_start for after, at_start in zip(proxy.memory(), before, strict=True)]
        sent = sum(map(len, resources.values())) / (1 << 20)
        _print(f"{NAMES[transport]}: {name}", sent, cost, f"{grown[0]:11,.0f}{grown[1]:7,.0f}")
        costs = []
        for turn in range(changes):
            number = 300 + turn
            if url == POLICIES:
                value = shapes.policy(number, 50, f"/changed/{turn}/.*")
            else:
                value = shapes.host(number, f"192.168.{turn}.1/32")
            costs.append(await _push(proxy, asking, url, {**resources, str(number): value}))
        middle = Cost(
            *(statistics.median(getattr(cost, field) for cost in costs) for field in Cost.__dataclass_fields__)
        )
        _print("  one change", sent if transport == "split" else 0, middle, "")


def _print(name: str, sent: float, cost: Cost, memory: str) -> None:
    print(
        f"{name:50}{sent:7.1f}{cost.seconds:8.3f}{cost.relay:12.3f}{cost.envoy:7.3f}{cost.silent * 1e3:11.0f}{memory}",
        flush=True,
    )


async def _push(proxy: Proxy, asking: Asking, url: str, resources: dict[str, bytes]) -> Cost:
    await asking.longest()
    relay, envoy = proxy.cpu()
    answer = await proxy.push(url, resources)
    after = proxy.cpu()
    return Cost(answer.seconds, after[0] - relay, after[1] - envoy, await asking.longest())


class Asking:
    """Another process that asks the relay for its status all the while."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def longest(self) -> float:
        """The longest time in seconds that an answer took since the last call."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        return float(await self._process.stdout.readline())


@contextlib.asynccontextmanager
async def _asking(proxy: Proxy) -> AsyncIterator[Asking]:
    command = [sys.executable, "-m", "bench.agent.asking", str(proxy.state / "control.sock")]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    try:
        yield Asking(process)
    finally:
        process.kill()
        await process.wait()
