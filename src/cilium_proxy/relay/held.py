"""The resources of one type as their source has them and as Envoy gets them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cilium_proxy.api import messages
from cilium_proxy.relay.resources import SECRETS, WILDCARDS
from cilium_proxy.rewrite.cilium import Options, RewriteError, Rewritten, Side, TlsContexts, rewrite
from cilium_proxy.sources.agent.update import Update


@dataclass(slots=True)
class HeldType:
    """Remembers what each resource became, so that an unchanged one costs a comparison of bytes."""

    type_url: str
    options: Options
    _sources: dict[str, bytes] = field(default_factory=dict)
    _made: dict[str, bytes] = field(default_factory=dict)
    # What secrets were before they last changed: only they can be put back.
    _before: dict[str, bytes] = field(default_factory=dict)
    # Of resources that depend on TLS contexts: which.
    _sides: dict[str, Side] = field(default_factory=dict)
    _warned: set[str] = field(default_factory=set)

    @property
    def resources(self) -> Mapping[str, bytes]:
        """What Envoy is to have."""
        return dict(self._made)

    @property
    def sources(self) -> Mapping[str, bytes]:
        """What the source gave."""
        return self._sources

    @property
    def sides(self) -> frozenset[Side]:
        """The sides whose TLS contexts are in some of the resources."""
        return frozenset(self._sides.values())

    def take(self, update: Update, wanted: frozenset[str]) -> tuple[list[str], list[str]]:
        """Takes an update; returns errors and new warnings.

        A resource that cannot be rewritten stays as it was, as Envoy itself keeps a listener whose change it refuses.
        """
        errors: list[str] = []
        warnings: list[str] = []
        for name, source in update.resources.items():
            if self._sources.get(name) == source:
                continue
            try:
                made = self._rewrite(source)
            except RewriteError as error:
                errors.append(f"{name}: {error}")
                continue
            self._keep(name, source, made)
            warnings += [text for text in (f"{name}: {one}" for one in made.warnings) if text not in self._warned]
        self._warned.update(warnings)
        for name in self._gone(update, wanted):
            for kept in (self._sources, self._made, self._before, self._sides):
                kept.pop(name, None)
        return errors, warnings

    def restore(self, name: str) -> None:
        """Puts back what a secret was before it last changed. The source may send the refused one again."""
        if name in self._before:
            self._made[name] = self._before.pop(name)
            self._sources.pop(name, None)

    def use(self, contexts: TlsContexts) -> bool:
        """Puts these TLS contexts in the place of those that resources have; whether that changes any."""
        self.options = replace(self.options, contexts=contexts)
        changed = False
        for name in tuple(self._sides):
            source, before = self._sources[name], self._made[name]
            self._keep(name, source, self._rewrite(source))
            changed |= self._made[name] != before
        return changed

    def _keep(self, name: str, source: bytes, made: Rewritten) -> None:
        if self.type_url == SECRETS and name in self._made:
            self._before[name] = self._made[name]
        self._sources[name], self._made[name] = source, made.resource.value
        self._sides.pop(name, None)
        if made.side is not None:
            self._sides[name] = made.side

    def _gone(self, update: Update, wanted: frozenset[str]) -> list[str]:
        if update.delta:
            return list(update.removed)
        if self.type_url in WILDCARDS:
            return [name for name in self._made if name not in update.resources]
        # State of the world by name: what is missing in a response has not changed.
        return [name for name in self._made if name not in wanted and "*" not in wanted]

    def _rewrite(self, source: bytes) -> Rewritten:
        return rewrite(messages("google.protobuf.Any")(type_url=self.type_url, value=source), self.options)
