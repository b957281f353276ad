"""Brings what the agent sends to Envoy and to the module, and learns what became of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from cilium_proxy.relay.channel import HOSTS, POLICIES, SECRETS, PolicyChannel
from cilium_proxy.relay.envoy_resources import EnvoyResources
from cilium_proxy.relay.outstanding import Step
from cilium_proxy.relay.policy_references import PolicyReferences, for_module
from cilium_proxy.relay.resources import WILDCARDS, NackedError, ResourceCache, ResourceSet
from cilium_proxy.relay.state import RejectedError
from cilium_proxy.relay.tls_placement import ContextRefusedError, TlsPlacement
from cilium_proxy.rewrite.cilium import Options
from cilium_proxy.rewrite.cilium.bootstrap import secret_source
from cilium_proxy.rewrite.cilium.tls_context import is_own
from cilium_proxy.sources.agent.update import RefusedError, Update

_log = logging.getLogger(__name__)

Subscribe = Callable[[str, frozenset[str]], None]


@dataclass(slots=True)
class Counts:
    """Updates of one type. `error` is why the last one was refused, None if it was not. Times: since the epoch."""

    updates: int = 0
    refused: int = 0
    version: str = ""
    error: str | None = None
    error_at: float = 0.0
    applied_at: float = 0.0


class Forwarder:
    """The sink of an agent's updates.

    Policies, hosts and the secrets policies name go to the module, all else to Envoy, and the TLS contexts of policies
    to both. `subscribe` asks the agent for resources by type and names. `clusters` are those of the bootstrap that
    have such contexts. `anew`: no Envoy goes on with what it has.
    """

    def __init__(
        self,
        channel: PolicyChannel,
        cache: ResourceCache,
        options: Options,
        clusters: Mapping[str, bytes],
        *,
        anew: bool = True,
    ) -> None:
        self.counts: dict[str, Counts] = {}
        self.subscribe: Subscribe = lambda _url, _names: None
        self._channel = channel
        self._cache = cache
        self._envoy = EnvoyResources(cache, options, clusters, anew=anew)
        self.placement = TlsPlacement(channel, cache, self._envoy, secret_source())
        # Names that Envoy's streams asked for; those of a gone Envoy are kept for the one that follows it.
        self._wanted: dict[str, frozenset[str]] = {}
        self._references = PolicyReferences()
        # Incremental changes that were refused, by type.
        self._outstanding: dict[str, Step] = {}
        # Types whose new stream has had no accepted update yet.
        self._fresh: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        cache.on_wanted = self._want

    def start(self) -> None:
        """Subscribes to what the module needs, for good."""
        self.subscribe(HOSTS, frozenset())
        self.subscribe(POLICIES, frozenset())

    async def close(self) -> None:
        """Ends what is under way."""
        await self.placement.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def held(self, type_url: str) -> Collection[str]:
        """See `cilium_proxy.sources.agent.Sink`."""
        if type_url in (POLICIES, HOSTS):
            return self._channel.state(type_url).resources.keys()
        return self._envoy.sources(type_url).keys()

    async def stage(self, update: Update) -> Awaitable[None]:
        """See `cilium_proxy.sources.agent.Sink`."""
        counts = self.counts.setdefault(update.type_url, Counts())
        counts.updates += 1
        if update.type_url in (POLICIES, HOSTS):
            work = self._enforce(update)
        else:
            work = await self._configure(update)
        # Goes on although the stream it came on ends.
        task = asyncio.create_task(self._count(counts, update, work))
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return asyncio.shield(task)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Whoever waited has it, or the agent is gone; it is logged.
            task.exception()

    async def _count(self, counts: Counts, update: Update, work: Coroutine[Any, Any, None]) -> None:
        started = time.monotonic()
        kind = update.type_url.rpartition(".")[2]
        try:
            await work
        except RefusedError as error:
            counts.refused += 1
            counts.error, counts.error_at = str(error), time.time()
            _log.error("agent: %s version %s is refused: %s", kind, update.version, error)
            raise
        counts.version, counts.error, counts.applied_at = update.version, None, time.time()
        _log.debug(
            "agent: %s version %s (%d resources) in force after %.0f ms",
            *(kind, update.version, len(update.resources), (time.monotonic() - started) * 1000),
        )

    # To the module.

    async def _enforce(self, update: Update) -> None:
        url = update.type_url
        async with self._turn[url]:
            if update.first:
                self._fresh.add(url)
            fresh = url in self._fresh
            try:
                if url == POLICIES:
                    await self._refer(update)
                if update.delta:
                    await self._change(update, fresh)
                else:
                    await self._channel.publish(url, update.resources, update.version, new_stream=fresh)
            except (RejectedError, ContextRefusedError) as error:
                raise RefusedError(str(error)) from error
            else:
                self._fresh.discard(url)
            finally:
                if url == POLICIES and self._references.settle(self._channel.state(url).resources):
                    self._want(SECRETS)
                    await self._pass_secrets(update.version)
                    self.placement.retire(lambda: self._references.uses)

    async def _change(self, update: Update, fresh: bool) -> None:
        """Puts an incremental update into force, and with it what was refused before, if that is accepted now."""
        url, this = update.type_url, Step.of(update)
        before = Step() if update.first else self._outstanding.get(url, Step())
        both = before.then(this)
        self._outstanding[url] = both
        try:
            await self._channel.change(url, both.upserts, both.removed, update.version, new_stream=fresh)
        except RejectedError:
            if before:
                await self._channel.change(url, this.upserts, this.removed, update.version, new_stream=fresh)
                self._outstanding[url] = before.without(this)
            elif fresh:
                # Perhaps for what is held: an agent that has changed may name the same things differently.
                await self._channel.publish(url, this.upserts, update.version, new_stream=True)
                self._outstanding[url] = Step()
            else:
                raise
        else:
            self._outstanding[url] = Step()

    async def _refer(self, update: Update) -> None:
        """Prepares for what the policies of the update refer to.

        Before the module has them it has the secrets that are here, and Envoy the TLS contexts.
        """
        held = self._channel.state(POLICIES).resources
        before = self._outstanding.get(POLICIES, Step()) if update.delta and not update.first else Step()
        incoming = before.then(Step.of(update)).upserts
        changed = {name: value for name, value in incoming.items() if held.get(name) != value}
        if await asyncio.to_thread(self._references.offer, changed):
            self._want(SECRETS)
            await self._pass_secrets(update.version)
            await self.placement.bring(self._references.uses, self._envoy.secrets)

    async def _pass_secrets(self, version: str) -> None:
        """Gives the module the secrets that policies name."""
        async with self._turn[SECRETS]:
            passed = for_module(self._envoy.secrets, self._references.secrets)
            state = self._channel.state(SECRETS)
            if state.resources == passed:
                return
            try:
                await self._channel.publish(SECRETS, passed, version)
            except RejectedError as error:
                raise RefusedError(str(error)) from error

    # To Envoy.

    async def _configure(self, update: Update) -> Coroutine[Any, Any, None]:
        # The end of the stream must not leave half an update taken in.
        made, errors = await asyncio.shield(self._take(update))
        return self._settle(made, errors)

    async def _take(self, update: Update) -> tuple[ResourceSet, list[str]]:
        """Offers an update to Envoy; errors of resources that cannot be."""
        return await self._envoy.take(update, self._all_wanted(update.type_url))

    async def _settle(self, made: ResourceSet, errors: list[str]) -> None:
        url = made.type_url
        if url == SECRETS:
            errors = [*await self._settle_secrets(made), *errors]
        # A type that no stream asks for any more is not waited for.
        elif url in WILDCARDS or self._cache.wanted(url) is not None:
            try:
                await self._cache.taken(made)
            except NackedError as error:
                errors = [str(error), *errors]
            if url in WILDCARDS:
                # Only now Envoy has said what it makes of the secrets that new listeners and clusters name.
                await self._bring_contexts()
        if errors:
            raise RefusedError("; ".join(errors))

    async def _settle_secrets(self, made: ResourceSet) -> list[str]:
        """Puts secrets into force wherever they are needed; what they are refused for."""
        if self._references.secrets:
            await self._pass_secrets(made.version)
        errors = await self._bring_contexts()
        answers = await self._cache.answers(made, frozenset(self._envoy.sources(SECRETS)))
        refusals = {name: refusal for name, refusal in answers.items() if refusal is not None}
        errors |= {name: refusal.error for name, refusal in refusals.items()}
        await self._envoy.restore(SECRETS, (name for name, refusal in refusals.items() if refusal.keeps))
        return [f'secret "{name}": {error}' for name, error in sorted(errors.items())]

    async def _bring_contexts(self) -> dict[str, str]:
        """Brings TLS contexts into place as far as there is now what they need; errors by secret."""
        uses = self._references.uses
        if not uses:
            return {}
        try:
            return await self.placement.bring(uses, self._envoy.secrets)
        except (RejectedError, ContextRefusedError) as error:
            _log.error("TLS contexts cannot be put in place: %s", error)
            return {}

    def _want(self, url: str) -> None:
        """Envoy's streams or policies want other resources of a type now."""
        asked = self._cache.wanted(url)
        if asked is not None:
            self._wanted[url] = asked
        wanted = self._all_wanted(url)
        if wanted or url in self._wanted:
            self.subscribe(url, wanted)

    def _all_wanted(self, url: str) -> frozenset[str]:
        wanted = self._wanted.get(url, frozenset())
        if url != SECRETS:
            return wanted
        return frozenset(name for name in wanted if not is_own(name)) | self._references.secrets
