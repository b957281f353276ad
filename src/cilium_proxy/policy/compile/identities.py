"""Security identities: numbers for sets of labels and for CIDR prefixes, and the addresses behind them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cilium_proxy.config.model import Config, IPNetwork
from cilium_proxy.config.peers import FIRST_IDENTITY, LAST_IDENTITY, RESERVED
from cilium_proxy.policy.compile.rule import Peers, contains
from cilium_proxy.yaml import Problems

WORLD = RESERVED["world"]
LOCAL_SCOPE = 1 << 24
"""Bit of the identities that stand for CIDR prefixes."""

Labels = tuple[tuple[str, str], ...]


class Allocator:
    """Gives numbers and remembers them: the same labels, prefix or endpoint name has the same number as long as it lives.

    Keep one for the life of the process. Numbers are given in sorted order, so the same input gives the same numbers anywhere.
    """

    def __init__(self) -> None:
        self._labels: dict[Labels, int] = {}
        self._prefixes: dict[IPNetwork, int] = {}
        self._endpoints: dict[str, int] = {}

    def labelled(self, wanted: Mapping[Labels, int | None]) -> dict[Labels, int]:
        """Identities of label sets; a value that is not None asks for that number. Raises IdentityError."""
        for labels, number in wanted.items():
            if number is None:
                continue
            owner = next((known for known, given in self._labels.items() if given == number), labels)
            if owner != labels and (owner in wanted and wanted[owner] in (None, number)):
                # The number was allocated to others; both cannot have it while the process lives.
                raise IdentityError(number, labels)
            if owner != labels:
                del self._labels[owner]
            self._labels[labels] = number
        used = set(self._labels.values())
        free = (number for number in range(FIRST_IDENTITY, LAST_IDENTITY + 1) if number not in used)
        for labels in sorted(wanted):
            if labels not in self._labels:
                self._labels[labels] = next(free)
        return {labels: self._labels[labels] for labels in wanted}

    def prefixes(self, wanted: Iterable[IPNetwork]) -> dict[IPNetwork, int]:
        """Identities of CIDR prefixes."""
        ordered = sorted(wanted, key=_order)
        for prefix in ordered:
            self._prefixes.setdefault(prefix, LOCAL_SCOPE | (len(self._prefixes) + 1))
        return {prefix: self._prefixes[prefix] for prefix in ordered}

    def endpoint(self, names: Iterable[str]) -> dict[str, int]:
        """Endpoint ids, from 1."""
        ordered = sorted(names)
        for name in ordered:
            self._endpoints.setdefault(name, len(self._endpoints) + 1)
        return {name: self._endpoints[name] for name in ordered}


class IdentityError(ValueError):
    """A number that was asked for belongs to other labels."""

    def __init__(self, number: int, labels: Labels) -> None:
        self.number, self.labels = number, labels
        super().__init__(f"identity {number} is taken")


@dataclass(frozen=True, slots=True)
class NumberedIdentity:
    """An identity: `labels` as `source:key` -> value, `prefixes` the addresses that have it, `names` of the configuration."""

    number: int
    labels: Mapping[str, str]
    prefixes: tuple[IPNetwork, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Identities:
    """All identities of one compilation, sorted by number."""

    all: tuple[NumberedIdentity, ...]
    _by_number: dict[int, NumberedIdentity] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_number", {identity.number: identity for identity in self.all})

    def __getitem__(self, number: int) -> NumberedIdentity:
        return self._by_number[number]

    def named(self, name: str) -> NumberedIdentity | None:
        """The identity of an endpoint or configured identity."""
        return next((identity for identity in self.all if name in identity.names), None)

    def resolve(self, address: str) -> int:
        """The identity of an address: longest prefix, else world (2). Raises ValueError for what is no address."""
        ip = ipaddress.ip_address(address)
        found, length = WORLD, -1
        for identity in self.all:
            for prefix in identity.prefixes:
                if prefix.version == ip.version and ip in prefix and prefix.prefixlen > length:
                    found, length = identity.number, prefix.prefixlen
        return found

    def selected(self, peers: Peers) -> list[int] | None:
        """Sorted numbers of the identities that `peers` selects; None for anyone."""
        if peers.anyone:
            return None
        found = set()
        for identity in self.all:
            if any(selector.matches(identity.labels) for selector in peers.selectors) or (
                identity.number & LOCAL_SCOPE and any(rule.selects(identity.prefixes[0]) for rule in peers.cidrs)
            ):
                found.add(identity.number)
        return sorted(found)

    def hosts(self) -> dict[str, dict[str, object]]:
        """NetworkPolicyHosts resources by name."""
        return {
            str(identity.number): {
                "policy": identity.number,
                "host_addresses": [_address(prefix) for prefix in sorted(identity.prefixes, key=_order)],
            }
            for identity in self.all
            if identity.prefixes
        }


def allocate(config: Config, prefixes: Iterable[IPNetwork], allocator: Allocator, problems: Problems) -> Identities:
    """Identities for the configuration and the prefixes that policies mention.

    A prefix inside an address range that the configuration gives to an endpoint or identity gets none: CIDR rules select
    only addresses outside of those, as in Cilium.
    """
    wanted: dict[Labels, int | None] = {}
    marks = {}
    owned: dict[Labels, list[IPNetwork]] = {}
    names: dict[Labels, list[str]] = {}
    for owner in (*config.endpoints, *config.identities):
        labels = tuple(sorted(owner.labels.items()))
        networks = [ipaddress.ip_network(ip) for ip in owner.ips] if hasattr(owner, "ips") else list(owner.cidrs)
        owned.setdefault(labels, []).extend(networks)
        names.setdefault(labels, []).append(owner.name)
        if owner.identity is not None:
            if wanted.get(labels) not in (None, owner.identity):
                message = f"`{owner.name}` asks for identity {owner.identity}, others with the same labels for {wanted[labels]}"
                problems.add(owner.mark, "", message, "give equal labels one number")
            wanted[labels] = owner.identity
        wanted.setdefault(labels, None)
        marks.setdefault(labels, owner.mark)
    numbers: dict[Labels, int] = {}
    reserved = {labels: RESERVED[labels[0][0].removeprefix("reserved:")] for labels in wanted if _is_reserved(labels)}
    try:
        numbers = allocator.labelled({labels: number for labels, number in wanted.items() if labels not in reserved})
    except IdentityError as error:
        problems.add(
            marks[error.labels], "identity", f"{error.number} is in use for other labels", "choose another number"
        )
    except StopIteration:
        problems.add(config.endpoints[0].mark, "", "more than 65280 identities", "use fewer sets of labels")
    numbers |= reserved
    found = {
        number: NumberedIdentity(number, {f"reserved:{name}": ""}, ())
        for name, number in RESERVED.items()
        if not name.startswith("world-")
    }
    for labels, number in numbers.items():
        found[number] = NumberedIdentity(number, dict(labels), tuple(owned[labels]), tuple(names[labels]))
    claimed = [network for networks in owned.values() for network in networks]
    outside = {prefix for prefix in prefixes if not any(contains(network, prefix) for network in claimed)}
    for prefix, number in allocator.prefixes(outside).items():
        found[number] = NumberedIdentity(number, {"reserved:world": ""}, (prefix,))
    return Identities(tuple(found[number] for number in sorted(found)))


def _is_reserved(labels: Labels) -> bool:
    return len(labels) == 1 and labels[0][0].startswith("reserved:")


def _order(prefix: IPNetwork) -> tuple[int, int, int]:
    return prefix.version, int(prefix.network_address), prefix.prefixlen


def _address(prefix: IPNetwork) -> str:
    return str(prefix.network_address) if prefix.prefixlen == prefix.max_prefixlen else str(prefix)
