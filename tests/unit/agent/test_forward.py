"""What becomes of the agent's updates, with a module's end of the channel and Envoy's end of the cache."""

import asyncio

import pytest
from tests.agent import resources
from tests.unit.relay.conftest import Module

from cilium_proxy import api
from cilium_proxy.relay.channel import HOSTS, POLICIES, SECRETS, PolicyChannel
from cilium_proxy.relay.forward import Forwarder
from cilium_proxy.relay.resources import CLUSTERS, LISTENERS, ROUTES, ResourceCache
from cilium_proxy.rewrite.cilium import Options
from cilium_proxy.sources.agent import RefusedError, Update


class Relay:
    def __init__(self, path):
        self.channel = PolicyChannel(path)
        self.cache = ResourceCache()
        self.forwarder = Forwarder(self.channel, self.cache, Options(), {})
        self.asked = {}
        self.forwarder.subscribe = self.asked.__setitem__
        self.forwarder.start()

    async def update(self, url, messages, version="1", **fields):
        """Stages an update and waits until it is in force."""
        values = {name: one if isinstance(one, bytes) else api.serialise(one) for name, one in messages.items()}
        await (await self.forwarder.stage(Update(type_url=url, version=version, resources=values, **fields)))

    def envoy(self, url, names=(), taking=True):
        """A stream of Envoy's that takes every set, or waits."""

        def changed():
            if taking:
                self.cache.acknowledge(subscription, self.cache.current(url).sequence)

        subscription = self.cache.subscribe(url, changed)
        self.cache.want(subscription, frozenset(names))
        return subscription


@pytest.fixture
async def relay(directory):
    relay = Relay(directory / "policy.sock")
    await relay.channel.start()
    yield relay
    await relay.forwarder.close()
    await relay.channel.close()


@pytest.fixture
async def module(relay):
    module = Module(relay.channel.path)
    await module.connect()
    yield module
    await module.disconnect()


def secret(name, **kind):
    kind = kind or {"generic_secret": {"secret": {"inline_string": "abc"}}}
    return api.from_dict("envoy.extensions.transport_sockets.tls.v3.Secret", {"name": name, **kind})


def with_secret(name, number=7):
    match = {"name": "x-token", "value_sds_secret": name}
    rule = {"http_rules": {"http_rules": [{"header_matches": [match]}]}}
    return resources.policy(f"10.0.0.{number}", number, [rule])


async def test_policies_and_hosts_are_subscribed_for_good(relay):
    assert relay.asked == {HOSTS: frozenset(), POLICIES: frozenset()}


async def test_policies_reach_the_module(relay, module):
    policy = resources.policy("10.0.0.7")
    await relay.update(POLICIES, {"7": policy}, first=True)
    assert module.policies() == {"7": api.serialise(policy)}


async def test_an_unchanged_policy_is_not_sent_again(relay, module):
    await relay.update(POLICIES, {"7": resources.policy("10.0.0.7")}, first=True)
    both = {"7": resources.policy("10.0.0.7"), "8": resources.policy("10.0.0.8", 8)}
    await relay.update(POLICIES, both, "2")
    assert module.transactions[-1][:2] == ("2", "DELTA")
    assert list(module.transactions[-1][2]) == ["8"]


async def test_the_first_update_of_a_stream_is_sent_whole(relay, module):
    for _ in range(2):
        await relay.update(POLICIES, {"7": resources.policy("10.0.0.7")}, first=True)
        assert module.transactions[-1][1] == "FULL"


async def test_until_an_update_of_a_stream_is_accepted_the_next_is_the_first(relay, module):
    await relay.update(POLICIES, {"7": resources.policy("10.0.0.7")}, first=True)
    module.refuse["8"] = "no"
    with pytest.raises(RefusedError, match="no"):
        await relay.update(POLICIES, {"8": resources.policy("10.0.0.8", 8)}, first=True)
    await relay.update(POLICIES, {"7": resources.policy("10.0.0.7")}, "2")
    assert module.transactions[-1][1] == "FULL"


async def test_the_first_delta_update_of_a_stream_keeps_what_the_ones_after_it_may_bring(relay, module):
    await relay.update(POLICIES, {"7": b"\x10\x07", "8": b"\x10\x08"}, first=True, delta=True)
    assert sorted(relay.forwarder.held(POLICIES)) == ["7", "8"]
    await relay.update(POLICIES, {"7": b"\x10\x09"}, first=True, delta=True)
    assert module.transactions[-1][1] == "FULL", "the stream is new to the module, too"
    assert module.policies() == {"7": b"\x10\x09", "8": b"\x10\x08"}
    await relay.update(POLICIES, {}, "2", removed=("8",), delta=True)
    assert list(module.policies()) == ["7"]


async def test_the_first_delta_update_takes_the_place_of_what_it_cannot_stand_beside(relay, module):
    await relay.update(POLICIES, {"7": b"\x10\x07"}, first=True, delta=True)
    module.refuse["7"] = "another has that address"
    await relay.update(POLICIES, {"endpoint 7": b"\x10\x07"}, first=True, delta=True)
    assert list(module.policies()) == ["endpoint 7"]


async def test_listeners_that_the_first_delta_update_of_a_stream_lacks_stay(relay):
    relay.envoy(LISTENERS)
    one, other = resources.Agent().http(ingress=True), resources.Agent().http(ingress=False)
    await relay.update(LISTENERS, {"one": one, "other": other}, first=True, delta=True)
    assert sorted(relay.forwarder.held(LISTENERS)) == ["one", "other"]
    await relay.update(LISTENERS, {"one": one}, "2", first=True, delta=True)
    assert sorted(relay.cache.current(LISTENERS).resources) == ["one", "other"]
    await relay.update(LISTENERS, {}, "3", removed=("other",), delta=True)
    assert list(relay.cache.current(LISTENERS).resources) == ["one"]


async def test_delta_updates_change_what_is_there(relay, module):
    await relay.update(POLICIES, {"7": b"\x10\x07", "8": b"\x10\x08"}, first=True, delta=True)
    await relay.update(POLICIES, {"9": b"\x10\x09"}, "2", removed=("7",), delta=True)
    assert sorted(module.policies()) == ["8", "9"]


async def test_what_was_refused_in_the_first_delta_update_is_not_lost(relay, module):
    module.refuse["8"] = "no"
    with pytest.raises(RefusedError):
        await relay.update(POLICIES, {"7": b"\x10\x07", "8": b"\x10\x08"}, first=True, delta=True)
    assert module.policies() == {}
    module.refuse.clear()
    await relay.update(POLICIES, {"8": b"\x10\x09"}, "2", delta=True)
    assert module.policies() == {"7": b"\x10\x07", "8": b"\x10\x09"}


async def test_a_refused_delta_does_not_hold_up_the_next_and_is_tried_again(relay, module):
    await relay.update(POLICIES, {"7": b"\x10\x07"}, first=True, delta=True)
    module.refuse["8"] = "no"
    with pytest.raises(RefusedError):
        await relay.update(POLICIES, {"8": b"\x10\x08"}, "2", removed=("7",), delta=True)
    await relay.update(POLICIES, {"9": b"\x10\x09"}, "3", delta=True)
    assert sorted(module.policies()) == ["7", "9"]
    module.refuse.clear()
    await relay.update(POLICIES, {"10": b"\x10\x0a"}, "4", delta=True)
    assert sorted(module.policies()) == ["10", "8", "9"]


async def test_a_refused_delta_that_is_taken_back_is_not_tried_again(relay, module):
    await relay.update(POLICIES, {"7": b"\x10\x07"}, first=True, delta=True)
    module.refuse["8"] = "no"
    with pytest.raises(RefusedError):
        await relay.update(POLICIES, {"8": b"\x10\x08"}, "2", delta=True)
    module.refuse.clear()
    await relay.update(POLICIES, {}, "3", removed=("8",), delta=True)
    assert sorted(module.policies()) == ["7"]


async def test_a_new_stream_forgets_what_was_refused(relay, module):
    module.refuse["8"] = "no"
    with pytest.raises(RefusedError):
        await relay.update(POLICIES, {"8": b"\x10\x08"}, first=True, delta=True)
    module.refuse.clear()
    await relay.update(POLICIES, {"7": b"\x10\x07"}, first=True, delta=True)
    assert sorted(module.policies()) == ["7"]


async def test_a_refused_update_is_counted_with_its_reason(relay, module):
    module.refuse["7"] = "endpoint 7: no"
    with pytest.raises(RefusedError):
        await relay.update(POLICIES, {"7": resources.policy("10.0.0.7")})
    counts = relay.forwarder.counts[POLICIES]
    assert (counts.updates, counts.refused, counts.error) == (1, 1, "endpoint 7: no")


async def test_an_agent_that_vanishes_does_not_stop_an_update(relay):
    staged = await relay.forwarder.stage(Update(type_url=POLICIES, version="1", resources={"7": b"\x10\x07"}))
    waiting = asyncio.ensure_future(staged)
    await asyncio.sleep(0)
    waiting.cancel()
    module = Module(relay.channel.path)
    await module.connect()
    async with asyncio.timeout(30):
        while module.policies() != {"7": b"\x10\x07"}:
            await asyncio.sleep(0.01)
    await module.disconnect()


async def test_secrets_that_policies_name_are_asked_for_and_given_to_the_module(relay, module):
    await relay.update(POLICIES, {"7": with_secret("a")}, first=True)
    assert relay.asked[SECRETS] == {"a"}
    await relay.update(SECRETS, {"a": secret("a")})
    assert list(module.resources[SECRETS]) == ["a"]


async def test_secrets_of_gone_policies_are_given_up(relay, module):
    await relay.update(POLICIES, {"7": with_secret("a"), "8": with_secret("b", 8)}, first=True)
    await relay.update(SECRETS, {"a": secret("a"), "b": secret("b")})
    await relay.update(POLICIES, {"8": with_secret("b", 8)}, "2")
    assert relay.asked[SECRETS] == {"b"}
    assert list(module.resources[SECRETS]) == ["b"]


async def test_secrets_of_a_policy_in_force_stay_while_a_change_of_it_is_refused(relay, module):
    await relay.update(POLICIES, {"7": with_secret("a")}, first=True, delta=True)
    await relay.update(SECRETS, {"a": secret("a"), "b": secret("b")})
    module.refuse["7"] = "no"
    with pytest.raises(RefusedError):
        await relay.update(POLICIES, {"7": with_secret("b")}, "2", delta=True)
    await relay.update(POLICIES, {"8": resources.policy("10.0.0.8", 8)}, "3", delta=True)
    assert sorted(module.policies()) == ["7", "8"]
    assert relay.asked[SECRETS] == {"a"}
    assert list(module.resources[SECRETS]) == ["a"]
    module.refuse.clear()
    await relay.update(POLICIES, {"9": resources.policy("10.0.0.9", 9)}, "4", delta=True)
    assert relay.asked[SECRETS] == {"b"}
    assert list(module.resources[SECRETS]) == []


async def test_secrets_of_a_policy_whose_removal_was_refused_first_are_given_up(relay, module):
    await relay.update(POLICIES, {"6": with_secret("b", 6), "7": with_secret("a")}, first=True, delta=True)
    module.refuse["8"] = "no"
    with pytest.raises(RefusedError):
        await relay.update(POLICIES, {"8": b"\x10\x08"}, "2", removed=("7",), delta=True)
    assert relay.asked[SECRETS] == {"a", "b"}
    module.refuse.clear()
    await relay.update(POLICIES, {"9": b"\x10\x09"}, "3", delta=True)
    assert sorted(module.policies()) == ["6", "8", "9"]
    assert relay.asked[SECRETS] == {"b"}


async def test_a_secret_that_envoy_has_already_is_with_the_module_before_the_policy(relay, module):
    relay.envoy(SECRETS, ["a"])
    await relay.update(SECRETS, {"a": secret("a")})
    await relay.update(POLICIES, {"7": with_secret("a")}, first=True)
    assert list(module.resources[SECRETS]) == ["a"]
    assert relay.asked[SECRETS] == {"a"}


@pytest.mark.parametrize(
    "kind",
    [
        {"tls_certificate": {"private_key": {"inline_string": "key"}}},
        {"validation_context": {"trusted_ca": {"inline_string": "ca"}}},
        {"generic_secret": {"secret": {"filename": "/etc/shadow"}}},
    ],
)
async def test_only_inline_generic_secrets_go_to_the_module(relay, module, kind):
    await relay.update(POLICIES, {"7": with_secret("a")}, first=True)
    await relay.update(SECRETS, {"a": secret("a", **kind)})
    assert module.resources.get(SECRETS, {}) == {}


async def test_secrets_nobody_named_do_not_go_to_the_module(relay, module):
    relay.envoy(SECRETS, ["a", "b"])
    await relay.update(POLICIES, {"7": with_secret("a")}, first=True)
    await relay.update(SECRETS, {"a": secret("a"), "b": secret("b")})
    assert list(module.resources[SECRETS]) == ["a"]


async def test_what_envoy_asks_for_is_asked_of_the_agent(relay):
    stream = relay.envoy(ROUTES, ["a"])
    other = relay.envoy(ROUTES, ["b"])
    assert relay.asked[ROUTES] == {"a", "b"}
    relay.cache.unsubscribe(other)
    assert relay.asked[ROUTES] == {"a"}
    relay.cache.unsubscribe(stream)
    assert relay.asked[ROUTES] == {"a"}, "the Envoy that comes next will ask for it, too"


async def test_routes_that_a_response_leaves_out_stay(relay):
    relay.envoy(ROUTES, ["a", "b"])
    route = "envoy.config.route.v3.RouteConfiguration"
    await relay.update(ROUTES, {name: api.from_dict(route, {"name": name}) for name in "ab"})
    await relay.update(ROUTES, {"a": api.from_dict(route, {"name": "a", "internal_only_headers": ["x"]})}, "2")
    assert sorted(relay.cache.current(ROUTES).resources) == ["a", "b"]


async def test_clusters_that_a_response_leaves_out_go(relay):
    relay.envoy(CLUSTERS)
    for version, names in (("1", "ab"), ("2", "a")):
        found = {name: api.from_dict("envoy.config.cluster.v3.Cluster", {"name": name}) for name in names}
        await relay.update(CLUSTERS, found, version)
    assert (relay.cache.current(CLUSTERS).version, list(relay.cache.current(CLUSTERS).resources)) == ("2", ["a"])


async def test_a_refusal_of_envoy_s_is_the_agent_s_answer(relay):
    stream = relay.envoy(LISTENERS, taking=False)
    updating = asyncio.ensure_future(relay.update(LISTENERS, {"a": resources.Agent().http(ingress=True)}))
    while relay.cache.current(LISTENERS) is None:
        await asyncio.sleep(0.01)
    relay.cache.refuse(stream, relay.cache.current(LISTENERS).sequence, "listener a: no")
    with pytest.raises(RefusedError, match="listener a: no"):
        await updating


async def test_an_unchanged_resource_is_not_rewritten_again(relay, monkeypatch):
    relay.envoy(LISTENERS)
    one, other = resources.Agent().http(ingress=True), resources.Agent().http(ingress=False)
    await relay.update(LISTENERS, {"one": one, "other": other})
    rewritten = []
    import cilium_proxy.relay.held as held

    original = held.rewrite
    monkeypatch.setattr(held, "rewrite", lambda *arguments: rewritten.append(1) or original(*arguments))
    other.stat_prefix = "changed"
    await relay.update(LISTENERS, {"one": one, "other": other}, "2")
    assert len(rewritten) == 1
