"""With the real Envoy, on a configuration without the module."""

import asyncio
import os
import signal

import pytest
from tests.unit.supervisor.rig import get

from cilium_proxy.supervisor.backoff import Backoff
from cilium_proxy.supervisor.process import envoy_pid
from cilium_proxy.supervisor.supervisor import StartError


async def test_envoy_runs_until_it_is_stopped(rig):
    supervisor = rig.supervisor()
    running = asyncio.create_task(supervisor.run())
    await supervisor.ready.wait()
    assert supervisor.state == "running"
    supervisor.stop()
    await running
    assert (supervisor.state, supervisor.crashes, supervisor.last_exit) == ("stopped", 0, "exit code 0")


async def test_a_crashed_envoy_is_started_again(rig):
    supervisor = rig.supervisor()
    running = asyncio.create_task(supervisor.run())
    await supervisor.ready.wait()
    first = envoy_pid(supervisor.serving.process)
    os.kill(first, signal.SIGKILL)
    while supervisor.crashes == 0:
        await asyncio.sleep(0.01)
    await supervisor.ready.wait()
    assert envoy_pid(supervisor.serving.process) != first
    assert supervisor.last_exit == "signal SIGKILL"
    supervisor.stop()
    await running


async def test_an_envoy_that_never_was_ready_is_not_tried_again_and_its_errors_are_shown(rig):
    rig.bootstrap["static_resources"]["listeners"][0]["nonsense"] = 1
    supervisor = rig.supervisor()
    with pytest.raises(StartError, match="nonsense"):
        await supervisor.run()
    assert supervisor.crashes == 0


async def test_connections_are_asked_to_go_before_envoy_ends(rig):
    supervisor = rig.supervisor(drain_time=10)
    running = asyncio.create_task(supervisor.run())
    await supervisor.ready.wait()
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    assert b"connection: close" not in await get(reader, writer)
    supervisor.stop()
    while b"connection: close" not in await get(reader, writer):
        await asyncio.sleep(0.01)
    assert not running.done()
    writer.close()
    await running


async def test_a_second_stop_does_not_wait_for_connections(rig):
    supervisor = rig.supervisor(drain_time=600)
    running = asyncio.create_task(supervisor.run())
    await supervisor.ready.wait()
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    await get(reader, writer)
    supervisor.stop()
    await asyncio.sleep(0.2)
    assert not running.done()
    supervisor.stop()
    async with asyncio.timeout(15):
        await running
    writer.close()


async def test_draining_ends_after_its_time(rig):
    supervisor = rig.supervisor(drain_time=0.3)
    running = asyncio.create_task(supervisor.run())
    await supervisor.ready.wait()
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    await get(reader, writer)
    supervisor.stop()
    async with asyncio.timeout(15):
        await running
    writer.close()


async def test_stopping_during_the_pause_before_a_restart_is_immediate(rig):
    supervisor = rig.supervisor(backoff=Backoff(first=600))
    running = asyncio.create_task(supervisor.run())
    await supervisor.ready.wait()
    os.kill(envoy_pid(supervisor.serving.process), signal.SIGKILL)
    while supervisor.state != "waiting to restart":
        await asyncio.sleep(0.01)
    supervisor.stop()
    async with asyncio.timeout(15):
        await running


def test_pauses_grow_and_start_over_after_a_stable_run():
    backoff = Backoff(first=1, last=5, stable=60)
    assert [backoff.pause(0) for _ in range(5)] == [1, 2, 4, 5, 5]
    assert backoff.pause(61) == 1
    assert backoff.pause(0) == 2
