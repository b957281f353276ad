import asyncio

import grpc
import pytest

from cilium_proxy import api
from cilium_proxy.relay.resources import CLUSTERS, ENDPOINTS, LISTENERS, NackedError, Refusal, ResourceCache
from cilium_proxy.relay.xds import XdsServer
from cilium_proxy.rewrite.instance import name_instance

SOTW = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
DELTA = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
DISCOVERY = "envoy.service.discovery.v3.{}"


class Client:
    """Envoy's end of a stream, one step at a time."""

    def __init__(self, channel, method, prefix):
        self.request_type = api.messages(DISCOVERY.format(f"{prefix}Request"))
        response = api.messages(DISCOVERY.format(f"{prefix}Response"))
        self.call = channel.stream_stream(
            method, request_serializer=self.request_type.SerializeToString, response_deserializer=response.FromString
        )()

    async def send(self, **fields):
        await self.call.write(self.request_type(**fields))

    async def receive(self):
        async with asyncio.timeout(30):
            return await self.call.read()

    async def answer(self, response, error=None, **fields):
        detail = {"error_detail": {"code": 3, "message": error}} if error else {}
        await self.send(type_url=response.type_url, response_nonce=response.nonce, **detail, **fields)

    async def nothing_comes(self):
        """Returns what will receive the next response. A read cannot be given up without ending the call."""
        receiving = asyncio.create_task(self.receive())
        await asyncio.sleep(0.1)
        assert not receiving.done()
        return receiving


@pytest.fixture
async def cache():
    return ResourceCache()


@pytest.fixture
async def open_stream(directory, cache):
    server = XdsServer(directory / "xds.sock", cache)
    await server.start()
    async with grpc.aio.insecure_channel(f"unix:{server.path}") as channel:

        def opened(method=SOTW, prefix="Discovery"):
            return Client(channel, method, prefix)

        yield opened
    await server.close()


@pytest.fixture
def open_delta(open_stream):
    return lambda: open_stream(DELTA, "DeltaDiscovery")


def values(response):
    return [resource.value for resource in response.resources]


def changed(response):
    return {one.name: one.resource.value for one in response.resources}, list(response.removed_resources)


async def test_the_set_is_sent_on_request_and_again_when_it_changes(open_stream, cache):
    stream = open_stream()
    cache.set(CLUSTERS, {"a": b"1"}, "v1")
    await stream.send(type_url=CLUSTERS)
    first = await stream.receive()
    assert (first.type_url, first.version_info, values(first)) == (CLUSTERS, "v1", [b"1"])
    await stream.answer(first, version_info="v1")
    cache.set(CLUSTERS, {"a": b"1", "b": b"2"}, "v2")
    second = await stream.receive()
    assert (second.version_info, values(second)) == ("v2", [b"1", b"2"])
    assert second.nonce != first.nonce


async def test_a_request_before_the_source_has_spoken_is_answered_later(open_stream, cache):
    stream = open_stream()
    await stream.send(type_url=LISTENERS)
    receiving = await stream.nothing_comes()
    cache.set(LISTENERS, {"a": b"1"})
    assert values(await receiving) == [b"1"]


async def test_taken_returns_when_envoy_acknowledged(open_stream, cache):
    stream = open_stream()
    wanted = cache.set(CLUSTERS, {"a": b"1"})
    taken = asyncio.create_task(cache.taken(wanted))
    await stream.send(type_url=CLUSTERS)
    response = await stream.receive()
    assert not taken.done()
    await stream.answer(response)
    await taken


async def test_taken_raises_envoys_words_when_it_refused(open_stream, cache):
    stream = open_stream()
    wanted = cache.set(LISTENERS, {"a": b"1"})
    await stream.send(type_url=LISTENERS)
    await stream.answer(await stream.receive(), error="cannot bind")
    with pytest.raises(NackedError, match="cannot bind"):
        await cache.taken(wanted)


async def test_a_refused_set_can_be_followed_by_a_good_one(open_stream, cache):
    stream = open_stream()
    cache.set(LISTENERS, {"a": b"1"})
    await stream.send(type_url=LISTENERS)
    await stream.answer(await stream.receive(), error="no")
    good = cache.set(LISTENERS, {"a": b"2"})
    await stream.answer(await stream.receive())
    await cache.taken(good)


async def test_an_answer_to_an_older_response_settles_nothing(open_stream, cache):
    stream = open_stream()
    cache.set(CLUSTERS, {"a": b"1"})
    await stream.send(type_url=CLUSTERS)
    old = await stream.receive()
    wanted = cache.set(CLUSTERS, {"a": b"2"})
    taken = asyncio.create_task(cache.taken(wanted))
    new = await stream.receive()
    await stream.answer(old)
    await stream.answer(new)
    await taken
    assert values(new) == [b"2"]


async def test_the_same_bytes_are_not_sent_again(open_stream, cache):
    stream = open_stream()
    before = cache.set(CLUSTERS, {"a": b"1"})
    await stream.send(type_url=CLUSTERS)
    await stream.answer(await stream.receive())
    assert cache.set(CLUSTERS, {"a": b"1"}) is before
    await cache.taken(before)
    receiving = await stream.nothing_comes()
    cache.set(CLUSTERS, {"a": b"2"})
    assert values(await receiving) == [b"2"]


async def test_named_resources_are_the_only_ones_sent(open_stream, cache):
    stream = open_stream()
    cache.set(ENDPOINTS, {"a": b"1", "b": b"2"})
    await stream.send(type_url=ENDPOINTS, resource_names=["a"])
    first = await stream.receive()
    assert values(first) == [b"1"]
    await stream.answer(first, resource_names=["a", "b"])
    assert values(await stream.receive()) == [b"1", b"2"]


async def test_a_refusal_stands_while_other_resources_change(open_stream, cache):
    stream = open_stream()
    cache.set(ENDPOINTS, {"a": b"1", "b": b"2"})
    await stream.send(type_url=ENDPOINTS, resource_names=["a"])
    await stream.answer(await stream.receive(), error="no", resource_names=["a"])
    with pytest.raises(NackedError, match="no"):
        await cache.taken(cache.set(ENDPOINTS, {"a": b"1", "b": b"3"}))


async def test_a_change_of_other_resources_is_taken_without_sending(open_stream, cache):
    stream = open_stream()
    cache.set(ENDPOINTS, {"a": b"1", "b": b"2"})
    await stream.send(type_url=ENDPOINTS, resource_names=["a"])
    await stream.answer(await stream.receive(), resource_names=["a"])
    wanted = cache.set(ENDPOINTS, {"a": b"1", "b": b"3"})
    await cache.taken(wanted)
    receiving = await stream.nothing_comes()
    cache.set(ENDPOINTS, {"a": b"2"})
    assert values(await receiving) == [b"2"]


async def test_all_streams_must_take_a_set(open_stream, cache):
    one, other = open_stream(), open_stream()
    wanted = cache.set(CLUSTERS, {"a": b"1"})
    for stream in (one, other):
        await stream.send(type_url=CLUSTERS)
    # Both are subscribed before one answers.
    first, second = await one.receive(), await other.receive()
    await one.answer(first)
    taken = asyncio.create_task(cache.taken(wanted))
    await asyncio.sleep(0.05)
    assert not taken.done()
    await other.answer(second)
    await taken


async def test_the_envoy_that_serves_is_the_one_whose_answers_count(open_stream, cache):
    serving, other = open_stream(), open_stream()
    cache.count("old")
    wanted = cache.set(CLUSTERS, {"a": b"1"})
    for stream, instance in ((serving, "old"), (other, "new")):
        node = api.messages("envoy.config.core.v3.Node")()
        name_instance(node, instance)
        await stream.send(type_url=CLUSTERS, node=node)
    first, second = await serving.receive(), await other.receive()
    await other.answer(second, error="no")
    taken = asyncio.create_task(cache.taken(wanted))
    await asyncio.sleep(0.05)
    assert not taken.done()
    await serving.answer(first)
    await taken
    cache.count("new")
    with pytest.raises(NackedError, match="no"):
        await cache.taken(wanted)


async def test_a_stream_that_ends_is_not_waited_for(open_stream, cache):
    one, other = open_stream(), open_stream()
    wanted = cache.set(CLUSTERS, {"a": b"1"})
    for stream in (one, other):
        await stream.send(type_url=CLUSTERS)
    await one.answer(await one.receive())
    await other.receive()
    taken = asyncio.create_task(cache.taken(wanted))
    other.call.cancel()
    await taken


async def test_streams_of_one_type_need_not_name_it(open_stream, cache):
    stream = open_stream("/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters")
    cache.set(CLUSTERS, {"a": b"1"})
    await stream.send()
    assert values(await stream.receive()) == [b"1"]


async def test_delta_sends_what_changed(open_delta, cache):
    stream = open_delta()
    cache.set(CLUSTERS, {"a": b"1", "b": b"2"})
    await stream.send(type_url=CLUSTERS)
    first = await stream.receive()
    assert changed(first) == ({"a": b"1", "b": b"2"}, [])
    await stream.answer(first)
    wanted = cache.set(CLUSTERS, {"b": b"x", "c": b"3"})
    second = await stream.receive()
    assert changed(second) == ({"b": b"x", "c": b"3"}, ["a"])
    await stream.answer(second)
    await cache.taken(wanted)


async def test_delta_does_not_send_what_the_client_brought_from_an_earlier_stream(open_delta, cache):
    cache.set(CLUSTERS, {"a": b"1", "b": b"2"})
    stream = open_delta()
    await stream.send(type_url=CLUSTERS)
    versions = {one.name: one.version for one in (await stream.receive()).resources}
    stream.call.cancel()
    cache.set(CLUSTERS, {"a": b"1", "b": b"x"})
    again = open_delta()
    await again.send(type_url=CLUSTERS, initial_resource_versions={**versions, "gone": "1"})
    assert changed(await again.receive()) == ({"b": b"x"}, ["gone"])


async def test_delta_tells_which_named_resources_do_not_exist(open_delta, cache):
    stream = open_delta()
    cache.set(ENDPOINTS, {"a": b"1"})
    await stream.send(type_url=ENDPOINTS, resource_names_subscribe=["a", "none"])
    first = await stream.receive()
    assert changed(first) == ({"a": b"1"}, ["none"])
    await stream.answer(first)
    cache.set(ENDPOINTS, {"a": b"1", "none": b"now"})
    assert changed(await stream.receive()) == ({"none": b"now"}, [])


async def test_delta_forgets_names_no_longer_wanted(open_delta, cache):
    stream = open_delta()
    cache.set(ENDPOINTS, {"a": b"1", "b": b"2"})
    await stream.send(type_url=ENDPOINTS, resource_names_subscribe=["a", "b"])
    await stream.answer(await stream.receive(), resource_names_unsubscribe=["a"])
    await asyncio.sleep(0.05)
    wanted = cache.set(ENDPOINTS, {"a": b"x", "b": b"2"})
    await cache.taken(wanted)


async def test_delta_refusals_carry_envoys_words(open_delta, cache):
    stream = open_delta()
    wanted = cache.set(LISTENERS, {"a": b"1"})
    await stream.send(type_url=LISTENERS)
    await stream.answer(await stream.receive(), error="cannot bind")
    with pytest.raises(NackedError, match="cannot bind"):
        await cache.taken(wanted)


async def test_delta_takes_an_answer_that_is_due_for_a_set_without_changes(open_delta, cache):
    stream = open_delta()
    cache.set(CLUSTERS, {"a": b"1"}, "1")
    await stream.send(type_url=CLUSTERS)
    response = await stream.receive()
    same = cache.set(CLUSTERS, {"a": b"1"}, "2")
    await stream.nothing_comes()
    await stream.answer(response)
    async with asyncio.timeout(30):
        await cache.taken(same)


async def test_delta_refusals_stand_while_nothing_changes(open_delta, cache):
    stream = open_delta()
    cache.set(LISTENERS, {"a": b"1"}, "1")
    await stream.send(type_url=LISTENERS)
    await stream.answer(await stream.receive(), error="cannot bind")
    with pytest.raises(NackedError, match="cannot bind"):
        await cache.taken(cache.set(LISTENERS, {"a": b"1"}, "2"))


async def test_answers_are_told_by_name(open_stream, cache):
    good, bad = open_stream(), open_stream()
    cache.set(ENDPOINTS, {"a": b"1", "b": b"2"})
    for stream, name, error in ((good, "a", None), (bad, "b", "no")):
        await stream.send(type_url=ENDPOINTS, resource_names=[name])
        await stream.answer(await stream.receive(), error=error, resource_names=[name])
    current = cache.current(ENDPOINTS)
    async with asyncio.timeout(30):
        assert await cache.answers(current, frozenset("abc"), lambda: frozenset("ab")) == {
            "a": None,
            "b": Refusal("no", keeps=False),
        }


async def test_streams_that_are_expected_to_want_a_name_are_waited_for(open_stream, cache):
    current = cache.set(ENDPOINTS, {"a": b"1"})
    answers = asyncio.create_task(cache.answers(current, frozenset("a"), lambda: frozenset("a")))
    await asyncio.sleep(0)
    assert not answers.done()
    stream = open_stream()
    await stream.send(type_url=ENDPOINTS, resource_names=["a"])
    await stream.answer(await stream.receive(), resource_names=["a"])
    async with asyncio.timeout(30):
        assert await answers == {"a": None}
    assert await cache.answers(current, frozenset("b")) == {}
