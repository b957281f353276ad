"""Requests and replies of each protocol, as bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import bson

LARGE = 1_000_000
MONGO = "envoy.filters.network.mongo_proxy"
MYSQL = "envoy.filters.network.mysql_proxy"


@dataclass(frozen=True)
class Shape:
    """A kind of request that a client sends again and again."""

    name: str
    rules: dict[str, object]
    """The `rules` of an entry of `toPorts`."""
    message: Callable[[int], tuple[bytes, bytes]]
    """Request and reply of a number; those of one batch have numbers of their own."""
    batch: int = 16
    """Requests that a client sends at once."""
    greeting: bytes = b""
    """What the server says first."""
    opening: tuple[tuple[bytes, bytes], ...] = field(default=())
    """Requests and replies once per connection."""

    def turns(self, together: bool) -> list[tuple[bytes, bytes]]:
        """Requests and replies of a batch: as one, or each by itself."""
        pairs = [self.message(number) for number in range(self.batch)]
        if not together:
            return pairs
        return [(b"".join(request for request, _ in pairs), b"".join(reply for _, reply in pairs))]


def _same(request: bytes, reply: bytes) -> Callable[[int], tuple[bytes, bytes]]:
    return lambda _: (request, reply)


def _text(text: str, form: str = ">H") -> bytes:
    return struct.pack(form, len(text)) + text.encode()


def _kafka(size: int) -> Callable[[int], tuple[bytes, bytes]]:
    def message(number: int) -> tuple[bytes, bytes]:
        topic = _text("public")
        request = struct.pack(">hhi", 0, 3, number) + _text("bench") + struct.pack(">hhii", -1, 1, 30000, 1) + topic
        request += struct.pack(">iii", 1, 0, size) + bytes(size)
        reply = struct.pack(">ii", number, 1) + topic + struct.pack(">iihqqi", 1, 0, 0, 0, -1, 0)
        return _text_of(request), _text_of(reply)

    return message


def _text_of(payload: bytes) -> bytes:
    return struct.pack(">i", len(payload)) + payload


def _cassandra(query: str, value: bytes = b"") -> Callable[[int], tuple[bytes, bytes]]:
    def message(number: int) -> tuple[bytes, bytes]:
        body = _text(query, ">i") + struct.pack(">HB", 1, 1 if value else 0)
        if value:
            body += struct.pack(">Hi", 1, len(value)) + value
        request = struct.pack(">BBhBi", 4, 0, number, 7, len(body)) + body
        return request, struct.pack(">BBhBii", 0x84, 0, number, 8, 4, 1)

    return message


def _startup() -> tuple[bytes, bytes]:
    body = struct.pack(">H", 1) + _text("CQL_VERSION") + _text("3.0.0")
    return struct.pack(">BBhBi", 4, 0, 0, 1, len(body)) + body, struct.pack(">BBhBi", 0x84, 0, 0, 2, 0)


def _mongo(command: dict[str, object], documents: bytes = b"") -> Callable[[int], tuple[bytes, bytes]]:
    def message(number: int) -> tuple[bytes, bytes]:
        sections = b"\0" + bson.encode({**command, "$db": "empire"})
        if documents:
            sections += b"\1" + struct.pack("<i", 4 + 10 + len(documents)) + b"documents\0" + documents
        reply = b"\0" + bson.encode({"ok": 1.0})
        return _op_msg(number + 1, 0, sections), _op_msg(1000, number + 1, reply)

    return message


def _op_msg(number: int, to: int, sections: bytes) -> bytes:
    return struct.pack("<iiiii", 20 + len(sections), number, to, 2013, 0) + sections


def _packet(sequence: int, payload: bytes) -> bytes:
    return struct.pack("<i", len(payload))[:3] + bytes([sequence]) + payload


_OK = b"\0\0\0\2\0\0\0"


def _mysql(statement: str) -> Callable[[int], tuple[bytes, bytes]]:
    return _same(_packet(0, b"\3" + statement.encode()), _packet(1, _OK))


def _login() -> tuple[bytes, bytes]:
    flags = struct.pack("<I", 1 << 9 | 1 << 3 | 1 << 15)
    return _packet(1, flags.ljust(32, b"\0") + b"pilot\0\0empire\0"), _packet(2, _OK)


_KAFKA: dict[str, object] = {"kafka": [{"role": "produce", "topic": "public"}]}
_MEMCACHE: dict[str, object] = {
    "l7proto": "memcache",
    "l7": [{"command": "get", "keyPrefix": "public/"}, {"command": "set", "keyPrefix": "public/"}],
}
_CASSANDRA: dict[str, object] = {
    "l7proto": "cassandra",
    "l7": [{"query_action": action, "query_table": r"^empire\.ships$"} for action in ("select", "insert")],
}
_EMPIRE = [("ships", action) for action in ("query", "insert", "select")]
_MONGO: dict[str, object] = {"l7proto": MONGO, "l7": [{f"empire.{name}": action} for name, action in _EMPIRE]}
_MYSQL: dict[str, object] = {"l7proto": MYSQL, "l7": [{f"{name}.empire": action} for name, action in _EMPIRE]}
_R2D2: dict[str, object] = {"l7proto": "r2d2", "l7": [{"cmd": "READ", "file": "^public/"}]}
_VALUE = b"VALUE public/key 0 100\r\n" + bytes(100) + b"\r\nEND\r\n"
_STORE = b"set public/large 0 0 %d\r\n%s\r\n" % (LARGE, bytes(LARGE))
_GREETING = _packet(0, b"\x0a8.0")
_DOCUMENT = bson.encode({"_id": "tie", "cargo": bytes(LARGE)})

SHAPES = [
    Shape("r2d2 READ", _R2D2, _same(b"READ public/plans\r\n", b"OK\r\n")),
    Shape("memcached get, 100 bytes", _MEMCACHE, _same(b"get public/key\r\n", _VALUE)),
    Shape("memcached set, 1 MB", _MEMCACHE, _same(_STORE, b"STORED\r\n"), batch=1),
    Shape("Kafka Produce, 100 bytes", _KAFKA, _kafka(100)),
    Shape("Kafka Produce, 1 MB", _KAFKA, _kafka(LARGE), batch=1),
    Shape(
        "Cassandra SELECT",
        _CASSANDRA,
        _cassandra("SELECT name, crew FROM empire.ships WHERE name = 'tie'"),
        opening=(_startup(),),
    ),
    Shape(
        "Cassandra INSERT, 1 MB",
        _CASSANDRA,
        _cassandra("INSERT INTO empire.ships (name, cargo) VALUES ('tie', ?)", bytes(LARGE)),
        batch=1,
        opening=(_startup(),),
    ),
    Shape("MongoDB find", _MONGO, _mongo({"find": "ships", "filter": {"name": "tie"}, "limit": 1})),
    Shape("MongoDB insert, 1 MB", _MONGO, _mongo({"insert": "ships", "ordered": True}, _DOCUMENT), batch=1),
    Shape(
        "MySQL SELECT",
        _MYSQL,
        _mysql("SELECT name, crew FROM ships WHERE name = 'tie'"),
        batch=1,
        greeting=_GREETING,
        opening=(_login(),),
    ),
    Shape(
        "MySQL INSERT, 1 MB",
        _MYSQL,
        _mysql(f"INSERT INTO ships VALUES ('{'x' * LARGE}', 1)"),
        batch=1,
        greeting=_GREETING,
        opening=(_login(),),
    ),
]


def to_ports(ports: dict[str, int], allowed: dict[str, int]) -> list[dict[str, Any]]:
    """Those of a policy: each shape's rules for its port, and no rules for the ports of `allowed`."""
    return [
        *({"ports": [_tcp(port)]} for port in allowed.values()),
        *({"ports": [_tcp(ports[shape.name])], "rules": shape.rules} for shape in SHAPES),
    ]


def _tcp(port: int) -> dict[str, str]:
    return {"port": str(port), "protocol": "TCP"}
