"""Sequences of updates, full and incremental, on one stream and on new ones, against a naive map."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cilium_proxy.policy import PolicyMap, PolicyRejected

from . import naive_updates as naive

ADDRESSES = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1"]
NAMES = st.sampled_from(["a", "b", "c", "10.0.0.1", "10.0.0.1", "a", "b", "c", "", "a b", "a\x0b"])
REMOTES = [1, 2]
policies = st.fixed_dictionaries(
    {
        "endpoint_ips": st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=2),
        "endpoint_id": st.sampled_from([1, 2, 3, 4, 5, 6, 7, 0]),
        "ingress_per_port_policies": st.sampled_from(REMOTES).map(
            lambda remote: [{"port": 80, "rules": [{"remote_policies": [remote]}]}]
        ),
    }
)
updates = st.builds(
    naive.Update,
    upserts=st.lists(st.tuples(NAMES, policies), max_size=3),
    removed=st.lists(st.sampled_from(["a", "b", "c", "10.0.0.1", "10.0.0.2", "nobody"]), max_size=2),
    delta=st.sampled_from([True, True, False]),
    new_stream=st.sampled_from([False, False, False, True]),
)


@settings(max_examples=800, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(updates, min_size=1, max_size=8))
def test_engine_and_naive_map_hold_the_same_policies(sequence: list[naive.Update]) -> None:
    engine, state = PolicyMap(), naive.State()
    version, new_stream = "", False
    for number, update in enumerate(sequence):
        new_stream |= update.new_stream
        try:
            state = naive.apply(state, replace(update, new_stream=new_stream))
            accepted, new_stream = True, False
            version = str(number)
        except naive.RefusedError:
            accepted = False
        assert apply(engine, update, str(number)) is accepted, update
        assert engine.version == version
        wanted = naive.addresses(state)
        assert engine.endpoints() == {address: policy["endpoint_id"] for address, policy in wanted.items()}
        for address, policy in wanted.items():
            for remote in REMOTES:
                verdict = engine.network(endpoint=address, direction="ingress", remote=remote, port=80)
                assert verdict.allowed is (
                    policy["ingress_per_port_policies"][0]["rules"][0]["remote_policies"] == [remote]
                )


def apply(engine: PolicyMap, update: naive.Update, version: str) -> bool:
    resources: list[Any] = [{"name": name, "resource": policy} for name, policy in update.upserts]
    removed = update.removed if update.delta else []
    try:
        engine.update(resources, removed=removed, version=version, delta=update.delta, new_stream=update.new_stream)
    except PolicyRejected:
        return False
    return True
