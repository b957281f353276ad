"""Brings Envoy and the module from one snapshot of a standalone proxy to the next."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Mapping

from cilium_proxy.relay.channel import HOSTS, POLICIES, SECRETS, PolicyChannel
from cilium_proxy.relay.envoy_resources import EnvoyResources
from cilium_proxy.relay.policy_references import References, Use, for_module, references
from cilium_proxy.relay.resources import CLUSTERS, LISTENERS, NackedError, ResourceCache, ResourceSet
from cilium_proxy.relay.state import RejectedError
from cilium_proxy.relay.tls_placement import ContextRefusedError, TlsPlacement
from cilium_proxy.rewrite.cilium import Options
from cilium_proxy.rewrite.cilium.bootstrap import secret_source
from cilium_proxy.rewrite.standalone.bootstrap import XDS_CLUSTER
from cilium_proxy.sources.agent.update import Update
from cilium_proxy.sources.snapshot import Snapshot, transition

_log = logging.getLogger(__name__)


class RefusedError(Exception):
    """The module or Envoy refused a snapshot; the one before stays in force. The text is theirs."""


class _UnusableError(Exception):
    """Secrets that Envoy refuses, or resources that cannot be made fit for it. The text names them."""


_REFUSALS = (RejectedError, NackedError, ContextRefusedError, _UnusableError)


class Enforcer:
    """Applies snapshots one after the other. `current` is the one in force."""

    def __init__(self, channel: PolicyChannel, cache: ResourceCache) -> None:
        self.current: Snapshot | None = None
        self._channel = channel
        self._cache = cache
        self._envoy = EnvoyResources(cache, Options(privileged_sockets=False), {})
        self._placement = TlsPlacement(channel, cache, self._envoy, secret_source(XDS_CLUSTER))
        # What the policies of the snapshot in force refer to, and on the way to another those of both.
        self._references = References()
        self._known: dict[str, tuple[bytes, References]] = {}
        self._versions = itertools.count(1)

    async def close(self) -> None:
        """Ends what is under way."""
        await self._placement.close()

    async def apply(self, wanted: Snapshot) -> None:
        """Returns when all of it is in force. Raises RefusedError; then nothing of it is.

        Waits while no Envoy runs.
        """
        try:
            await self._bring(self.current, wanted)
        except _REFUSALS as error:
            if self.current is not None:
                await self._restore(wanted, self.current)
            raise RefusedError(str(error)) from error
        self.current = wanted

    async def _restore(self, refused: Snapshot, before: Snapshot) -> None:
        try:
            await self._bring(refused, before)
        except _REFUSALS as error:
            _log.error("the state before is refused, too: %s", error)

    async def _bring(self, before: Snapshot | None, wanted: Snapshot) -> None:
        refers = await asyncio.to_thread(self._refer, wanted.policies)
        self._references |= refers
        # Policies refer to secrets and TLS contexts: those come before them and go after them.
        secrets = for_module(wanted.secrets, refers.secrets)
        await self._publish(SECRETS, {**self._channel.state(SECRETS).resources, **secrets})
        discovered = _discovered(self._references.uses)
        await self._send_secrets({**_only(self._envoy.secrets, discovered), **_only(wanted.secrets, discovered)})
        _raise_if_any(await self._placement.bring(self._references.uses, self._envoy.secrets))
        for policies, hosts in await asyncio.to_thread(transition, before, wanted):
            await self._publish(POLICIES, policies)
            await self._publish(HOSTS, hosts)
        await self._publish(SECRETS, secrets)
        # Listeners refer to clusters: clusters come before them and go after them.
        await self._send(CLUSTERS, {**self._envoy.sources(CLUSTERS), **wanted.clusters})
        await self._send(LISTENERS, wanted.listeners)
        await self._send(CLUSTERS, wanted.clusters)
        # Only with the listeners there Envoy has looked at all secrets.
        await self._send_secrets(_only(wanted.secrets, _discovered(refers.uses)))
        _raise_if_any(await self._placement.bring(refers.uses, self._envoy.secrets))
        if refers != self._references:
            self._references = refers
            self._placement.retire(lambda: self._references.uses)

    def _refer(self, policies: Mapping[str, bytes]) -> References:
        """What policies refer to. Those that have not changed since the last call are not parsed again."""
        known, self._known = self._known, {}
        found = References()
        for name, policy in policies.items():
            before, refers = known.get(name, (b"", References()))
            self._known[name] = policy, refers if before == policy else references(policy)
            found |= self._known[name][1]
        return found

    async def _publish(self, url: str, resources: Mapping[str, bytes]) -> None:
        state = self._channel.state(url)
        # No secrets need no transaction; an empty set of the others is a state, too.
        if state.resources != resources or (state.sequence == 0 and url != SECRETS):
            await self._channel.publish(url, resources, self._version())

    async def _send(self, url: str, resources: Mapping[str, bytes]) -> None:
        await self._cache.taken(await self._offer(url, resources))

    async def _send_secrets(self, secrets: Mapping[str, bytes]) -> None:
        """Gives Envoy the secrets of TLS contexts, and no others."""
        if not secrets and self._cache.current(SECRETS) is None:
            return
        made = await self._offer(SECRETS, secrets)
        answers = await self._cache.answers(made, frozenset(secrets))
        _raise_if_any({name: refusal.error for name, refusal in answers.items() if refusal is not None})

    async def _offer(self, url: str, resources: Mapping[str, bytes]) -> ResourceSet:
        current = self._cache.current(url)
        if current is None or self._envoy.sources(url) != resources:
            update = Update(type_url=url, version=self._version(), resources=dict(resources))
            current, errors = await self._envoy.take(update, frozenset(resources))
            if errors:
                raise _UnusableError("; ".join(errors))
        return current

    def _version(self) -> str:
        return str(next(self._versions))


def _discovered(uses: frozenset[Use]) -> frozenset[str]:
    """Names of the secrets that TLS contexts refer to."""
    return frozenset().union(*(use.context.discovered for use in uses))


def _only(secrets: Mapping[str, bytes], names: frozenset[str]) -> dict[str, bytes]:
    return {name: secrets[name] for name in names & secrets.keys()}


def _raise_if_any(errors: Mapping[str, str]) -> None:
    if errors:
        raise _UnusableError("; ".join(f'secret "{name}": {errors[name]}' for name in sorted(errors)))
