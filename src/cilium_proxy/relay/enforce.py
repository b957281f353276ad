"""Brings Envoy and the module from one snapshot of a standalone proxy to the next."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Mapping

from cilium_proxy.relay.channel import HOSTS, POLICIES, SECRETS, PolicyChannel
from cilium_proxy.relay.policy_references import for_module, references
from cilium_proxy.relay.resources import CLUSTERS, LISTENERS, NackedError, ResourceCache
from cilium_proxy.relay.state import RejectedError
from cilium_proxy.sources.snapshot import Snapshot, transition

_log = logging.getLogger(__name__)


class RefusedError(Exception):
    """The module or Envoy refused a snapshot; the one before stays in force. The text is theirs."""


class Enforcer:
    """Applies snapshots one after the other. `current` is the one in force."""

    def __init__(self, channel: PolicyChannel, cache: ResourceCache) -> None:
        self.current: Snapshot | None = None
        self._channel = channel
        self._cache = cache
        self._versions = itertools.count(1)

    async def apply(self, wanted: Snapshot) -> None:
        """Returns when all of it is in force. Raises RefusedError; then nothing of it is.

        Waits while no Envoy runs.
        """
        try:
            await self._bring(self.current, wanted)
        except (RejectedError, NackedError) as error:
            if self.current is not None:
                await self._restore(wanted, self.current)
            raise RefusedError(str(error)) from error
        self.current = wanted

    async def _restore(self, refused: Snapshot, before: Snapshot) -> None:
        try:
            await self._bring(refused, before)
        except (RejectedError, NackedError) as error:
            _log.error("the state before is refused, too: %s", error)

    async def _bring(self, before: Snapshot | None, wanted: Snapshot) -> None:
        # Policies refer to secrets: those come before them and go after them.
        secrets = await asyncio.to_thread(_needed, wanted)
        await self._publish(SECRETS, {**self._channel.state(SECRETS).resources, **secrets})
        for policies, hosts in await asyncio.to_thread(transition, before, wanted):
            await self._publish(POLICIES, policies)
            await self._publish(HOSTS, hosts)
        await self._publish(SECRETS, secrets)
        # Listeners refer to clusters: clusters come before them and go after them.
        held = self._cache.current(CLUSTERS)
        await self._send(CLUSTERS, {**(held.resources if held else {}), **wanted.clusters})
        await self._send(LISTENERS, wanted.listeners)
        await self._send(CLUSTERS, wanted.clusters)

    async def _publish(self, url: str, resources: Mapping[str, bytes]) -> None:
        state = self._channel.state(url)
        # No secrets need no transaction; an empty set of the others is a state, too.
        if state.resources != resources or (state.sequence == 0 and url != SECRETS):
            await self._channel.publish(url, resources, str(next(self._versions)))

    async def _send(self, url: str, resources: Mapping[str, bytes]) -> None:
        await self._cache.taken(self._cache.set(url, resources))


def _needed(wanted: Snapshot) -> dict[str, bytes]:
    """The secrets that policies name; the module gets no others."""
    if not wanted.secrets:
        return {}
    return for_module(
        wanted.secrets, frozenset().union(*(references(policy).secrets for policy in wanted.policies.values()))
    )
