"""Updates of named policies, read a second time: names and addresses share one space of keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
State = dict[str, Json]
"""Policies by resource name."""


class RefusedError(Exception):
    """The update breaks a rule."""


@dataclass
class Update:
    """`upserts` in the order of the message."""

    upserts: list[tuple[str, Json]]
    removed: list[str]
    delta: bool
    new_stream: bool


def apply(before: State, update: Update) -> State:
    """The state after an update. Raises RefusedError."""
    state = dict(before) if update.delta and not update.new_stream else {}
    for name in update.removed if update.delta else []:
        if name in addresses(state):
            raise RefusedError("an address is not the name of a resource")
        state.pop(name, None)
    for name, policy in update.upserts:
        if name == "" or any(char.isspace() for char in name):
            raise RefusedError("not a name")
        if update.delta:
            state.pop(name, None)
        if not 1 <= len(policy["endpoint_ips"]) <= 2 or policy["endpoint_id"] == 0:
            raise RefusedError("not a policy")
        keys = [name, *policy["endpoint_ips"]]
        if len(set(keys)) < len(keys) or set(keys) & {*state, *addresses(state)}:
            raise RefusedError("a key is taken")
        state[name] = policy
    return state


def addresses(state: State) -> dict[str, Json]:
    """Policies by address."""
    return {address: policy for policy in state.values() for address in policy["endpoint_ips"]}
