import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cilium_proxy.api import from_dict

TIME = 1_795_428_000_123_000_000
"""2026-11-23 10:00:00.123 UTC."""

MakeEntry = Callable[..., Any]


@pytest.fixture
def make_entry() -> MakeEntry:
    """A LogEntry of a request to endpoint 127.0.0.2 with what the test changes."""

    def make(*, http: dict[str, Any] | None = None, **fields: Any) -> Any:
        request = {"http_protocol": "HTTP11", "scheme": "http", "host": "host", "path": "/path", "method": "GET"}
        entry = {
            "timestamp": TIME,
            "is_ingress": True,
            "entry_type": "Request",
            "policy_name": "127.0.0.2",
            "source_security_id": 16777217,
            "source_address": "127.0.0.3:41234",
            "destination_address": "127.0.0.2:8080",
            "http": request | (http or {}),
        }
        return from_dict("cilium.LogEntry", {k: v for k, v in (entry | fields).items() if v is not None})

    return make


@pytest.fixture
def connect() -> Iterator[Callable[..., socket.socket]]:
    """Connects as Envoy does."""
    senders = []

    def to(path: Path, kind: socket.SocketKind = socket.SOCK_SEQPACKET) -> socket.socket:
        sender = socket.socket(socket.AF_UNIX, kind)
        senders.append(sender)
        sender.settimeout(30)
        sender.connect(str(path))
        return sender

    yield to
    for sender in senders:
        sender.close()
