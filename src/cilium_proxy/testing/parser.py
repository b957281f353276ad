"""Tests of parsers written in Python: what becomes of the bytes of a conversation, however they are cut.

The code that drives the parser is the one inside Envoy, without Envoy and without its limit of time.

    def test_denied_commands_are_answered():
        talk = Conversation(R2d2, rules=[{"cmd": "READ"}])
        talk.client(b"WRITE plans\\r\\n")
        assert (talk.to_server, talk.to_client) == (b"", b"ERROR\\r\\n")

    def test_how_bytes_are_cut_changes_nothing():
        check_chunkings(R2d2, [("client", b"READ a\\r\\nHALT\\r\\n"), ("server", b"ok\\r\\n")])
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cilium_proxy._core import ParserConnection
from cilium_proxy.l7 import Connection, Parser

Side = Literal["client", "server"]
Rules = Sequence[Mapping[str, str]]

CONNECTION = Connection(
    source_identity=1,
    destination_identity=2,
    source_address="10.0.0.1:1000",
    destination_address="10.0.0.2:80",
    policy_name="10.0.0.2",
    port=80,
)
"""A client and a server. The server's policy decides."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the access log."""

    kind: str
    """Request, Response or Denied."""
    fields: Mapping[str, str]
    protocol: str = field(default="", compare=False)


class Conversation:
    """A connection with its parser.

    `to_server` and `to_client` are the bytes that were sent on so far, `log` the entries, and `closed` the reason once
    the parser has closed the connection: what is said after that goes nowhere.
    """

    def __init__(
        self,
        parser: type[Parser[Any]],
        *,
        rules: Rules = (),
        deny: Rules = (),
        connection: Connection = CONNECTION,
    ) -> None:
        """Starts with a policy that has these rules; without any it allows everything.

        Raises RuleError when the parser refuses a rule, ValueError when it refuses the connection.
        """
        self.to_server = b""
        self.to_client = b""
        self.log: list[Entry] = []
        self.closed: str | None = None
        self.traceback = ""
        """Of the exception that closed it."""
        self.ended: set[Side] = set()
        """Sides whose end was sent on."""
        self._parser = parser
        self._connection = ParserConnection(
            parser,
            f"{parser.__module__}:{parser.__qualname__}",
            _pairs(parser, rules, deny),
            connection.ingress,
            (connection.source_identity, connection.destination_identity),
            connection.source_address,
            connection.destination_address,
            connection.policy_name,
        )

    def set_rules(self, rules: Rules = (), deny: Rules = ()) -> None:
        """Puts another policy in force, from the next message on. Raises RuleError."""
        self._connection.set_rules(_pairs(self._parser, rules, deny))

    def client(self, data: bytes, *, end: bool = False) -> None:
        """The client sends bytes; `end`: its last ones."""
        self.say("client", data, end=end)

    def server(self, data: bytes, *, end: bool = False) -> None:
        """The server sends bytes; `end`: its last ones."""
        self.say("server", data, end=end)

    def say(self, side: Side, data: bytes, *, end: bool = False) -> None:
        """A side sends bytes."""
        if self.closed is not None:
            return
        sent, entries, closed = self._connection.feed(side == "server", end, data)
        for reply, chunk, last in sent:
            if reply:
                self.to_client += chunk
            else:
                self.to_server += chunk
            if last:
                self.ended.add("server" if reply else "client")
        self.log += [Entry(kind, fields, protocol) for kind, protocol, fields in entries]
        if closed is not None:
            self.closed, self.traceback = closed


def check_chunkings(
    parser: type[Parser[Any]],
    said: Sequence[tuple[Side, bytes]],
    *,
    rules: Rules = (),
    deny: Rules = (),
    connection: Connection = CONNECTION,
    end: bool = True,
    tries: int = 200,
    seed: int = 0,
) -> Conversation:
    """Says the same again and again, cut differently each time, and returns how it went uncut.

    Cut into bytes, into two at every place (as many as `tries`), and at random places (as often). `end`: when all is
    said, the client ends, and then the server.

    Raises AssertionError when something else comes of it than uncut: other bytes, other entries, another reason. A
    connection that is closed in the end may have had more or less sent on before.
    """

    def talk(pieces: Iterable[tuple[Side, bytes]]) -> Conversation:
        conversation = Conversation(parser, rules=rules, deny=deny, connection=connection)
        for side, data in pieces:
            conversation.say(side, data)
        if end:
            conversation.client(b"", end=True)
            conversation.server(b"", end=True)
        return conversation

    whole = talk(said)
    for cuts in _cuts([len(data) for _, data in said], tries, random.Random(seed)):  # noqa: S311
        pieces = [
            (side, piece) for (side, data), places in zip(said, cuts, strict=True) for piece in _pieces(data, places)
        ]
        difference = _difference(whole, talk(pieces))
        if difference:
            cut = ", ".join(f"{side} {data!r}" for side, data in pieces)
            raise AssertionError(f"{difference}\nwhen it is cut into {cut}")
    return whole


def _cuts(lengths: Sequence[int], tries: int, source: random.Random) -> Iterator[list[list[int]]]:
    """Where to cut each of these."""
    yield [list(range(1, length)) for length in lengths]
    places = [(number, place) for number, length in enumerate(lengths) for place in range(1, length)]
    for number, place in places if len(places) <= tries else source.sample(places, tries):
        yield [[place] if number == other else [] for other in range(len(lengths))]
    for _ in range(tries):
        yield [
            sorted(source.sample(range(1, length), source.randint(0, length - 1))) if length > 1 else []
            for length in lengths
        ]


def _pieces(data: bytes, places: Sequence[int]) -> Iterator[bytes]:
    for start, stop in itertools.pairwise([0, *places, len(data)]):
        yield data[start:stop]


def _difference(whole: Conversation, cut: Conversation) -> str:
    if whole.closed != cut.closed:
        return f"uncut it ends with {whole.closed!r}, cut with {cut.closed!r}"
    for name in ("to_server", "to_client", "log"):
        first, second = getattr(whole, name), getattr(cut, name)
        shorter = min(len(first), len(second)) if whole.closed is not None else None
        if first[:shorter] != second[:shorter]:
            return f"{name} is {first!r} uncut, and {second!r} cut"
    if whole.ended != cut.ended:
        return f"the ends of {sorted(whole.ended)} are sent on uncut, and those of {sorted(cut.ended)} cut"
    return ""


def _pairs(parser: type[Parser[Any]], allow: Rules, deny: Rules) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    for rule in (*allow, *deny):
        parser.rule.parse(rule)
    return [dict(rule) for rule in allow], [dict(rule) for rule in deny]
