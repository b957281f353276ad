"""Ports of a rule."""

from __future__ import annotations

import re
from typing import cast

from cilium_proxy.policy.compile.rule import Ports, Transport
from cilium_proxy.yaml import Fields

_SERVICE_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9]+(-[A-Za-z0-9]+)*")
_NAMED = "named ports need a cluster's containers; write the number"


def read_port(fields: Fields) -> Ports | None:
    """`{port, endPort, protocol}` as in Cilium: the port is a string, no protocol is any, port 0 is every port."""
    text = fields.text("port", required=True)
    transport = _transport(fields, ("TCP", "UDP", "SCTP", "ANY"), "ANY")
    end = fields.integer("endPort", 0, 65535)
    fields.finish()
    if text is None:
        return None
    if _SERVICE_NAME.fullmatch(text):
        fields.problem("port", f"named port `{text}` cannot be enforced by this proxy", _NAMED)
        return None
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        fields.problem("port", f"`{text}` is not a port", "use 0 (every port) to 65535")
        return None
    return _range(fields, int(text), end or 0, transport)


def read_kubernetes_port(fields: Fields) -> Ports | None:
    """`{port, endPort, protocol}` as in Kubernetes: no port is every port, no protocol is TCP."""
    text = fields.text("port")
    transport = _transport(fields, ("TCP", "UDP", "SCTP"), "TCP")
    end = fields.integer("endPort", 1, 65535)
    fields.finish()
    if text is None:
        if end is not None:
            fields.problem("endPort", "needs `port`", "give the first port of the range")
        return Ports(0, 0, transport)
    if not (text.isascii() and text.isdigit()):
        fields.problem("port", f"named port `{text}` cannot be enforced by this proxy", _NAMED)
        return None
    if not 1 <= int(text) <= 65535:
        fields.problem("port", f"`{text}` is not a port", "use 1 to 65535")
        return None
    return _range(fields, int(text), end or 0, transport)


def _transport(fields: Fields, choices: tuple[str, ...], default: Transport) -> Transport:
    written = fields.text("protocol")
    if not written:
        return default
    if written.upper() not in choices:
        fields.problem(
            "protocol", f"`{written}` is not one of {', '.join(choices)}", "ICMP is not TCP traffic and never seen here"
        )
        return default
    return cast(Transport, written.upper())


def _range(fields: Fields, first: int, end: int, transport: Transport) -> Ports | None:
    if end and end < first:
        fields.problem("endPort", f"{end} is below port {first}", "swap them or remove endPort")
        return None
    if end and first == 0:
        fields.problem("endPort", "port 0 is every port", "remove endPort or start at 1")
        return None
    return Ports(first, end or first, transport)
