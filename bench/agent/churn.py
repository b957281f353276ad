"""Updates all the time, while requests pass."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.agent import resources
from tests.agent.double import CLUSTERS, HOSTS, LISTENERS, POLICIES
from tests.integration.addresses import free_port

from bench.agent import shapes
from bench.agent.proxy import Proxy, started
from cilium_proxy.api import serialise

ENVOY_CORE, OTHER_CORE = 0, 1
REQUESTS, UPDATES = 400, 1000
# Of the updates, every so many are of the policy that the requests are judged by.
OWN = 10
IDENTITIES = 50
OWN_NUMBER = 1_000_000
# Whoever measures must not wait for those who work: agent and relay are on the same core.
FIRST = ("chrt", "--fifo", "1")
BACKEND = Path(__file__).parents[2] / "tests/integration/backend.py"


async def measure(policies: int, seconds: float) -> None:
    """Measures and prints."""
    for transport in ("split", "delta"):
        port = free_port(shapes.POD)
        os.sched_setaffinity(0, {OTHER_CORE})
        async with (
            _process(*FIRST, sys.executable, str(BACKEND), shapes.POD, str(port)),
            started(transport, host=shapes.POD, backend=port) as proxy,
        ):
            known = shapes.policies(policies, IDENTITIES)
            await _serve(proxy, known)
            _pin(proxy.envoy)
            arguments = (proxy.node.host, str(proxy.node.port), shapes.CLIENT_ADDRESS, str(REQUESTS))
            async with _process(*FIRST, sys.executable, "-m", "bench.agent.load", *arguments) as load:
                await asyncio.sleep(1)
                await _outcomes(load)
                quiet = await _while(load, asyncio.sleep(seconds / 2))
                cpu = proxy.cpu()
                churn, busy = _Churn(proxy, known), None
                busy = await _while(load, churn.run(seconds))
                used = [after - before for after, before in zip(proxy.cpu(), cpu, strict=True)]
                after = await _while(load, asyncio.sleep(seconds / 2))
        _print(transport, policies, seconds, churn, used, {"before": quiet, "meanwhile": busy, "afterwards": after})


def _pin(pid: int) -> None:
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {ENVOY_CORE})


def _own(turn: int) -> bytes:
    """The policy of the requests, which go on being allowed."""
    rules = [resources.path_rule("/api/v1/things", shapes.CLIENT), resources.path_rule(f"/{turn}", shapes.CLIENT)]
    return serialise(resources.policy(shapes.POD, OWN_NUMBER, rules))


async def _serve(proxy: Proxy, known: dict[str, bytes]) -> None:
    peers = {str(shapes.CLIENT): shapes.host(shapes.CLIENT, f"{shapes.CLIENT_ADDRESS}/32")}
    listener = proxy.node.http(ingress=True)
    for url, found in (
        (HOSTS, peers),
        (POLICIES, {str(OWN_NUMBER): _own(0), **known}),
        (CLUSTERS, {}),
        (LISTENERS, {listener.name: listener}),
    ):
        await proxy.push(url, found)


class _Churn:
    """Changes policies at a steady rate; the agent sends what has changed when it has the ACK for what it sent."""

    def __init__(self, proxy: Proxy, known: dict[str, bytes]) -> None:
        self.proxy = proxy
        self.names = list(known)
        self.updates = 0
        self.transactions = 0
        self.ages: list[float] = []

    async def run(self, seconds: float) -> None:
        agent, start = self.proxy.agent, time.monotonic()
        made: list[tuple[int, float]] = []
        first, seen = len(agent.answers), len(agent.answers)
        while (now := time.monotonic()) < start + seconds:
            changed = {}
            for _ in range(int((now - start) * UPDATES) - self.updates):
                self.updates += 1
                turn = self.updates
                if turn % OWN == 0:
                    changed[str(OWN_NUMBER)] = _own(turn)
                else:
                    name = self.names[turn % len(self.names)]
                    changed[name] = shapes.policy(int(name), IDENTITIES, f"/api/{turn}/.*")
                # The agent would tell of each by itself.
                made.append((await self._tell(changed), now))
                changed = {}
            await asyncio.sleep(0.001)
            for answer in agent.answers[seen:]:
                seen += 1
                if answer.error is not None:
                    raise RuntimeError(answer.error)
                while made and made[0][0] <= int(answer.version):
                    self.ages.append(time.monotonic() - made.pop(0)[1])
        self.transactions = seen - first

    async def _tell(self, changed: dict[str, bytes]) -> int:
        return int(await self.proxy.agent.change(POLICIES, changed))


@contextlib.asynccontextmanager
async def _process(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def _outcomes(load: asyncio.subprocess.Process) -> dict[str, Any]:
    assert load.stdin is not None
    assert load.stdout is not None
    load.stdin.write(b"\n")
    found: dict[str, Any] = json.loads(await load.stdout.readline())
    return found


async def _while(load: asyncio.subprocess.Process, work: Any) -> dict[str, Any]:
    await _outcomes(load)
    await work
    return await _outcomes(load)


def _print(
    transport: str, policies: int, seconds: float, churn: _Churn, used: list[float], phases: dict[str, dict[str, Any]]
) -> None:
    ages = sorted(churn.ages)
    print(
        f"{transport}: {policies:,} policies, {churn.updates / seconds:,.0f} updates/s for {seconds:g} s in "
        f"{churn.transactions:,} transactions; age at the ACK: median {ages[len(ages) // 2] * 1e3:.1f} ms, "
        f"p99 {ages[len(ages) * 99 // 100] * 1e3:.1f} ms; "
        f"CPU: relay {used[0] / seconds:.0%}, Envoy {used[1] / seconds:.0%}"
    )
    for name, outcome in phases.items():
        print(
            f"  {name:12}{outcome['requests']:7,} requests, {len(outcome['failures'])} failed; "
            f"p50 {outcome['p50'] * 1e3:.2f} ms, p99 {outcome['p99'] * 1e3:.2f} ms, most {outcome['most'] * 1e3:.1f} ms"
        )
        for reason in sorted(set(outcome["failures"]))[:5]:
            print(f"    {reason}")
    print(flush=True)
