import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cilium_proxy.relay import frames
from cilium_proxy.relay.channel import HOSTS, POLICIES, PolicyChannel
from cilium_proxy.relay.state import RejectedError


async def test_a_change_is_in_force_when_publish_returns(channel, connect):
    module = await connect()
    await channel.publish(POLICIES, {"a": b"1"}, "v1")
    assert module.policies() == {"a": b"1"}


async def test_only_what_differs_is_sent(channel, connect):
    module = await connect()
    await channel.publish(POLICIES, {"a": b"1", "b": b"2", "c": b"3"}, "v1")
    await channel.publish(POLICIES, {"a": b"1", "b": b"x", "d": b"4"}, "v2")
    assert module.transactions[-1] == ("v2", "DELTA", {"b": b"x", "d": b"4"}, ["c"])
    assert module.policies() == {"a": b"1", "b": b"x", "d": b"4"}


async def test_a_new_stream_sends_everything_anew(channel, connect):
    module = await connect()
    await channel.publish(POLICIES, {"a": b"1"}, "v1")
    await channel.publish(POLICIES, {"a": b"1"}, "v1", new_stream=True)
    assert module.transactions[-1] == ("v1", "FULL", {"a": b"1"}, [])


async def test_a_change_made_by_the_source_is_passed_on(channel, connect):
    module = await connect()
    await channel.publish(POLICIES, {"a": b"1", "b": b"2"}, "v1")
    await channel.change(POLICIES, {"b": b"2", "c": b"3"}, ["a", "unknown"], "v2")
    assert module.transactions[-1] == ("v2", "DELTA", {"c": b"3"}, ["a"])


async def test_publish_waits_for_a_module(channel, connect):
    publishing = asyncio.create_task(channel.publish(POLICIES, {"a": b"1"}, "v1"))
    await asyncio.sleep(0.05)
    assert not publishing.done()
    module = await connect()
    await publishing
    assert module.policies() == {"a": b"1"}


async def test_all_modules_must_accept(channel, connect):
    one, other = await connect(name="one"), await connect(name="other")
    await channel.publish(POLICIES, {"a": b"1"}, "v1")
    other.refuse = {"b": "endpoint 7: no"}
    with pytest.raises(RejectedError, match="endpoint 7: no"):
        await channel.publish(POLICIES, {"a": b"1", "b": b"2"}, "v2")
    assert one.policies() == other.policies() == {"a": b"1"}
    assert channel.state(POLICIES).version == "v1"
    assert channel.state(POLICIES).error == "endpoint 7: no"


async def test_what_only_a_module_refuses_that_does_not_serve_is_in_force(channel, connect):
    serving, other = await connect(name="old"), await connect(name="new")
    channel.count("old")
    other.refuse = {"a": "no"}
    await channel.publish(POLICIES, {"a": b"1"}, "v1")
    assert (serving.policies(), other.policies()) == ({"a": b"1"}, {})
    channel.count("new")
    with pytest.raises(RejectedError, match="no"):
        await channel.publish(POLICIES, {"a": b"2"}, "v2")
    assert serving.policies() == {"a": b"1"}


async def test_after_a_refusal_the_next_change_is_taken(channel, connect):
    module = await connect()
    await channel.publish(POLICIES, {"a": b"1"}, "v1")
    module.refuse = {"b": "no"}
    with pytest.raises(RejectedError):
        await channel.publish(POLICIES, {"b": b"2"}, "v2")
    await channel.publish(POLICIES, {"c": b"3"}, "v3")
    assert module.policies() == {"c": b"3"}
    assert channel.state(POLICIES).error is None


async def test_a_module_that_comes_back_is_not_sent_what_it_has(channel, connect):
    module = await connect()
    await channel.publish(POLICIES, {"a": b"1"}, "v1")
    await module.disconnect()
    sent = len(module.transactions)
    await connect(module)
    await channel.publish(HOSTS, {"1": b"h"}, "h1")
    assert [kind for _, kind, *_ in module.transactions[sent:]] == ["FULL"]
    assert module.resources[HOSTS] == {"1": b"h"}
    await channel.publish(POLICIES, {"a": b"2"}, "v2")
    assert module.transactions[-1] == ("v2", "DELTA", {"a": b"2"}, [])


async def test_a_module_that_missed_a_change_gets_it(channel, connect):
    one, other = await connect(name="one"), await connect(name="other")
    await channel.publish(POLICIES, {"a": b"1"}, "v1")
    await other.disconnect()
    while len(channel.sessions) > 1:
        await asyncio.sleep(0)
    await channel.publish(POLICIES, {"a": b"2"}, "v2")
    await connect(other)
    await channel.publish(HOSTS, {}, "h1")
    assert one.policies() == other.policies() == {"a": b"2"}


async def test_a_version_used_again_for_another_state_is_no_match(channel, connect):
    one, other = await connect(name="one"), await connect(name="other")
    await channel.publish(POLICIES, {"a": b"old"}, "1")
    await other.disconnect()
    while len(channel.sessions) > 1:
        await asyncio.sleep(0)
    await channel.publish(POLICIES, {"a": b"new"}, "1", new_stream=True)
    await connect(other)
    await channel.publish(HOSTS, {}, "h1")
    assert one.policies() == other.policies() == {"a": b"new"}


async def test_a_module_keeps_what_it_has_until_a_new_control_plane_has_state(channel, connect, directory):
    module = await connect()
    await channel.publish(POLICIES, {"a": b"1"}, "v1")
    await channel.close()
    await module.disconnect()
    successor = PolicyChannel(directory / "policy.sock")
    await successor.start()
    try:
        module.transactions.clear()
        await module.connect()
        assert module.hello.epoch != channel.epoch
        await asyncio.sleep(0.05)
        assert (module.policies(), module.transactions) == ({"a": b"1"}, [])
        await successor.publish(POLICIES, {"a": b"2"}, "v1")
        assert module.transactions == [("v1", "FULL", {"a": b"2"}, [])]
    finally:
        await module.disconnect()
        await successor.close()


async def test_a_module_that_vanishes_during_a_change_gets_it_when_it_is_back(channel, connect):
    module = await connect()
    await channel.publish(POLICIES, {"a": b"1"}, "v1")
    module.mute = True
    publishing = asyncio.create_task(channel.publish(POLICIES, {"a": b"2"}, "v2"))
    while len(module.transactions) < 2:
        await asyncio.sleep(0)
    await module.disconnect()
    assert not publishing.done()
    module.mute = False
    await connect(module)
    await publishing
    assert module.policies() == {"a": b"2"}


async def test_a_module_that_does_not_answer_in_time_refuses(directory):
    channel = PolicyChannel(directory / "policy.sock", result_timeout=0.05)
    await channel.start()
    reader, writer = await asyncio.open_unix_connection(str(channel.path))
    try:
        writer.write(frames.encode(module_hello={"protocol": 1, "instance": "silent"}))
        with pytest.raises(RejectedError, match="silent did not answer"):
            await channel.publish(POLICIES, {"a": b"1"}, "v1")
        assert channel.state(POLICIES).sequence == 0
        await reader.read()  # ends: the channel has closed the connection
    finally:
        writer.close()
        await channel.close()


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x02\xff\xff",
        frames.encode(commit={"txn": 1}),
        frames.encode(module_hello={"protocol": 9}),
        b"\x00\x00",
    ],
    ids=["huge", "malformed", "no hello", "other protocol", "cut"],
)
async def test_a_peer_that_breaks_the_protocol_is_cut_off(channel, connect, bytes_sent):
    reader, writer = await asyncio.open_unix_connection(str(channel.path))
    writer.write(bytes_sent)
    writer.write_eof()
    await reader.read()
    writer.close()
    module = await connect()
    await channel.publish(POLICIES, {"a": b"1"}, "v1")
    assert module.policies() == {"a": b"1"}


async def test_a_large_state_leaves_the_event_loop_free(channel, connect):
    module = await connect()
    state = {str(number): b"x" * 4096 for number in range(5000)}
    running = True
    steps = 0

    async def count():
        nonlocal steps
        while running:
            steps += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await channel.publish(POLICIES, state, "v1")
    running = False
    await counting
    assert module.policies() == state
    # 20 MB in chunks of 256 KiB: others run in between.
    assert steps > 50


STATES = st.lists(st.dictionaries(st.sampled_from("abcdef"), st.binary(max_size=3)), min_size=1, max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(states=STATES, refused=st.sets(st.sampled_from("abcdef"), max_size=2))
async def test_modules_always_hold_the_last_accepted_state(directory, module_type, states, refused):
    channel = PolicyChannel(directory / "p.sock")
    await channel.start()
    module = module_type(channel.path)
    await module.connect()
    try:
        module.refuse = dict.fromkeys(refused, "no")
        expected = {}
        for number, state in enumerate(states):
            changed = {name for name, value in state.items() if expected.get(name) != value}
            whole = number == 0 or channel.state(POLICIES).sequence == 0
            if refused & (set(state) if whole else changed):
                with pytest.raises(RejectedError):
                    await channel.publish(POLICIES, state, str(number))
            else:
                await channel.publish(POLICIES, state, str(number))
                expected = state
            assert module.policies() == expected == channel.state(POLICIES).resources
    finally:
        await module.disconnect()
        await channel.close()
