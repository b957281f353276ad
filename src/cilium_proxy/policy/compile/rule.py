"""Policies of all kinds in one form: what they select and what they allow or deny."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Any, Literal

from cilium_proxy.config.model import CA, Direction, IPNetwork
from cilium_proxy.policy.compile.selector import Selector
from cilium_proxy.yaml import Mark

Transport = Literal["TCP", "UDP", "SCTP", "ANY"]
Message = dict[str, Any]
"""A protobuf message in JSON form with the field names of the .proto file."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Destination ports `first` to `last`; 0 to 0 is every port."""

    first: int
    last: int
    transport: Transport


ALL_PORTS = Ports(0, 0, "ANY")


@dataclass(frozen=True, slots=True)
class CidrRule:
    """A prefix without some prefixes in it."""

    prefix: IPNetwork
    excluded: tuple[IPNetwork, ...] = ()

    def selects(self, network: IPNetwork) -> bool:
        """Whether all of `network` is selected."""
        return contains(self.prefix, network) and not any(contains(item, network) for item in self.excluded)


@dataclass(frozen=True, slots=True)
class Peers:
    """The remote side: anyone, or whom one of the selectors or CIDR rules selects."""

    anyone: bool = False
    selectors: tuple[Selector, ...] = ()
    cidrs: tuple[CidrRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Probe:
    """A part of a rule that the engine may refuse, and its place in the file."""

    mark: Mark
    path: str
    rule: Message
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that a policy needs. `name` is `namespace/name`."""

    name: str
    use: Literal["certificate", "ca", "header"]
    mark: Mark
    path: str = ""


def ca_name(secret: str) -> str:
    """The name that CA certificates of a secret have on SDS. All else has the secret's own; it may have both."""
    return f"{secret}/{CA}"


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a connection or request must be like, apart from peer and port: fields of a PortNetworkPolicyRule."""

    fields: Message = field(default_factory=dict)
    probes: tuple[Probe, ...] = ()
    secrets: tuple[Secret, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One allow or deny. `name` is what verdicts say decided."""

    name: str
    direction: Direction
    deny: bool
    peers: Peers
    ports: tuple[Ports, ...]
    constraints: Constraints
    mark: Mark
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A policy's `spec`. `default_deny` has the directions that are closed for whom it selects."""

    name: str
    selector: Selector
    default_deny: frozenset[Direction]
    directions: frozenset[Direction]
    entries: tuple[Entry, ...]
    mark: Mark


def contains(outer: IPNetwork, inner: IPNetwork) -> bool:
    """Whether `inner` lies in `outer`."""
    if isinstance(outer, ipaddress.IPv4Network) and isinstance(inner, ipaddress.IPv4Network):
        return inner.subnet_of(outer)
    if isinstance(outer, ipaddress.IPv6Network) and isinstance(inner, ipaddress.IPv6Network):
        return inner.subnet_of(outer)
    return False
