"""A source's resources on their way to Envoy, in its form."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from cilium_proxy.relay.held import HeldType
from cilium_proxy.relay.resources import CLUSTERS, LISTENERS, SECRETS, ResourceCache, ResourceSet
from cilium_proxy.rewrite.cilium import Options, Side, TlsContexts
from cilium_proxy.sources.agent.update import Update

_log = logging.getLogger(__name__)

_WITH_CONTEXTS = (CLUSTERS, LISTENERS)


class EnvoyResources:
    """Rewrites what an agent sends, or standalone mode makes, and offers it to Envoy.

    `clusters` are of the bootstrap, in the agent's form: no cluster of the agent takes their place. They are offered at
    once, since listeners refer to them; to an Envoy that goes on with what it has (`anew` is false), along with the
    agent's, since it would lose those.
    """

    def __init__(
        self, cache: ResourceCache, options: Options, clusters: Mapping[str, bytes], *, anew: bool = True
    ) -> None:
        self._cache = cache
        self._held = defaultdict[str, list[HeldType]](list)
        self._own_secrets: Mapping[str, bytes] = {}
        self._versions: dict[str, str] = {}
        self._changes: dict[str, int] = defaultdict(int)
        self._turn: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._options = options
        if clusters:
            bootstrap = HeldType(CLUSTERS, options)
            bootstrap.take(Update(type_url=CLUSTERS, version="", resources=dict(clusters)), frozenset())
            self._held[CLUSTERS] = [HeldType(CLUSTERS, options), bootstrap]
            if anew:
                self._offer(CLUSTERS, "0")

    @property
    def secrets(self) -> Mapping[str, bytes]:
        """Those of the source."""
        return self._of_source(SECRETS).resources

    def sources(self, url: str) -> Mapping[str, bytes]:
        """The source's resources of a type, as it gave them."""
        return self._of_source(url).sources

    async def take(self, update: Update, wanted: frozenset[str]) -> tuple[ResourceSet, list[str]]:
        """Rewrites what has changed and offers it to Envoy; errors of resources that cannot be rewritten."""
        url = update.type_url
        async with self._turn[url]:
            errors, warnings = await asyncio.to_thread(self._of_source(url).take, update, wanted)
            for warning in warnings:
                _log.warning("%s %s", url.rpartition(".")[2], warning)
            return self._offer(url, update.version), errors

    async def restore(self, url: str, names: Iterable[str]) -> None:
        """Puts back resources that Envoy refused and keeps in an earlier form, for the Envoy that comes next."""
        async with self._turn[url]:
            for name in names:
                self._of_source(url).restore(name)
            self._change(url)

    async def use(self, contexts: TlsContexts, secrets: Mapping[str, bytes]) -> str | None:
        """Offers Envoy listeners and clusters with these TLS contexts, and secrets of our own; why it refuses them.

        What Envoy refused before for other reasons is no reason.
        """
        # Secrets come before those who name them, and go after them.
        self._own_secrets = {**self._own_secrets, **secrets}
        self._options = replace(self._options, contexts=contexts)
        self._change(SECRETS)
        refusals = []
        for url in _WITH_CONTEXTS:
            async with self._turn[url]:
                before = self._cache.current(url)
                refused = await self._cache.answer(before) if before is not None else None
                changed = [await asyncio.to_thread(held.use, contexts) for held in self._held[url]]
                offered = self._change(url) if any(changed) else None
                error = await self._cache.answer(offered) if offered is not None else None
                refusals += [error] if error is not None and error != refused else []
        self._own_secrets = secrets
        self._change(SECRETS)
        return "; ".join(refusals) or None

    @property
    def served(self) -> frozenset[Side]:
        """The sides that Envoy has resources with TLS contexts of. Those it refused do not count."""
        sides: frozenset[Side] = frozenset()
        for url in _WITH_CONTEXTS:
            current = self._cache.current(url)
            if current is not None and self._cache.is_taken(current):
                sides = sides.union(*(held.sides for held in self._held[url]))
        return sides

    def _of_source(self, url: str) -> HeldType:
        held = self._held[url]
        if not held:
            held.append(HeldType(url, self._options))
        return held[0]

    def _change(self, url: str) -> ResourceSet | None:
        """Offers a type again, if it is there at all, after a change that is not the source's."""
        if self._cache.current(url) is None and url != SECRETS:
            return None
        self._changes[url] += 1
        return self._offer(url, self._versions.get(url, ""))

    def _offer(self, url: str, version: str) -> ResourceSet:
        self._versions[url] = version
        resources: dict[str, bytes] = {}
        for held in self._held[url]:
            resources |= held.resources
        if url == SECRETS:
            resources |= self._own_secrets
        # The version is the source's, as long as the resources are.
        changes = self._changes[url]
        return self._cache.set(url, resources, f"{version}.{changes}" if changes else version)
