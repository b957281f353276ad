"""What the modules are to enforce: per type the last accepted state, and the change that is on trial."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


class RejectedError(Exception):
    """A module refused a change; nothing of it is in force. The text is the module's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A step from the accepted state to the next. With `full`, `upserts` is the whole next state."""

    version: str
    upserts: Mapping[str, bytes]
    removed: tuple[str, ...] = ()
    full: bool = False
    new_stream: bool = False


@dataclass(slots=True)
class TypeState:
    """The accepted state of one resource type.

    `sequence` counts accepted changes: unlike versions, which a source may use again after it restarted, it never
    repeats. `digests` are those of the transactions that led to this state, by which a module that comes back is known
    to hold it.
    """

    type_url: str
    version: str = ""
    sequence: int = 0
    resources: dict[str, bytes] = field(default_factory=dict)
    digests: set[bytes] = field(default_factory=set)
    # Held while modules are given this type: replays and changes do not overtake each other.
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    error: str | None = None
    # Set with the first state.
    known: asyncio.Event = field(default_factory=asyncio.Event)

    def whole(self) -> Change:
        """The accepted state as a change that needs no other before it."""
        return Change(version=self.version, upserts=self.resources, full=True)

    def whole_after(self, change: Change) -> Change:
        """The state that a difference leads to, as a change that needs no other before it."""
        resources = self.resources | dict(change.upserts)
        for name in change.removed:
            del resources[name]
        return Change(version=change.version, upserts=resources, full=True)

    def step_to(self, version: str, resources: Mapping[str, bytes]) -> Change:
        """The difference between the accepted state and `resources`, by bytes."""
        held = self.resources
        upserts = {name: value for name, value in resources.items() if held.get(name) != value}
        return Change(version=version, upserts=upserts, removed=tuple(held.keys() - resources.keys()))

    def step(self, version: str, upserts: Mapping[str, bytes], removed: Iterable[str]) -> Change:
        """A change the source made itself, without what changes nothing."""
        held = self.resources
        return Change(
            version=version,
            upserts={name: value for name, value in upserts.items() if held.get(name) != value},
            removed=tuple(name for name in removed if name in held and name not in upserts),
        )

    def accept(self, change: Change, digests: set[bytes]) -> None:
        """Every module enforces the change now."""
        if change.full:
            self.resources = dict(change.upserts)
        else:
            self.resources.update(change.upserts)
            for name in change.removed:
                del self.resources[name]
        self.version = change.version
        self.sequence += 1
        self.known.set()
        self.digests = digests
        self.error = None
