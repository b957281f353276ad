"""The xDS client against a real gRPC server."""

import asyncio

import pytest
from tests.agent.double import CLUSTERS, LISTENERS, POLICIES, ROUTES

from cilium_proxy.api import messages


def policies(*numbers, ip="10.0.0.{}"):
    return {
        str(number): messages("cilium.NetworkPolicy")(endpoint_ips=[ip.format(number)], endpoint_id=number)
        for number in numbers
    }


def routes(*names):
    return {name: messages("envoy.config.route.v3.RouteConfiguration")(name=name) for name in names}


def clusters(*names):
    return {name: messages("envoy.config.cluster.v3.Cluster")(name=name) for name in names}


@pytest.mark.parametrize("transport", ["split", "delta", "ads", "delta-ads"])
async def test_an_update_reaches_the_sink_and_its_acknowledgement_the_agent(agent, sink, connect, transport):
    agent.serves = {transport}
    client = await connect(transport)
    client.subscribe(POLICIES)
    assert (await agent.push(POLICIES, policies(7, 8))).error is None
    update = await sink.until(lambda update: update.type_url == POLICIES)
    assert update.first
    assert sorted(update.resources) == ["7", "8"]
    assert update.version == "1"
    assert agent.nodes == ["host~127.0.0.1~no-id~localdomain"]


@pytest.mark.parametrize("transport", ["split", "delta", "ads", "delta-ads"])
async def test_a_refusal_reaches_the_agent_with_its_text_and_the_next_version_is_taken(agent, sink, connect, transport):
    agent.serves = {transport}
    sink.refuse["8"] = "endpoint 8: no"
    client = await connect(transport)
    client.subscribe(POLICIES)
    assert (await agent.push(POLICIES, policies(7))).error is None
    assert (await agent.push(POLICIES, policies(7, 8))).error == "endpoint 8: no"
    assert (await agent.push(POLICIES, policies(7, 9))).error is None


@pytest.mark.parametrize(
    ("wanted", "serves"),
    [("delta-ads", {"ads"}), ("delta-ads", {"split"}), ("ads", {"split"}), ("delta", {"split"})],
)
async def test_what_the_agent_does_not_serve_gives_way_to_what_it_serves(agent, sink, connect, wanted, serves):
    agent.serves = serves
    client = await connect(wanted)
    client.subscribe(POLICIES)
    client.subscribe(CLUSTERS)
    assert (await agent.push(POLICIES, policies(7))).error is None
    assert (await agent.push(CLUSTERS, clusters("a"))).error is None


async def test_subscriptions_survive_a_restart_of_the_agent(agent, sink, connect):
    client = await connect()
    client.subscribe(POLICIES)
    await agent.push(POLICIES, policies(7))
    await agent.push(POLICIES, policies(7, 8))
    await agent.restart()
    # The same version as before means something else now.
    assert (await agent.push(POLICIES, policies(9))).error is None
    update = await sink.until(lambda update: list(update.resources) == ["9"])
    assert update.first
    assert update.version == "1"


async def test_an_agent_that_comes_late_is_found(agent, sink, connect):
    await agent.stop()
    client = await connect()
    client.subscribe(POLICIES)
    await agent.start()
    assert (await agent.push(POLICIES, policies(7))).error is None


async def test_an_agent_that_vanishes_before_the_answer_gets_it_for_its_next_update(agent, sink, connect):
    client = await connect()
    client.subscribe(POLICIES)
    sink.hold.clear()
    await agent.set(POLICIES, policies(7))
    await sink.until(lambda update: "7" in update.resources)
    await agent.restart()
    sink.hold.set()
    assert (await agent.push(POLICIES, policies(7))).error is None


async def test_names_are_asked_for_anew_when_they_change(agent, sink, connect):
    client = await connect()
    client.subscribe(ROUTES, frozenset({"a"}))
    await agent.set(ROUTES, routes("a", "b", "c"))
    assert list((await sink.until(lambda update: update.type_url == ROUTES)).resources) == ["a"]
    client.subscribe(ROUTES, frozenset({"a", "b"}))
    assert sorted((await sink.until(lambda update: len(update.resources) == 2)).resources) == ["a", "b"]


async def test_names_that_change_while_an_update_is_under_way_are_no_answer_to_it(agent, sink, connect):
    client = await connect()
    sink.hold.clear()
    client.subscribe(ROUTES, frozenset({"a"}))
    await agent.set(ROUTES, routes("a", "b"))
    await sink.until(lambda update: update.type_url == ROUTES)
    client.subscribe(ROUTES, frozenset({"a", "b"}))
    sink.hold.set()
    await sink.until(lambda update: len(update.resources) == 2)
    assert agent.answers[0].error is None


async def test_after_a_response_that_does_not_parse_the_stream_is_opened_anew(agent, sink, connect, caplog):
    client = await connect()
    agent.wrong[POLICIES] = b"\xff\xff\xff"
    client.subscribe(POLICIES)
    assert (await agent.push(POLICIES, policies(7))).error is None
    assert "Error parsing message" in caplog.text


async def test_a_resource_of_another_type_is_refused(agent, sink, connect):
    client = await connect()
    response = messages("envoy.service.discovery.v3.DiscoveryResponse")(version_info="1", type_url=POLICIES, nonce="1")
    response.resources.add(type_url=LISTENERS, value=b"")
    agent.wrong[POLICIES] = response.SerializeToString()
    client.subscribe(POLICIES)
    answer = await agent.push(POLICIES, policies(7))
    assert f"a resource of type {LISTENERS} in a response of type {POLICIES}" in answer.error
    assert sink.updates == []


async def test_duplicate_names_are_refused(agent, sink, connect):
    client = await connect()
    client.subscribe(POLICIES)
    same = policies(7) | {"other": policies(7)["7"]}
    assert "two resources are called 7" in (await agent.push(POLICIES, same)).error
    assert sink.updates == []


async def test_an_unnamed_resource_is_refused(agent, sink, connect):
    client = await connect()
    client.subscribe(CLUSTERS)
    answer = await agent.push(CLUSTERS, {"x": messages("envoy.config.cluster.v3.Cluster")()})
    assert "without name" in answer.error


async def test_a_slow_agent_is_waited_for(agent, sink, connect):
    agent.delay = 0.3
    client = await connect()
    client.subscribe(POLICIES)
    assert (await agent.push(POLICIES, policies(7))).error is None


INCREMENTAL = pytest.mark.parametrize("transport", ["delta", "delta-ads"])


@INCREMENTAL
async def test_an_incremental_agent_that_restarts_names_what_is_gone_meanwhile(agent, sink, connect, transport):
    agent.serves = {transport}
    client = await connect(transport)
    client.subscribe(POLICIES)
    await agent.push(POLICIES, policies(7, 8, 9))
    await agent.restart()
    # The same version as before, in two responses.
    agent.most = 1
    assert (await agent.push(POLICIES, policies(7, 9, ip="10.0.1.{}"))).error is None
    updates = sink.updates[1:]
    assert [(update.first, sorted(update.resources), update.removed) for update in updates] == [
        (True, ["7"], ("8",)),
        (False, ["9"], ()),
    ]
    assert sink.names == {"7", "9"}


@INCREMENTAL
async def test_names_that_were_asked_for_and_are_gone_after_a_restart_are_told(agent, sink, connect, transport):
    agent.serves = {transport}
    client = await connect(transport)
    client.subscribe(ROUTES, frozenset({"a", "b"}))
    await agent.push(ROUTES, routes("a", "b"))
    await agent.restart()
    await agent.push(ROUTES, routes("a"))
    assert sink.updates[-1].removed == ("b",)


async def test_what_an_incremental_agent_does_not_speak_of_any_more_goes_once_it_is_quiet(agent, sink, connect, caplog):
    agent.serves, agent.hears = {"delta"}, False
    client = await connect("delta", quiet=0.2)
    client.subscribe(POLICIES)
    await agent.push(POLICIES, policies(7, 8, 9))
    await agent.restart()
    agent.most = 1
    await agent.push(POLICIES, policies(7, 9))
    assert sink.names == {"7", "8", "9"}
    await sink.until(lambda update: update.removed == ("8",))
    assert "1 of NetworkPolicy" in caplog.text


async def test_what_is_held_stays_while_the_agent_is_away(agent, sink, connect):
    agent.serves, agent.hears = {"delta"}, False
    client = await connect("delta", quiet=0.2)
    client.subscribe(POLICIES)
    await agent.push(POLICIES, policies(7, 8))
    await agent.restart()
    # The first of two responses, then it is gone again.
    agent.most = 1
    sink.hold.clear()
    await agent.set(POLICIES, policies(7, 8))
    await sink.until(lambda update: list(update.resources) == ["7"])
    await agent.stop()
    await asyncio.sleep(0.5)
    assert sink.names == {"7", "8"}
