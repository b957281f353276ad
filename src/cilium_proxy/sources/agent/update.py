"""What the agent sends, and who takes it."""

from __future__ import annotations

from collections.abc import Awaitable, Collection
from dataclasses import dataclass
from typing import Protocol


class RefusedError(Exception):
    """An update is not (fully) in force. The text goes to the agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One response of the agent. Resources are serialised messages by name, without their envelopes.

    `delta`: the resources and `removed` change what is there; else they are the whole of what was asked for.
    `first`: the stream is new. What was refused before does not count any more; what is in force stays until the
    stream says otherwise, since it may say so in several updates.
    """

    type_url: str
    version: str
    resources: dict[str, bytes]
    removed: tuple[str, ...] = ()
    delta: bool = False
    first: bool = False


class Sink(Protocol):
    """Takes updates."""

    def held(self, type_url: str) -> Collection[str]:
        """Names of the resources of a type that were taken and not removed since."""

    async def stage(self, update: Update) -> Awaitable[None]:
        """Takes an update in; called in the order of arrival. What it returns ends when the update is in force.

        Both raise RefusedError.
        """
