"""Security identities: numbers for sets of labels and for CIDR prefixes, and the addresses behind them."""

from __future__ import annotations

import bisect
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cilium_proxy.config.model import Config, Endpoint, Identity, IPNetwork
from cilium_proxy.config.peers import FIRST_IDENTITY, LAST_IDENTITY, RESERVED
from cilium_proxy.policy.compile.index import LabelIndex, PrefixIndex, order
from cilium_proxy.policy.compile.rule import Peers, contains
from cilium_proxy.yaml import Mark, Problems

WORLD = RESERVED["world"]
LOCAL_SCOPE = 1 << 24
"""Bit of the identities that stand for CIDR prefixes."""

Labels = tuple[tuple[str, str], ...]


class Allocator:
    """Gives numbers and remembers them: the same labels, prefix or endpoint name keeps its number while this lives.

    Keep one for the life of the process. Numbers are given in sorted order: equal input has equal numbers anywhere.
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
        ordered = sorted(wanted, key=order)
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
    """An identity: `labels` as `source:key` -> value, `prefixes` its addresses, `names` those of the configuration."""

    number: int
    labels: Mapping[str, str]
    prefixes: tuple[IPNetwork, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Identities:
    """All identities of one compilation, sorted by number."""

    all: tuple[NumberedIdentity, ...]
    _labels: LabelIndex[int] = field(init=False, repr=False, compare=False)
    _prefixes: PrefixIndex[int] = field(init=False, repr=False, compare=False)
    _selected: dict[Peers, list[int]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        outside = ((item.prefixes[0], item.number) for item in self.all if item.number & LOCAL_SCOPE)
        object.__setattr__(self, "_labels", LabelIndex((item.labels, item.number) for item in self.all))
        object.__setattr__(self, "_prefixes", PrefixIndex(outside))

    def __getitem__(self, number: int) -> NumberedIdentity:
        index = bisect.bisect_left(self.all, number, key=lambda identity: identity.number)
        if index == len(self.all) or self.all[index].number != number:
            raise KeyError(number)
        return self.all[index]

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
        if peers not in self._selected:
            found = {number for selector in peers.selectors for number in self._labels.select(selector)}
            found.update(number for rule in peers.cidrs for number in self._prefixes.select(rule))
            self._selected[peers] = sorted(found)
        return list(self._selected[peers])

    def union(self, other: Identities) -> Identities:
        """The identities of both."""
        found = {identity.number: identity for identity in (*self.all, *other.all)}
        return Identities(tuple(found[number] for number in sorted(found)))

    def hosts(self) -> dict[str, dict[str, object]]:
        """NetworkPolicyHosts resources by name."""
        return {
            str(identity.number): {
                "policy": identity.number,
                "host_addresses": [_address(prefix) for prefix in sorted(identity.prefixes, key=order)],
            }
            for identity in self.all
            if identity.prefixes
        }


def allocate(config: Config, prefixes: Iterable[IPNetwork], allocator: Allocator, problems: Problems) -> Identities:
    """Identities for the configuration and the prefixes that policies mention.

    A prefix inside an address range that the configuration gives to an endpoint or identity gets none: CIDR rules
    select only addresses outside of those, as in Cilium.
    """
    groups = _groups(config, problems)
    reserved = {labels: RESERVED[labels[0][0].removeprefix("reserved:")] for labels in groups if _is_reserved(labels)}
    wanted = {labels: group.wanted for labels, group in groups.items() if labels not in reserved}
    numbers: dict[Labels, int] = {}
    try:
        numbers = allocator.labelled(wanted)
    except IdentityError as error:
        message = f"{error.number} is in use for other labels"
        problems.add(groups[error.labels].mark, "identity", message, "choose another number")
    except StopIteration:
        message = f"more than {LAST_IDENTITY - FIRST_IDENTITY + 1} identities"
        problems.add(Mark(str(config.file)), "", message, "use fewer different sets of labels")
    found = {
        number: NumberedIdentity(number, _reserved_labels(name), ())
        for name, number in RESERVED.items()
        if not name.startswith("world-")
    }
    for labels, number in (numbers | reserved).items():
        group = groups[labels]
        known = found[number].labels if number in found else dict(labels)
        found[number] = NumberedIdentity(number, known, tuple(group.prefixes), tuple(group.names))
    claims = sorted((network for group in groups.values() for network in group.prefixes), key=order)
    for prefix, number in allocator.prefixes(item for item in prefixes if not _claimed(item, claims)).items():
        found[number] = NumberedIdentity(number, {"reserved:world": ""}, (prefix,))
    return Identities(tuple(found[number] for number in sorted(found)))


@dataclass(slots=True)
class _Group:
    """Endpoints and identities with the same labels: they share one number."""

    mark: Mark
    wanted: int | None = None
    names: list[str] = field(default_factory=list)
    prefixes: list[IPNetwork] = field(default_factory=list)


def _groups(config: Config, problems: Problems) -> dict[Labels, _Group]:
    owners: list[tuple[Endpoint | Identity, list[IPNetwork]]] = [
        *((endpoint, [ipaddress.ip_network(ip) for ip in endpoint.ips]) for endpoint in config.endpoints),
        *((identity, list(identity.cidrs)) for identity in config.identities),
    ]
    groups: dict[Labels, _Group] = {}
    for owner, prefixes in owners:
        group = groups.setdefault(tuple(sorted(owner.labels.items())), _Group(owner.mark))
        group.names.append(owner.name)
        group.prefixes.extend(prefixes)
        if owner.identity is not None and group.wanted not in (None, owner.identity):
            message = (
                f"`{owner.name}` asks for identity {owner.identity}, `{group.names[0]}` with the same labels does not"
            )
            problems.add(owner.mark, "identity", message, "give equal labels one number")
        group.wanted = owner.identity or group.wanted
    return groups


def _claimed(prefix: IPNetwork, claims: list[IPNetwork]) -> bool:
    """Whether one of the claims, which are sorted and do not overlap, contains the prefix."""
    index = bisect.bisect_right(claims, order(prefix), key=order)
    return index > 0 and contains(claims[index - 1], prefix)


def _reserved_labels(name: str) -> dict[str, str]:
    """As in Cilium: identity 7 is an API server on another node; one elsewhere would have an identity of its own."""
    labels = {f"reserved:{name}": ""}
    return labels | {"reserved:remote-node": ""} if name == "kube-apiserver" else labels


def _is_reserved(labels: Labels) -> bool:
    return len(labels) == 1 and labels[0][0].startswith("reserved:")


def _address(prefix: IPNetwork) -> str:
    return str(prefix.network_address) if prefix.prefixlen == prefix.max_prefixlen else str(prefix)
