"""What the agent sends, and who takes it."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol


class RefusedError(Exception):
    """An update is not (fully) in force. The text goes to the agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One response of the agent. Resources are serialised messages by name, without their envelopes.

    `delta`: the resources and `removed` change what is there; else they are the whole of what was asked for.
    `first`: the stream is new, and nothing that came before it counts any more.
    """

    type_url: str
    version: str
    resources: dict[str, bytes]
    removed: tuple[str, ...] = ()
    delta: bool = False
    first: bool = False


class Sink(Protocol):
    """Takes updates."""

    async def stage(self, update: Update) -> Awaitable[None]:
        """Takes an update in; called in the order of arrival. What it returns ends when the update is in force.

        Both raise RefusedError.
        """
