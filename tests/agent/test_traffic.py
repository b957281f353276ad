"""Redirect listeners as an agent makes them, on real Envoy."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.agent import resources
from tests.agent.conftest import CLIENT, POD, STRANGER
from tests.agent.double import CLUSTERS, HOSTS, LIMIT, LISTENERS, POLICIES

from cilium_proxy.observe.receiver import Receiver
from cilium_proxy.supervisor.admin import Admin

PEERS = {"43": resources.hosts(43, f"{CLIENT}/32"), "44": resources.hosts(44, f"{STRANGER}/32")}
ALLOWED = [resources.path_rule("/public", 43)]


async def enforce(agent, node, rules=ALLOWED, listeners=None, policies=None):
    """Sends all an agent sends and waits until all is in force."""
    answers = [
        await agent.push(HOSTS, PEERS),
        await agent.push(POLICIES, policies or {"7": resources.policy(POD, rules=rules)}),
        await agent.push(CLUSTERS, {}),
        await agent.push(LISTENERS, listeners or {"cilium-http-ingress": node.http(ingress=True)}),
    ]
    assert [answer.error for answer in answers] == [None] * 4
    if listeners is None:
        await listening(node)


async def listening(node):
    """Waits for the workers: Envoy acknowledges a listener a moment before they listen."""
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection(node.host, node.port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            return


async def status(client, path):
    """The status of a request; None: the connection was reset."""
    try:
        return (await client.get(path)).status_code
    except httpx.TransportError:
        return None


MODES = {
    "split": ({"split"}, {}),
    "delta": ({"delta"}, {"source": "DELTA_GRPC"}),
    "ads": ({"ads"}, {"ads": "GRPC"}),
    "delta-ads": ({"delta-ads"}, {"ads": "DELTA_GRPC"}),
}


def mode_options(mode):
    """What the agent serves, and the options of the bootstrap."""
    serves, options = MODES[mode]
    if "source" in options:
        source = resources.agent_source()
        source["api_config_source"]["api_type"] = options["source"]
        options = {"source": source}
    elif "ads" in options:
        options = {**options, "source": resources.ads_source()}
    return serves, options


@pytest.mark.parametrize("mode", MODES)
async def test_policy_of_the_agent_is_enforced_on_its_listener(agent, node, bootstrap, run, client, mode):
    agent.serves, options = mode_options(mode)
    proxy = run(bootstrap(**options))
    await enforce(agent, node)
    assert await status(client(), "/public") == 200
    assert await status(client(), "/private") == 403
    assert await status(client(STRANGER), "/public") is None
    assert set(agent.nodes) == {"host~127.0.0.1~no-id~localdomain"}
    assert proxy.status()["agent"]["transport"] == mode


async def test_an_acknowledged_policy_is_in_force(agent, node, bootstrap, run, client):
    run(bootstrap())
    await enforce(agent, node)
    connection = client()
    for turn in range(20):
        path = "/even" if turn % 2 == 0 else "/odd"
        answer = await agent.push(POLICIES, {"7": resources.policy(POD, rules=[resources.path_rule(path)])})
        assert answer.error is None
        assert await status(connection, "/even") == (200 if turn % 2 == 0 else 403)
        assert await status(connection, "/odd") == (403 if turn % 2 == 0 else 200)


async def test_a_policy_that_is_refused_changes_nothing_and_the_agent_learns_why(agent, node, bootstrap, run, client):
    proxy = run(bootstrap())
    await enforce(agent, node)
    bad = resources.policy(POD, rules=[resources.path_rule("/public")])
    bad.ingress_per_port_policies[0].port = 70_000
    answer = await agent.push(POLICIES, {"7": bad})
    assert "70000" in answer.error
    assert await status(client(), "/public") == 200
    types = (await asyncio.to_thread(proxy.status))["agent"]["types"]
    assert types["NetworkPolicy"]["refused"] == 1
    assert "70000" in types["NetworkPolicy"]["error"]
    assert (await agent.push(POLICIES, {"7": resources.policy(POD, rules=[])})).error is None


async def test_a_listener_that_envoy_refuses_reaches_the_agent_with_its_name_and_the_one_before_serves(
    agent, node, bootstrap, run, client
):
    run(bootstrap())
    await enforce(agent, node)
    bad = node.http(ingress=True)
    bad.filter_chains[0].filters[0].name = "nobody.knows"
    bad.filter_chains[0].filters[0].typed_config.type_url = "type.googleapis.com/nobody.Knows"
    answer = await agent.push(LISTENERS, {"cilium-http-ingress": bad})
    assert "nobody.knows" in answer.error
    assert "cilium-http-ingress" in answer.error
    assert await status(client(), "/public") == 200


async def test_a_listener_that_cannot_be_rewritten_does_not_hold_up_the_others(agent, node, bootstrap, run, client):
    run(bootstrap())
    await enforce(agent, node)
    bad = node.tcp("broken")
    bad.filter_chains[0].filters[0].typed_config.value = b"\xff\xff"
    good = node.http(ingress=True)
    good.stat_prefix = "changed"
    answer = await agent.push(LISTENERS, {"cilium-http-ingress": good, "broken": bad})
    assert "broken" in answer.error
    assert "cilium.NetworkFilter" in answer.error
    assert await status(client(), "/public") == 200


async def test_a_restart_of_the_agent_loses_nothing(agent, node, bootstrap, run, client):
    proxy = run(bootstrap())
    await enforce(agent, node)
    await agent.stop()
    assert await status(client(), "/public") == 200, "without an agent"
    await agent.restart()
    assert await status(client(), "/public") == 200, "before the agent says anything"
    # The new agent counts from 1 again.
    await enforce(agent, node, [resources.path_rule("/new", 43)])
    assert await status(client(), "/public") == 403
    assert await status(client(), "/new") == 200
    assert await status(client(STRANGER), "/new") is None
    assert proxy.status()["policies"]["version"] == "1"


@pytest.mark.parametrize("mode", ["delta", "delta-ads"])
async def test_no_request_fails_while_a_new_agent_says_piece_by_piece_what_there_is(
    agent, node, bootstrap, run, client, mode
):
    agent.serves, options = mode_options(mode)
    proxy = run(bootstrap(**options))
    await enforce(agent, node)
    others = {str(number): resources.policy(f"10.9.0.{number}", number) for number in range(10, 14)}
    policy = {"7": resources.policy(POD, rules=ALLOWED)}
    assert (await agent.push(POLICIES, others | policy)).error is None
    del others["10"]
    done, statuses = asyncio.Event(), []

    async def requests():
        connection = client()
        while not done.is_set():
            statuses.append(await status(connection, "/public"))

    loads = [asyncio.create_task(requests()) for _ in range(2)]
    agent.most, agent.delay = 1, 0.1
    await agent.restart()
    # That of the pod comes last.
    await enforce(agent, node, listeners={"cilium-http-ingress": node.http(ingress=True)}, policies=others | policy)
    done.set()
    await asyncio.gather(*loads)
    assert set(statuses) == {200}
    assert proxy.status()["policies"]["resources"] == 4


async def test_envoy_that_crashes_gets_everything_again_from_the_proxy(agent, node, bootstrap, run, client):
    proxy = run(bootstrap())
    await enforce(agent, node)
    await agent.stop()
    async with asyncio.timeout(40):
        while proxy.status()["state"] != "running":
            await asyncio.sleep(0.05)
    before = proxy.status()["envoy"]["pid"]
    os.kill(before, signal.SIGKILL)
    async with asyncio.timeout(40):
        while proxy.status()["envoy"]["pid"] in (None, before) or await status(client(), "/public") != 200:
            await asyncio.sleep(0.1)
    assert await status(client(), "/private") == 403


async def test_an_access_log_that_nobody_listens_on_holds_nothing_up(agent, node, bootstrap, run, client):
    run(bootstrap())
    # The socket of `node` does not exist.
    await enforce(agent, node)
    connection = client()
    assert [await status(connection, path) for path in ("/public", "/private")] == [200, 403]


async def test_what_an_agent_sent_before_it_vanished_is_in_force(agent, node, bootstrap, run, client):
    run(bootstrap())
    await enforce(agent, node)
    changed = resources.policy(POD, rules=[resources.path_rule("/new", 43)])
    await agent.set(POLICIES, {"7": changed})
    await agent.stop()
    async with asyncio.timeout(20):
        while (found := await status(client(), "/new")) == 403:
            await asyncio.sleep(0.05)
            # It may not have been sent before the agent was gone.
            if agent._server is None:
                await agent.start()
    assert found == 200


async def test_options_of_envoy_go_before_the_bootstrap_s_node(agent, node, bootstrap, run, directory):
    node_id = "host~127.0.0.9~no-id~localdomain"
    run(bootstrap(), "--unprivileged", "--", "--use-dynamic-base-id", f"--service-node {node_id}", "-l warning")
    await enforce(agent, node)
    assert set(agent.nodes) == {node_id}


async def test_policies_for_endpoints_that_nothing_listens_for_are_taken(agent, node, bootstrap, run):
    run(bootstrap())
    policies = {str(number): resources.policy(f"10.9.0.{number}", number) for number in range(1, 50)}
    assert (await agent.push(POLICIES, policies)).error is None


async def test_mysql_chains_are_served_without_the_contrib_filter_and_a_warning_names_the_listener(
    agent, node, bootstrap, run
):
    proxy = run(bootstrap())
    await enforce(agent, node, [], {"cilium-proxylib-egress": node.tcp("cilium-proxylib-egress")})
    line = proxy.wait_for("mysql_proxy")
    assert "cilium-proxylib-egress" in line
    assert "WARNING" in line


async def test_status_shows_what_is_in_force_and_what_was_refused(agent, node, bootstrap, run):
    proxy = run(bootstrap())
    await enforce(agent, node)
    bad = resources.policy(POD)
    bad.ingress_per_port_policies[0].port = 70_000
    await agent.push(POLICIES, {"7": bad})
    command = [sys.executable, "-m", "cilium_proxy", "status", "--state-dir", str(proxy.state)]
    result = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1, "an update was refused"
    assert "1 endpoint, version 1" in result.stdout
    assert "70000" in result.stdout


async def test_health_and_metrics_of_the_chart_are_served(agent, node, bootstrap, run):
    made = bootstrap()
    ports = {
        listener["name"]: listener["address"]["socket_address"]["port_value"]
        for listener in made["static_resources"]["listeners"]
    }
    run(made)
    await enforce(agent, node)
    async with httpx.AsyncClient(trust_env=False) as http:
        health = await http.get(f"http://127.0.0.1:{ports['envoy-health-listener']}/healthz")
        assert health.text.strip() == "LIVE"
        metrics = await http.get(f"http://127.0.0.1:{ports['envoy-prometheus-metrics-listener']}/metrics")
        assert "envoy_server_live" in metrics.text


async def test_requests_go_on_while_policies_change_and_the_agent_restarts(agent, node, bootstrap, run, client):
    run(bootstrap())
    await enforce(agent, node)
    done = asyncio.Event()
    statuses = []

    async def requests():
        connection = client()
        while not done.is_set():
            statuses.append(await status(connection, "/public"))

    loads = [asyncio.create_task(requests()) for _ in range(4)]
    for turn in range(60):
        if turn == 30:
            await agent.restart()
            await enforce(agent, node)
        rules = [*ALLOWED, resources.path_rule(f"/{turn}", 43)]
        assert (await agent.push(POLICIES, {"7": resources.policy(POD, rules=rules)})).error is None
    done.set()
    await asyncio.gather(*loads)
    assert set(statuses) == {200}


async def test_log_entries_that_nobody_takes_are_told_of_and_counted(agent, node, bootstrap, run, client, directory):
    proxy = run(bootstrap(), "--unprivileged", "--", "--use-dynamic-base-id", "--log-level", "info")
    await enforce(agent, node)
    assert await status(client(), "/public") == 200
    await asyncio.to_thread(proxy.wait_for, f"access log {node.access_log}: nobody listens there")
    admin = Admin(directory / "admin.sock")
    async with asyncio.timeout(LIMIT):
        # The request and the response.
        while "cilium.access_log.dropped: 2" not in await admin.request("GET", "/stats?filter=access_log"):
            await asyncio.sleep(0.05)
    entries = []
    receiver = Receiver(Path(node.access_log), entries.append)
    await receiver.start()
    async with asyncio.timeout(LIMIT):
        # The next attempt to connect is due within a second.
        while not entries:
            assert await status(client(), "/public") == 200
    await receiver.close()
    await asyncio.to_thread(proxy.wait_for, f"access log {node.access_log}: entries are sent again")
