"""The proxy behind an agent, at scale. The agent is the double of the tests, in the process of the benchmark."""

from __future__ import annotations

import asyncio

from bench.machine import machine


def main(quick: bool) -> None:
    """Measures and prints."""
    # What they import is needed for nothing else.
    from bench.agent import churn, scale

    print(machine() + "\n")
    if quick:
        asyncio.run(scale.measure(policies=500, identities=(50, 500), hosts=10_000, changes=5))
        asyncio.run(churn.measure(policies=500, seconds=10))
    else:
        asyncio.run(scale.measure(policies=5_000, identities=(50, 500), hosts=100_000, changes=21))
        asyncio.run(churn.measure(policies=5_000, seconds=60))
