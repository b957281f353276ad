"""What Envoy is to have: per type a set of resources under one version, and who has taken it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cilium_proxy.api import type_url

LISTENERS = type_url("envoy.config.listener.v3.Listener")
CLUSTERS = type_url("envoy.config.cluster.v3.Cluster")
ROUTES = type_url("envoy.config.route.v3.RouteConfiguration")
ENDPOINTS = type_url("envoy.config.endpoint.v3.ClusterLoadAssignment")
SECRETS = type_url("envoy.extensions.transport_sockets.tls.v3.Secret")

WILDCARDS = frozenset({LISTENERS, CLUSTERS})
"""Types of which Envoy takes every resource without naming any."""


def clusters_first(url: str) -> tuple[bool, str]:
    """Sort key of types: listeners and routes refer to clusters."""
    return url != CLUSTERS, url


class NackedError(Exception):
    """Envoy refused resources; it keeps those it had. The text is Envoy's."""


@dataclass(frozen=True, slots=True)
class ResourceSet:
    """All resources of one type, by name, as serialised messages. `sequence` orders the sets of a type."""

    type_url: str
    version: str
    resources: Mapping[str, bytes]
    sequence: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why Envoy refused a resource. `keeps`: it has one that it took before."""

    error: str
    keeps: bool


@dataclass(slots=True, eq=False)
class Subscription:
    """What one stream of an Envoy has of one type. `taken` and `refused` are sequence numbers of resource sets.

    `holds`: it took resources, not only that there were none.
    """

    type_url: str
    changed: Callable[[], None]
    instance: str = ""
    names: frozenset[str] = frozenset()
    taken: int = 0
    refused: int = 0
    error: str = ""
    holds: bool = False


@dataclass(slots=True)
class _Type:
    current: ResourceSet | None = None
    subscriptions: set[Subscription] = field(default_factory=set)
    # Hashes of resources, made when an incremental stream first needs them.
    versions: dict[str, tuple[bytes, str]] = field(default_factory=dict)


class ResourceCache:
    """The current resource set of each type. Streams subscribe; sources publish and learn what became of it."""

    def __init__(self) -> None:
        self._types: dict[str, _Type] = {}
        # Set, and replaced by another, when anything here has changed.
        self._changed = asyncio.Event()
        # Called with a type when what streams want of it has changed.
        self.on_wanted: Callable[[str], None] | None = None
        # The Envoy that serves: while it has streams, the answers of others, which start or drain, do not count.
        self._serving: str | None = None

    def _type(self, url: str) -> _Type:
        return self._types.setdefault(url, _Type())

    def current(self, url: str) -> ResourceSet | None:
        """What is to be sent, None when no source has said."""
        return self._type(url).current

    def set(self, url: str, resources: Mapping[str, bytes], version: str | None = None) -> ResourceSet:
        """Replaces the set of a type; streams send it at once. The same bytes under the same version change nothing.

        Without a version, one is counted.
        """
        kept = self._type(url)
        before = kept.current
        if before is not None and before.resources == resources and version in (None, before.version):
            return before
        sequence = before.sequence + 1 if before is not None else 1
        held = before.resources if before is not None else {}
        # Unchanged resources stay the same objects: large sets are not kept twice, and compare at once.
        same = {name: held[name] if held.get(name) == value else value for name, value in resources.items()}
        kept.current = ResourceSet(url, version if version is not None else str(sequence), same, sequence)
        kept.versions = {name: known for name, known in kept.versions.items() if same.get(name) is known[0]}
        for subscription in tuple(kept.subscriptions):
            subscription.changed()
        self._note()
        return kept.current

    async def known(self, url: str) -> None:
        """Returns when a source has said what is to be sent of a type."""
        while self.current(url) is None:
            await self._changed.wait()

    def count(self, instance: str) -> None:
        """From now on this Envoy serves; what another one answers is no longer waited for."""
        self._serving = instance
        self._note()

    def resource_version(self, url: str, name: str) -> str:
        """Version of one current resource: equal for equal bytes, also after a restart. KeyError for an unknown one."""
        kept = self._type(url)
        if name not in kept.versions:
            value = kept.current.resources[name] if kept.current is not None else b""
            kept.versions[name] = value, hashlib.sha256(value).hexdigest()[:16]
        return kept.versions[name][1]

    async def taken(self, wanted: ResourceSet) -> None:
        """Returns when all streams that are subscribed to the type took the set or a later one; waits for a first.

        Raises NackedError when one refused it.
        """
        while True:
            counted = self._counted(wanted.type_url)
            for subscription in counted:
                if subscription.refused >= wanted.sequence > subscription.taken:
                    raise NackedError(subscription.error)
            if counted and all(one.taken >= wanted.sequence for one in counted):
                return
            await self._changed.wait()

    async def answer(self, made: ResourceSet) -> str | None:
        """The answer of the streams that are subscribed to the type to the set, or a later one: why one refused it."""
        while any(max(one.taken, one.refused) < made.sequence for one in self._counted(made.type_url)):
            await self._changed.wait()
        counted = self._counted(made.type_url)
        return next((one.error for one in counted if one.refused >= made.sequence > one.taken), None)

    async def answers(
        self, made: ResourceSet, names: frozenset[str], expected: Callable[[], frozenset[str]] = frozenset
    ) -> dict[str, Refusal | None]:
        """As `answer`, by the resources' names. Streams that want the `expected` names are waited for."""
        while True:
            wanting = [one for one in self._counted(made.type_url) if one.names & names]
            known = names & frozenset().union(*(one.names for one in wanting))
            pending = any(max(one.taken, one.refused) < made.sequence for one in wanting)
            if not pending and not names & expected() - known:
                break
            await self._changed.wait()
        answers: dict[str, Refusal | None] = dict.fromkeys(known)
        for one in wanting:
            if one.refused >= made.sequence > one.taken:
                answers |= dict.fromkeys(one.names & names, Refusal(one.error, one.holds))
        return answers

    def is_taken(self, made: ResourceSet) -> bool:
        """Whether there are streams subscribed to the type, and all took the set or a later one."""
        counted = self._counted(made.type_url)
        return bool(counted) and all(one.taken >= made.sequence for one in counted)

    def subscribe(self, url: str, changed: Callable[[], None], instance: str = "") -> Subscription:
        """Adds a stream of an Envoy; `changed` is called when the set is replaced."""
        subscription = Subscription(url, changed, instance)
        self._type(url).subscriptions.add(subscription)
        self._note()
        return subscription

    def want(self, subscription: Subscription, names: frozenset[str]) -> None:
        """The stream wants the resources with these names; all, if none are given and the type has that."""
        subscription.names = names
        self._note()
        if self.on_wanted is not None:
            self.on_wanted(subscription.type_url)

    def wanted(self, url: str) -> frozenset[str] | None:
        """The names all streams together want of a type, None when no stream is subscribed to it."""
        subscriptions = self._type(url).subscriptions
        return frozenset().union(*(one.names for one in subscriptions)) if subscriptions else None

    def acknowledge(self, subscription: Subscription, sequence: int) -> None:
        """The stream's Envoy has taken a set."""
        subscription.taken = max(subscription.taken, sequence)
        self._note()

    def refuse(self, subscription: Subscription, sequence: int, error: str) -> None:
        """The stream's Envoy has refused a set."""
        subscription.refused, subscription.error = max(subscription.refused, sequence), error
        self._note()

    def unsubscribe(self, subscription: Subscription) -> None:
        """The stream ended."""
        self._type(subscription.type_url).subscriptions.discard(subscription)
        if self.on_wanted is not None:
            self.on_wanted(subscription.type_url)
        self._note()

    def _counted(self, url: str) -> list[Subscription]:
        """The streams of a type whose answers count."""
        subscriptions = self._type(url).subscriptions
        return [one for one in subscriptions if one.instance == self._serving] or list(subscriptions)

    def _note(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
