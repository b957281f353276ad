"""Incremental changes that were refused.

An agent does not send them again unless they change, so they are tried again along with the next change.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cilium_proxy.sources.agent.update import Update


@dataclass(frozen=True, slots=True)
class Step:
    """Resources that come or change, and names of those that go."""

    upserts: dict[str, bytes] = field(default_factory=dict)
    removed: tuple[str, ...] = ()

    @classmethod
    def of(cls, update: Update) -> Step:
        """What an update says by itself."""
        return cls(update.resources, update.removed)

    def then(self, later: Step) -> Step:
        """Both, one after the other."""
        if not self:
            return later
        upserts = {name: value for name, value in self.upserts.items() if name not in later.removed} | later.upserts
        removed = [name for name in (*self.removed, *later.removed) if name not in later.upserts]
        return Step(upserts, tuple(dict.fromkeys(removed)))

    def without(self, later: Step) -> Step:
        """What of this is left when the later one is in force."""
        touched = later.upserts.keys() | set(later.removed)
        upserts = {name: value for name, value in self.upserts.items() if name not in touched}
        return Step(upserts, tuple(name for name in self.removed if name not in touched))

    def __bool__(self) -> bool:
        return bool(self.upserts or self.removed)
