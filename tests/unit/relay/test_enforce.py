import asyncio

import grpc
import pytest

from cilium_proxy import api
from cilium_proxy.relay.channel import HOSTS, POLICIES
from cilium_proxy.relay.enforce import Enforcer, RefusedError
from cilium_proxy.relay.resources import CLUSTERS, LISTENERS, ResourceCache
from cilium_proxy.relay.xds import XdsServer
from cilium_proxy.sources.snapshot import Snapshot

REQUEST = "envoy.service.discovery.v3.DiscoveryRequest"
RESPONSE = "envoy.service.discovery.v3.DiscoveryResponse"
METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"


class Envoy:
    """Takes clusters and listeners and notes in which order; refuses listeners named in `refuse`."""

    def __init__(self, channel):
        self.took, self.refuse = [], set()
        self.request = api.messages(REQUEST)
        self.call = channel.stream_stream(
            METHOD,
            request_serializer=self.request.SerializeToString,
            response_deserializer=api.messages(RESPONSE).FromString,
        )()

    async def run(self):
        for url in (CLUSTERS, LISTENERS):
            await self.call.write(self.request(type_url=url))
        while (response := await self.call.read()) is not grpc.aio.EOF:
            message = api.messages(response.type_url.rpartition("/")[2])
            names = {message.FromString(resource.value).name for resource in response.resources}
            answer = self.request(type_url=response.type_url, response_nonce=response.nonce)
            if response.type_url == LISTENERS and names & self.refuse:
                answer.error_detail.message = "cannot bind"
            else:
                self.took.append((response.type_url.rpartition(".")[2], names))
            await self.call.write(answer)


@pytest.fixture
async def rig(directory, channel, connect):
    """The enforcer with a module and an Envoy."""
    cache = ResourceCache()
    server = XdsServer(directory / "xds.sock", cache)
    await server.start()
    module = await connect()
    async with grpc.aio.insecure_channel(f"unix:{server.path}") as grpc_channel:
        envoy = Envoy(grpc_channel)
        running = asyncio.create_task(envoy.run())
        enforcer = Enforcer(channel, cache)
        yield enforcer, module, envoy
        await enforcer.close()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await server.close()


def snapshot(names, policies, hosts=None):
    clusters, listeners = (
        {name: api.serialise(api.messages(kind)(name=name)) for name in names}
        for kind in ("envoy.config.cluster.v3.Cluster", "envoy.config.listener.v3.Listener")
    )
    return Snapshot(
        config=None, compiled=None, policies=policies, hosts=hosts or {}, clusters=clusters, listeners=listeners
    )


async def test_clusters_come_before_listeners_and_go_after_them(rig):
    enforcer, _, envoy = rig
    await enforcer.apply(snapshot(["a"], {}))
    envoy.took.clear()
    await enforcer.apply(snapshot(["b"], {}))
    assert envoy.took == [("Cluster", {"a", "b"}), ("Listener", {"b"}), ("Cluster", {"b"})]


async def test_a_change_of_policies_touches_no_listener(rig):
    enforcer, module, envoy = rig
    await enforcer.apply(snapshot(["a"], {"p": b"1"}))
    envoy.took.clear()
    await enforcer.apply(snapshot(["a"], {"p": b"2"}))
    assert module.policies() == {"p": b"2"}
    assert envoy.took == []


async def test_the_same_state_again_sends_nothing(rig):
    enforcer, module, envoy = rig
    await enforcer.apply(snapshot(["a"], {"p": b"1"}))
    transactions = len(module.transactions)
    envoy.took.clear()
    await enforcer.apply(snapshot(["a"], {"p": b"1"}))
    assert (len(module.transactions), envoy.took) == (transactions, [])


async def test_policies_that_are_refused_leave_all_as_it_was(rig):
    enforcer, module, envoy = rig
    good = snapshot(["a"], {"p": b"1"})
    await enforcer.apply(good)
    envoy.took.clear()
    module.refuse = {"bad": "endpoint 7: no"}
    with pytest.raises(RefusedError, match="endpoint 7: no"):
        await enforcer.apply(snapshot(["b"], {"p": b"2", "bad": b"3"}))
    assert module.policies() == {"p": b"1"}
    assert envoy.took == []
    assert enforcer.current is good


async def test_listeners_that_are_refused_take_the_policies_back(rig):
    enforcer, module, envoy = rig
    await enforcer.apply(snapshot(["a"], {"p": b"1"}))
    envoy.refuse = {"b"}
    with pytest.raises(RefusedError, match="cannot bind"):
        await enforcer.apply(snapshot(["a", "b"], {"p": b"2"}))
    assert module.policies() == {"p": b"1"}
    assert envoy.took[-2:] == [("Listener", {"a"}), ("Cluster", {"a"})]


async def test_both_policies_and_hosts_are_there_before_listeners(rig):
    enforcer, module, envoy = rig
    applying = asyncio.create_task(enforcer.apply(snapshot(["a"], {"p": b"1"}, {"1": b"h"})))
    while not envoy.took:
        await asyncio.sleep(0)
    assert module.resources == {POLICIES: {"p": b"1"}, HOSTS: {"1": b"h"}}
    await applying


async def test_without_an_envoy_it_waits(directory, channel, connect):
    await connect()
    enforcer = Enforcer(channel, ResourceCache())
    applying = asyncio.create_task(enforcer.apply(snapshot(["a"], {"p": b"1"})))
    await asyncio.sleep(0.05)
    assert not applying.done()
    applying.cancel()
