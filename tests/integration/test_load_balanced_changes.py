"""Policies that change while connections are made, on two workers: no verdict is wrong.

Each connection belongs to a round in which one policy is in force from before its start to after its end, so its
verdict is known. A short run is part of the normal tests, tests/soak has the long one.
"""

import asyncio
import contextlib

import pytest
from tests.integration import balancer
from tests.integration.balancer import BAD, BAD_ID, GOOD, GOOD_ID

AT_ONCE = 50


async def greeting(proxy):
    """What a silent client hears; the servers name themselves."""
    with contextlib.suppress(ConnectionError):
        reader, writer = await proxy.connect()
        with contextlib.closing(writer):
            async with asyncio.timeout(60):
                return await reader.read(10)
    return b""


async def no_verdict_is_wrong(connections):
    """Makes that many connections; the policy changes after each batch."""
    async with (
        balancer.server(GOOD, greeting=b"good") as good,
        balancer.server(BAD, greeting=b"bad") as bad,
        balancer.start(good, bad, concurrency=2) as proxy,
    ):
        heard = {b"good": 0, b"bad": 0, b"": 0}
        for index in range(connections // AT_ONCE):
            allowed, name = ((GOOD_ID, b"good"), (BAD_ID, b"bad"))[index % 2]
            await proxy.policies(balancer.balancer(egress=[{"remote_policies": [allowed]}]))
            for answer in await asyncio.gather(*(greeting(proxy) for _ in range(AT_ONCE))):
                assert answer in (name, b""), f"{answer} where only {name} was allowed"
                heard[answer] += 1
        # Both hosts took their turns, and each was refused in half of the rounds.
        assert all(heard.values())
        assert heard[b""] == pytest.approx(connections / 2, rel=0.2)
        assert good.received == bad.received == b""


async def test_no_verdict_is_wrong_while_policies_change():
    await no_verdict_is_wrong(1000)
