"""Brings what the agent sends to Envoy and to the module, and learns what became of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass
from typing import Any

from cilium_proxy.relay import policy_secrets
from cilium_proxy.relay.channel import HOSTS, POLICIES, SECRETS, PolicyChannel
from cilium_proxy.relay.held import HeldType
from cilium_proxy.relay.outstanding import Step
from cilium_proxy.relay.resources import WILDCARDS, NackedError, ResourceCache, ResourceSet
from cilium_proxy.relay.state import RejectedError
from cilium_proxy.rewrite.cilium import Options
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

    Policies, hosts and the secrets policies name go to the module, all else to Envoy. `subscribe` asks the agent for
    resources by type and names.
    """

    def __init__(self, channel: PolicyChannel, cache: ResourceCache, options: Options) -> None:
        self.counts: dict[str, Counts] = {}
        self.subscribe: Subscribe = lambda _url, _names: None
        self._channel = channel
        self._cache = cache
        self._options = options
        self._held: dict[str, HeldType] = {}
        # Names that Envoy's streams asked for; those of a gone Envoy are kept for the one that follows it.
        self._wanted: dict[str, frozenset[str]] = {}
        # Names of secrets by the policy that refers to them.
        self._named: dict[str, frozenset[str]] = {}
        # Names of secrets that the policies on their way to the module refer to.
        self._upcoming: frozenset[str] = frozenset()
        self._secrets: dict[str, bytes] = {}
        # Incremental changes that were refused, by type.
        self._outstanding: dict[str, Step] = {}
        # Types whose new stream has had no accepted update yet.
        self._fresh: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._taking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        cache.on_wanted = self._want

    def start(self) -> None:
        """Subscribes to what the module needs, for good."""
        self.subscribe(HOSTS, frozenset())
        self.subscribe(POLICIES, frozenset())

    async def close(self) -> None:
        """Ends what is under way."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def held(self, type_url: str) -> Collection[str]:
        """See `cilium_proxy.sources.agent.Sink`."""
        if type_url in (POLICIES, HOSTS):
            return self._channel.state(type_url).resources.keys()
        return self._held[type_url].names if type_url in self._held else ()

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
            named = await self._name_secrets(update) if url == POLICIES else self._named
            try:
                if update.delta:
                    await self._change(update, fresh)
                else:
                    await self._channel.publish(url, update.resources, update.version, new_stream=fresh)
            except RejectedError as error:
                raise RefusedError(str(error)) from error
            else:
                self._fresh.discard(url)
                self._named = named
            finally:
                if self._upcoming and url == POLICIES:
                    self._upcoming = frozenset()
                    self._want(SECRETS)
                    await self._pass_secrets(update.version)

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

    async def _name_secrets(self, update: Update) -> dict[str, frozenset[str]]:
        """Secrets by policy after the update; the module has those that are here before it has the policies."""
        held = self._channel.state(POLICIES).resources
        before = self._outstanding.get(POLICIES, Step()) if update.delta and not update.first else Step()
        incoming = before.then(Step.of(update)).upserts
        changed = {name: value for name, value in incoming.items() if held.get(name) != value}
        found = await asyncio.to_thread(_named_by, changed)
        if update.delta:
            kept = {name: names for name, names in self._named.items() if name not in update.removed}
        else:
            kept = {name: names for name, names in self._named.items() if name in update.resources}
        named = {name: names for name, names in (kept | found).items() if names}
        if named != self._named:
            self._upcoming = frozenset().union(*named.values())
            self._want(SECRETS)
            await self._pass_secrets(update.version)
        return named

    async def _pass_secrets(self, version: str) -> None:
        """Gives the module the secrets that policies name."""
        async with self._turn[SECRETS]:
            passed = policy_secrets.for_module(self._secrets, self._policy_secrets)
            state = self._channel.state(SECRETS)
            if state.resources == passed:
                return
            try:
                await self._channel.publish(SECRETS, passed, version)
            except RejectedError as error:
                raise RefusedError(str(error)) from error

    @property
    def _policy_secrets(self) -> frozenset[str]:
        return self._upcoming.union(*self._named.values())

    # To Envoy.

    async def _configure(self, update: Update) -> Coroutine[Any, Any, None]:
        # The end of the stream must not leave half an update taken in.
        made, errors = await asyncio.shield(self._take(update))
        return self._settle(made, errors)

    async def _take(self, update: Update) -> tuple[ResourceSet, list[str]]:
        """Rewrites what has changed and offers it to Envoy."""
        url = update.type_url
        async with self._taking[url]:
            held = self._held.setdefault(url, HeldType(url, self._options))
            errors, warnings = await asyncio.to_thread(held.take, update, self._all_wanted(url))
            for warning in warnings:
                _log.warning("agent: %s %s", url.rpartition(".")[2], warning)
            if url == SECRETS:
                self._secrets = dict(held.resources)
            return self._cache.set(url, held.resources, update.version), errors

    async def _settle(self, made: ResourceSet, errors: list[str]) -> None:
        url = made.type_url
        if url == SECRETS and self._policy_secrets:
            await self._pass_secrets(made.version)
        # A type that no stream asks for any more is not waited for.
        if url in WILDCARDS or self._cache.wanted(url) is not None:
            try:
                await self._cache.taken(made)
            except NackedError as error:
                errors = [str(error), *errors]
        if errors:
            raise RefusedError("; ".join(errors))

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
        return wanted | self._policy_secrets if url == SECRETS else wanted


def _named_by(policies: dict[str, bytes]) -> dict[str, frozenset[str]]:
    return {name: policy_secrets.named_by(policy) for name, policy in policies.items()}
