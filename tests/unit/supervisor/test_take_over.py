"""One Envoy after the other, on a configuration without the module."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest
from tests.unit.supervisor.rig import free_port, get

from cilium_proxy.supervisor.envoy import RestartError
from cilium_proxy.supervisor.generation import Generation
from cilium_proxy.supervisor.process import envoy_pid

LIMIT = 60.0


@pytest.fixture
async def supervisor(rig):
    """One that runs."""
    supervisor = rig.supervisor()
    running = asyncio.create_task(supervisor.run())
    async with asyncio.timeout(LIMIT):
        await supervisor.ready.wait()
    yield supervisor
    supervisor.stop()
    await running


async def serves(rig):
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    head = await get(reader, writer)
    writer.close()
    await writer.wait_closed()
    return b"200 ok" in head


async def test_the_one_before_ends_when_its_time_is_over(rig, supervisor):
    rig.arguments = ["--parent-shutdown-time-s", "1"]
    before = supervisor.serving
    await supervisor.restart()
    assert supervisor.serving is not before
    async with asyncio.timeout(LIMIT):
        await before.process.wait()
        while supervisor.retired:
            await asyncio.sleep(0.01)
    assert supervisor.crashes == 0
    assert await serves(rig)


async def test_many_in_a_row_end_with_one(rig, supervisor):
    for _ in range(4):
        await supervisor.restart()
        assert await serves(rig)
    assert supervisor.serving.generation.epoch == 4
    async with asyncio.timeout(LIMIT):
        # The third one has the first one end.
        while len(supervisor.retired) > 1:
            await asyncio.sleep(0.01)


async def test_one_that_ends_while_it_starts_changes_nothing_and_others_can_follow(rig, supervisor):
    before = supervisor.serving
    with socket.create_server(("127.0.0.1", 0)) as taken:
        rig.listener("another", taken.getsockname()[1])
        # Its configuration is valid; only when it listens it learns of the other program.
        with pytest.raises(RestartError, match="Address already in use"):
            await supervisor.restart()
        assert supervisor.serving is before
        assert "Address already in use" in supervisor.restart_error
        assert await serves(rig)
        rig.listener("another", free_port())
    await supervisor.restart()
    assert supervisor.serving.generation.epoch == 1
    assert supervisor.restart_error is None
    assert await serves(rig)


async def test_one_at_a_time(supervisor):
    first = asyncio.create_task(supervisor.restart())
    await asyncio.sleep(0)
    with pytest.raises(RestartError, match="already"):
        await supervisor.restart()
    await first


async def test_stopping_ends_both(rig):
    supervisor = rig.supervisor()
    running = asyncio.create_task(supervisor.run())
    async with asyncio.timeout(LIMIT):
        await supervisor.ready.wait()
        restarting = asyncio.create_task(supervisor.restart())
        await asyncio.sleep(0.1)
        supervisor.stop()
        await running
        with pytest.raises(RestartError):
            await restarting
    assert not list(rig.directory.glob("envoy.json"))


async def test_an_envoy_that_crashes_while_another_is_to_take_over_is_started_again(rig, supervisor):
    before = envoy_pid(supervisor.serving.process)
    restarting = asyncio.create_task(supervisor.restart())
    await asyncio.sleep(0.1)
    os.kill(before, signal.SIGKILL)
    async with asyncio.timeout(LIMIT):
        await asyncio.gather(restarting, return_exceptions=True)
        await supervisor.ready.wait()
        while not await serves_now(rig):
            await asyncio.sleep(0.05)


async def serves_now(rig):
    try:
        return await serves(rig)
    except OSError:
        return False


async def test_without_hot_restart_there_is_nothing_to_take_over(rig):
    rig.arguments = ["--disable-hot-restart"]
    supervisor = rig.supervisor()
    running = asyncio.create_task(supervisor.run())
    async with asyncio.timeout(LIMIT):
        await supervisor.ready.wait()
    with pytest.raises(RestartError, match="--disable-hot-restart"):
        await supervisor.restart()
    supervisor.stop()
    await running


async def test_nothing_is_left_in_shared_memory(rig):
    supervisor = rig.supervisor()
    running = asyncio.create_task(supervisor.run())
    async with asyncio.timeout(LIMIT):
        await supervisor.ready.wait()
    shared = Path(f"/dev/shm/envoy_shared_memory_{supervisor.serving.generation.base_id}0")
    assert shared.exists()
    supervisor.stop()
    await running
    assert not shared.exists()


@pytest.mark.parametrize(
    ("given", "base_id", "epoch", "made_up"),
    [
        (["--base-id 0"], 0, 0, False),
        (["--base-id", "7", "--restart-epoch 3"], 7, 3, False),
        (["--use-dynamic-base-id"], None, 0, True),
        ([], None, 0, True),
    ],
)
def test_base_id_and_epoch_are_those_given(given, base_id, epoch, made_up):
    first = Generation.first(given)
    assert (first.epoch, first.made_up) == (epoch, made_up)
    if base_id is not None:
        assert first.base_id == base_id
    options = first.next.arguments([*given, "--log-level info"])
    assert options == ("--log-level info", "--base-id", str(first.base_id), "--restart-epoch", str(epoch + 1))


@pytest.mark.parametrize("given", [["--disable-hot-restart"], ["--base-id", "x"], ["--restart-epoch -1"]])
def test_what_envoy_refuses_or_disables_has_no_generation(given):
    assert Generation.first(given) is None
