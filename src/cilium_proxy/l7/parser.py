"""What a protocol implements."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar, final

from cilium_proxy.l7.connection import Connection
from cilium_proxy.l7.operations import Operation
from cilium_proxy.l7.rule import NoRules, Rule

MessageT = TypeVar("MessageT")


class Calls(Protocol):
    """What the proxy does for parsers. Works while it waits for `on_data`; raises RuntimeError at other times."""

    def decide(self, message: object) -> bool:
        """Asks the policy."""

    def inject(self, reply: bool, data: bytes) -> int:
        """Adds bytes to a direction; how many fitted."""

    def log(self, kind: str, protocol: str, fields: Mapping[str, str]) -> None:
        """Writes an access log entry."""


class Parser(ABC, Generic[MessageT]):
    """The parser of one connection. `MessageT` is what it makes of a message for its rules and for the log.

    All parsers run in one thread, one call at a time. An exception, a result that cannot be, or a call beyond the time
    limit closes the connection.
    """

    protocol: ClassVar[str]
    """Name of the protocol in the access log. Default: the class's name in lower case."""

    rule: ClassVar[type[Rule]] = NoRules
    """What a policy may ask of a message."""

    _calls: ClassVar[Calls]
    """Set by what runs the parser."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "protocol" not in cls.__dict__:
            cls.protocol = cls.__name__.lower()

    @abstractmethod
    def on_data(self, reply: bool, end_stream: bool, data: bytes) -> Operation | Sequence[Operation]:
        """Says what becomes of the bytes of a direction, which start at a message.

        `reply` is the server's direction. `data` is all that is there and not passed or dropped yet; it is empty only
        at the end of the direction, `end_stream`. Several operations are about bytes that follow each other. What they
        leave over is given again, at once; after `More`, when enough bytes have come.

        The outcome must depend on the bytes and their order, never on how they were cut.
        """

    def log(self, message: MessageT) -> Mapping[str, str]:
        """Names and values of the message for the access log. Default: the fields of a dataclass."""
        if dataclasses.is_dataclass(message) and not isinstance(message, type):
            return {field.name: str(getattr(message, field.name)) for field in dataclasses.fields(message)}
        return {}

    @final
    def allows(self, message: MessageT) -> bool:
        """Asks the policy in force now about a message of the client, and writes the verdict into the access log."""
        allowed = self._calls.decide(message)
        self._calls.log("Request" if allowed else "Denied", self.protocol, self.log(message))
        return allowed

    @final
    def inject(self, reply: bool, data: bytes) -> None:
        """Adds bytes to a direction.

        Those for the other direction go out as soon as it is between two messages; those for the direction at hand
        need the operation `Inject`.
        """
        if self._calls.inject(reply, data) != len(data):
            raise OverflowError("more bytes are injected than are taken")

    @final
    def record(self, kind: Literal["Request", "Response", "Denied"], fields: Mapping[str, str]) -> None:
        """Writes an access log entry of its own: of a response, or of a request that needs no verdict."""
        self._calls.log(kind, self.protocol, fields)
