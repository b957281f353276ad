"""Behind an agent, another Envoy takes over while requests flow."""

import asyncio
import contextlib
import signal
import subprocess

import pytest
from tests.agent import resources
from tests.agent.conftest import POD
from tests.agent.double import POLICIES
from tests.agent.starter import capabilities, privileged
from tests.agent.test_starter import listener_mark
from tests.agent.test_traffic import ALLOWED, enforce, mode_options, status
from tests.proxy_process import PROGRAM


@contextlib.asynccontextmanager
async def requests(client):
    """Requests over kept and over new connections, until the end; the list of their statuses grows."""
    done, found = asyncio.Event(), []

    async def kept():
        connection = client()
        while not done.is_set():
            found.append(await status(connection, "/public"))

    async def new():
        while not done.is_set():
            connection = client()
            found.append(await status(connection, "/public"))
            await connection.aclose()

    loads = [asyncio.create_task(one()) for one in (kept, kept, new, new)]
    try:
        yield found
    finally:
        done.set()
        await asyncio.gather(*loads)


async def more(found, count=100):
    target = len(found) + count
    async with asyncio.timeout(40):
        while len(found) < target:
            await asyncio.sleep(0.01)


async def until_serving(proxy, old=None):
    """Waits for an Envoy other than `old`; returns its process id."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(Exception):
                now = await asyncio.to_thread(proxy.status)
                if now["state"] == "running" and now["envoy"]["pid"] not in (None, old):
                    return now["envoy"]["pid"]
            await asyncio.sleep(0.05)


def restart(proxy):
    return subprocess.run([*PROGRAM, "restart", "--state-dir", str(proxy.state)], capture_output=True, text=True)


async def test_no_request_fails_while_another_envoy_takes_over(agent, node, bootstrap, run, client):
    proxy = run(bootstrap())
    await enforce(agent, node)
    before = await until_serving(proxy)
    async with requests(client) as found:
        await more(found)
        result = await asyncio.to_thread(restart, proxy)
        assert result.returncode == 0, result.stderr
        await more(found)
        # Acknowledged means that both enforce it.
        answer = await agent.push(POLICIES, {"7": resources.policy(POD, rules=[*ALLOWED, resources.path_rule("/new")])})
        assert answer.error is None
        assert await status(client(), "/new") == 200
        await more(found)
    assert set(found) == {200}
    assert await until_serving(proxy, before) != before


@pytest.mark.parametrize("mode", ["split", "delta", "delta-ads"])
async def test_envoy_enforces_on_without_its_proxy_and_the_next_one_takes_over(
    agent, node, bootstrap, run, client, mode
):
    agent.serves, options = mode_options(mode)
    agent.serves |= {"split", "ads"}
    made = bootstrap(**options)
    proxy = run(made)
    await enforce(agent, node)
    # What is one response where the whole state is asked for, and several where differences are.
    others = {str(number): resources.policy(f"10.9.0.{number}", number) for number in range(10, 14)}
    policies = others | {"7": resources.policy(POD, rules=ALLOWED)}
    assert (await agent.push(POLICIES, policies)).error is None
    before = await until_serving(proxy)
    agent.most, agent.delay, agent.spoken = 1, 0.1, []
    async with requests(client) as found:
        await more(found)
        proxy.stop(signal.SIGKILL)
        await more(found)
        successor = run(made)
        await until_serving(successor, before)
        await more(found)
    assert set(found) == {200}
    assert await status(client(), "/private") == 403
    # The whole state first, since nobody knows when differences are all there is; then what the bootstrap says.
    assert agent.spoken[0] == {"delta": "split", "delta-ads": "ads"}.get(mode, mode)
    assert agent.spoken[-1] == mode


async def test_no_other_envoy_takes_over_before_the_agent_has_sent_the_state_again(agent, node, bootstrap, run, client):
    made = bootstrap()
    proxy = run(made)
    await enforce(agent, node)
    before = await until_serving(proxy)
    proxy.stop(signal.SIGKILL)
    await agent.stop()
    successor = run(made)
    assert await until_serving(successor) == before
    assert await status(client(), "/public") == 200
    await agent.restart()
    await enforce(agent, node)
    await until_serving(successor, before)
    assert await status(client(), "/public") == 200


async def test_a_new_envoy_that_does_not_start_leaves_the_old_one_serving(agent, node, bootstrap, run, client):
    made = bootstrap()
    proxy = run(made)
    await enforce(agent, node)
    before = await until_serving(proxy)
    proxy.stop(signal.SIGKILL)
    successor = run(made, "--unprivileged", "--", "--no-such-option")
    line = await asyncio.to_thread(successor.wait_for, "no other Envoy takes over")
    assert "Envoy does not start" in line
    # It gets what is new from the new proxy all the same.
    assert (await agent.push(POLICIES, {"7": resources.policy(POD, rules=[resources.path_rule("/new")])})).error is None
    assert [await status(client(), path) for path in ("/new", "/public")] == [200, 403]
    assert await until_serving(successor) == before


@privileged
async def test_privileges_outlive_the_proxy_and_go_to_the_next_envoy(agent, node, bootstrap, start, client):
    made = bootstrap()
    proxy = start(made)
    await enforce(agent, node)
    before = await until_serving(proxy)
    async with requests(client) as found:
        await more(found)
        proxy.stop(signal.SIGKILL)
        await more(found)
        successor = start(made)
        after = await until_serving(successor, before)
        await more(found)
    assert set(found) == {200}
    assert [set(capabilities(envoy).values()) for envoy in (before, after)] == [{0}, {0}]
    assert listener_mark(after, node.port) == 0x0A00
