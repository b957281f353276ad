"""Each part ends and comes back while requests flow."""

import asyncio
import json
import os
import signal
import socket
import time

import pytest
from click.testing import CliRunner
from tests.integration.files import LIMIT, http_rule
from tests.integration.load import Load
from tests.integration.plane import until_ready
from tests.integration.proxy import eventually

from cilium_proxy.cli import group
from cilium_proxy.relay.envoy_resources import EnvoyResources
from cilium_proxy.relay.resources import CLUSTERS, LISTENERS
from cilium_proxy.rewrite.cilium import Options
from cilium_proxy.sources.agent.update import Update

OPEN, SHUT = http_rule(path="/x"), http_rule(path="/other")


async def test_envoy_enforces_on_while_the_control_plane_is_away(files4, control_plane, envoy):
    files4.policy(OPEN)
    plane = await control_plane(files4)
    process = await envoy(files4)
    await plane.apply()
    await until_ready(process)
    async with Load(files4, "/x") as allowed, Load(files4, "/y") as denied:
        await allowed.more(100)
        await plane.close()
        await allowed.more(100)
        await denied.more(100)
        successor = await control_plane(files4)
        await successor.apply()
        await allowed.more(100)
        await denied.more(100)
        assert {outcome.status for outcome in allowed.outcomes} == {200}
        assert {outcome.status for outcome in denied.outcomes} == {403}
        files4.policy(SHUT)
        await successor.apply()
        acknowledged = time.monotonic()
        await allowed.more(100)
    assert {outcome.status for outcome in allowed.outcomes if outcome.began > acknowledged} == {403}
    assert process.running


async def test_listeners_open_when_policy_is_there_and_not_before(files4, control_plane, envoy):
    files4.policy(SHUT)
    plane = await control_plane(files4)
    process = await envoy(files4)
    snapshot = await plane.source.read()
    resources = EnvoyResources(plane.cache, Options(privileged_sockets=False), {})
    for url, wanted in ((CLUSTERS, snapshot.clusters), (LISTENERS, snapshot.listeners)):
        update = Update(type_url=url, version="1", resources=dict(wanted))
        offered, _ = await resources.take(update, frozenset())
        async with asyncio.timeout(LIMIT):
            await plane.cache.taken(offered)
    await asyncio.sleep(0.3)
    assert not await process.admin.is_ready()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((files4.host, files4.port), 1).close()
    await plane.apply()
    await until_ready(process)
    async with Load(files4, "/x", connections=2) as load:
        await load.more(20)
    assert {outcome.status for outcome in load.outcomes} == {403}


def test_a_crashed_envoy_comes_back_with_its_whole_state(files, run):
    files.policy(OPEN)
    proxy = run(files)
    first = proxy.status()["envoy"]["pid"]
    files.policy(SHUT)
    proxy.wait_for("in force")
    os.kill(first, signal.SIGKILL)

    def statuses():
        try:
            with files.client() as client:
                return [client.get(path).status_code for path in ("/x", "/other")]
        except OSError:
            return None
        except Exception as error:
            if type(error).__module__.startswith("httpx"):
                return None
            raise

    # The first answer after the crash, and every other, is by the last policy.
    assert eventually(statuses) == [403, 200]
    status = proxy.status()
    assert status["envoy"]["restarts"] == 1
    assert status["envoy"]["last_exit"] == "signal SIGKILL"
    assert status["envoy"]["pid"] != first
    files.policy(OPEN)
    proxy.wait_for("in force")
    assert statuses() == [200, 403]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_it_cleanly(files4, run, number):
    files4.policy()
    proxy = run(files4)
    assert proxy.stop(number) == 0
    assert sorted(path.name for path in proxy.state.iterdir() if path.suffix == ".sock") == []


def test_without_an_admin_port_or_a_given_directory_it_is_found_and_drained(files4, run, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(files4.directory))
    files4.settings |= {"admin": False, "drain_time": 1}
    files4.save()
    files4.policy()
    proxy = run(files4, state_directory=None)
    result = CliRunner().invoke(group, ["status", "-o", "json"])
    assert (result.exit_code, json.loads(result.output)["state"]) == (0, "running")
    with files4.client() as client:
        assert client.get("/x").status_code == 200
        assert proxy.stop() == 0
    assert "cannot drain" not in "\n".join(proxy.lines)


def test_hang_up_reads_the_files(files4, run):
    files4.policy()
    proxy = run(files4)
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_for("the files hold nothing new")


async def test_connections_drain_before_it_ends(files4, run):
    files4.settings["drain_time"] = 20
    files4.save()
    files4.policy(OPEN)
    proxy = await asyncio.to_thread(run, files4)
    async with Load(files4, "/x", connections=4) as load:
        await load.more(50)
        proxy.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(1)
        draining = list(load.outcomes)
    assert {outcome.status for outcome in draining if outcome.status is not None} == {200}
    assert await asyncio.to_thread(proxy.wait) == 0
