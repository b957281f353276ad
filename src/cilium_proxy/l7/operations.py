"""What a parser says to the bytes of a direction. Counts are bytes, at least 1."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class More:
    """Keep what is there, and call again when at least `count` more bytes have come. The last operation of a call."""

    count: int = 1


@dataclass(frozen=True, slots=True)
class Pass:
    """Forward the next `count` bytes. More than there are: the rest is forwarded as it comes, without a call."""

    count: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Discard the next `count` bytes. More than there are: the rest is discarded as it comes, without a call."""

    count: int


@dataclass(frozen=True, slots=True)
class Inject:
    """Forward `count` bytes that `Parser.inject` put into this direction, ahead of the bytes that are left."""

    count: int


@dataclass(frozen=True, slots=True)
class Error:
    """The bytes are not the protocol's: close the connection, for this reason."""

    reason: str


Operation = More | Pass | Drop | Inject | Error
