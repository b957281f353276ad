"""From one state to the next without a wrong verdict on the way.

Policies name peers by identity, and which address has which identity is delivered separately. When a CIDR rule brings
a new prefix, neither order is right: the policies do not know the new identity yet, or the addresses do not have it.
"""

from __future__ import annotations

from dataclasses import dataclass

from cilium_proxy.policy.compile.compiler import Compiled
from cilium_proxy.policy.compile.emit import emit
from cilium_proxy.policy.compile.identities import LOCAL_SCOPE, Identities
from cilium_proxy.policy.compile.rule import Message, contains


@dataclass(frozen=True, slots=True)
class Step:
    """To be in force together: first `resources`, then `hosts`."""

    resources: dict[str, Message]
    hosts: dict[str, Message]


def steps(old: Compiled, new: Compiled) -> tuple[Step, ...]:
    """The states to go through, the last being `new`; only that one when no address changes its identity.

    In between both know the identities of either. Taken in order, resources before hosts, each verdict is at every
    moment that of the old or of the new policies, for all addresses that stay with their endpoint or identity of
    proxy.yaml; those that move do so with the first hosts. Both states must come from the same allocator.
    """
    last = Step(new.resources, new.hosts)
    if old.hosts == new.hosts:
        return (last,)
    both = old.identities.union(new.identities)
    return (Step(_emit(old, both), _hosts(old, new)), Step(_emit(new, both), new.hosts), last)


def _emit(state: Compiled, identities: Identities) -> dict[str, Message]:
    """The state's rules in terms of these identities. What was given as a resource stays as it is."""
    return {
        name: resource | emit(state.rules[name], identities) if name in state.rules else resource
        for name, resource in state.resources.items()
    }


def _hosts(old: Compiled, new: Compiled) -> dict[str, Message]:
    """The new hosts and the old prefixes, except those that now belong to an endpoint or identity."""
    claims = [prefix for item in new.identities.all if not item.number & LOCAL_SCOPE for prefix in item.prefixes]
    kept = tuple(
        item
        for item in old.identities.all
        if item.number & LOCAL_SCOPE and not any(contains(claim, item.prefixes[0]) for claim in claims)
    )
    return Identities(kept).union(new.identities).hosts()
