"""Rules that select an endpoint -> the fields of its NetworkPolicy."""

from __future__ import annotations

from collections.abc import Iterable

from cilium_proxy.config.model import Direction
from cilium_proxy.policy.compile.identities import Identities
from cilium_proxy.policy.compile.rule import ALL_PORTS, Entry, Message, Ports, Rule

_FIELDS: dict[Direction, str] = {"ingress": "ingress_per_port_policies", "egress": "egress_per_port_policies"}
# SCTP has no number in the protocol field, and no SCTP flow ever gets here.
_TRANSPORTS = {"TCP": ("TCP",), "ANY": ("TCP",), "UDP": ("UDP",), "SCTP": ()}


def emit(rules: Iterable[Rule], identities: Identities) -> Message:
    """Both directions. A direction that no rule closes allows everything that no rule denies."""
    rules = list(rules)
    return {field: _direction(rules, direction, identities) for direction, field in _FIELDS.items()}


def _direction(rules: list[Rule], direction: Direction, identities: Identities) -> list[Message]:
    by_port: dict[tuple[Ports, str], list[Message]] = {}
    if not any(direction in rule.default_deny for rule in rules):
        # Named, so that a verdict says why it allows. Deny rules win over it.
        by_port[ALL_PORTS, "TCP"] = [{"name": f"no policy restricts {direction}"}]
    for rule in rules:
        for entry in rule.entries:
            if entry.direction != direction:
                continue
            message = _rule(entry, identities)
            if message is None:
                continue
            for ports, transport in _ports(entry):
                by_port.setdefault((ports, transport), []).append(message)
    return [
        _entry(ports, transport, by_port[ports, transport])
        for ports, transport in sorted(by_port, key=lambda key: (key[1], key[0].first, key[0].last))
    ]


def _ports(entry: Entry) -> list[tuple[Ports, str]]:
    """Each port and transport once; rules for every transport are TCP here."""
    found = {
        (Ports(port.first, port.last, "ANY"), transport)
        for port in entry.ports
        for transport in _TRANSPORTS[port.transport]
    }
    return sorted(found, key=lambda key: (key[1], key[0].first, key[0].last))


def _rule(entry: Entry, identities: Identities) -> Message | None:
    """The rule, or None when it selects nobody: an empty remote_policies would select everybody."""
    remotes = identities.selected(entry.peers)
    if remotes is not None and not remotes:
        return None
    message: Message = {"name": entry.name}
    if remotes is not None:
        message["remote_policies"] = remotes
    if entry.deny:
        message["deny"] = True
    return message | entry.constraints.fields


def _entry(ports: Ports, transport: str, rules: list[Message]) -> Message:
    message: Message = {"port": ports.first}
    if ports.last != ports.first:
        message["end_port"] = ports.last
    return message | {"protocol": transport, "rules": rules}
