"""Policies in the engine together with the names of those they speak of: what questions of people are asked of.

Made from a configuration, or from what a running proxy says of itself (`describe`).
"""

from __future__ import annotations

import base64
import dataclasses
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from cilium_proxy.api import messages
from cilium_proxy.config import Config, Direction, Endpoint, Identity, Protocol
from cilium_proxy.config.labels import NAMESPACE, complete, split
from cilium_proxy.config.peers import RESERVED
from cilium_proxy.policy.compile import Compiled, Identities, NumberedIdentity, compile_policies, load_policies, verify
from cilium_proxy.policy.compile.identities import LOCAL_SCOPE
from cilium_proxy.policy.compile.rule import Message
from cilium_proxy.policy.map import PolicyMap
from cilium_proxy.yaml import Mark, ProblemsError

Namespaces = Mapping[str, Mapping[str, str]]


class UnknownPeerError(ValueError):
    """A text names no peer."""


@dataclass(frozen=True, slots=True)
class Workload:
    """An endpoint: `labels` with their sources, `addresses` as in the policy."""

    name: str
    labels: Mapping[str, str]
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Opening:
    """A listener: whose policy it applies, and to which destination port."""

    endpoint: str
    direction: Direction
    port: int
    protocol: Protocol


@dataclass(frozen=True, slots=True)
class Own:
    """The side whose policy is asked: its address, the name of its resource, and what it is called."""

    address: str
    resource: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Policies and names.

    `resources` are the policies in JSON form where they were compiled, `places` says where rules are written, by name.
    """

    policies: PolicyMap
    resources: Mapping[str, Message]
    endpoints: tuple[Workload, ...]
    openings: tuple[Opening, ...]
    identities: Identities
    namespaces: Namespaces
    places: Mapping[str, str]

    def own(self, text: str) -> Own | None:
        """The endpoint of a name, address or labels that only one has; None if there is no such endpoint."""
        address = _address(text)
        for endpoint in self.endpoints:
            if endpoint.name == text or address in endpoint.addresses:
                return _own(endpoint)
        labels = labels_of(self.namespaces, text)
        found = [endpoint for endpoint in self.endpoints if labels and labels.items() <= endpoint.labels.items()]
        if len(found) == 1:
            return _own(found[0])
        resource = self.policies.resources().get(address)
        return None if resource is None else Own(address, resource, text)

    def remote(self, text: str) -> int:
        """The identity of a name, address, prefix, labels, reserved name or number. Raises UnknownPeerError."""
        labels = labels_of(self.namespaces, text)
        for identity in self.identities.all:
            if text in identity.names or (labels and labels == identity.labels):
                return identity.number
            if any(text == str(prefix) for prefix in identity.prefixes):
                return identity.number
        if _address(text):
            return self.identities.resolve(text)
        if text in RESERVED:
            return RESERVED[text]
        number = text.removeprefix("ID:")
        if number.isascii() and number.isdigit() and int(number) < 1 << 32:
            return int(number)
        raise UnknownPeerError(f"`{text}` is neither a name in the configuration nor an address, labels or identity")

    def called(self, number: int) -> str:
        """What to call an identity: its name, else its prefix or labels; empty if it is unknown."""
        try:
            identity = self.identities[number]
        except KeyError:
            return ""
        if identity.number & LOCAL_SCOPE and identity.prefixes:
            return str(identity.prefixes[0])
        labels = [key.removeprefix("k8s:") + (f"={value}" if value else "") for key, value in identity.labels.items()]
        own = [label for label in labels if not label.startswith(("io.kubernetes.", "io.cilium."))]
        return identity.names[0] if identity.names else ",".join(own)

    def opening(self, own: Own, direction: Direction) -> Opening | None:
        """The only listener of the endpoint in that direction."""
        found = [one for one in self.openings if (one.endpoint, one.direction) == (own.name, direction)]
        return found[0] if len(found) == 1 else None


def build(config: Config, peers: Iterable[str] = (), secrets: Mapping[str, str] | None = None) -> World:
    """Compiles the policies of a configuration. Raises ProblemsError.

    `peers` are the texts that will be asked about: labels that nobody has get an identity of their own. `secrets` are
    values by `namespace/name` that count instead of those of the configuration, whose files are then not read.
    """
    given = secrets or {}
    strangers = {text: labels for text in peers if (labels := labels_of(config.namespaces, text))}
    known: list[Endpoint | Identity] = [*config.endpoints, *config.identities]
    taken = [peer.labels for peer in known]
    added = []
    for text, labels in sorted(strangers.items()):
        if labels not in taken:
            taken.append(labels)
            mark = Mark(f"labels {text}")
            added.append(Identity(name=text, namespace="", labels=labels, cidrs=(), identity=None, mark=mark))
    files = tuple(file for file in config.secrets if file.name not in given)
    config = dataclasses.replace(config, identities=(*config.identities, *added), secrets=files)
    compiled = compile_policies(config, load_policies(config.policies, config.places))
    problems = verify(compiled, str(config.file))
    if problems:
        raise ProblemsError(problems)
    world = restore(describe(config, compiled))
    for name, value in compiled.delivered.values.items():
        world.policies.set_secret(name, value)
    for name, text in given.items():
        world.policies.set_secret(name, text)
    return world


def describe(config: Config, compiled: Compiled) -> dict[str, Any]:
    """Everything but secrets, as JSON-like data: what a running proxy tells `cilium-proxy explain`."""
    return {
        "resources": compiled.resources,
        "endpoints": [
            {"name": one.name, "labels": dict(one.labels), "addresses": list(one.ips)} for one in config.endpoints
        ],
        "listeners": [
            {"endpoint": one.endpoint, "direction": one.direction, "port": one.port, "protocol": one.protocol}
            for one in config.listeners
        ],
        "identities": [
            {
                "number": one.number,
                "labels": dict(one.labels),
                "prefixes": [str(prefix) for prefix in one.prefixes],
                "names": list(one.names),
            }
            for one in compiled.identities.all
        ],
        "namespaces": {name: dict(labels) for name, labels in config.namespaces.items()},
        "places": {name: str(mark) for name, mark in compiled.places.items()},
    }


def describe_resources(policies: Mapping[str, bytes], hosts: Iterable[bytes]) -> dict[str, Any]:
    """The same of serialised `cilium.NetworkPolicy` (by name) and `cilium.NetworkPolicyHosts`: numbers, no names."""
    make = messages("cilium.NetworkPolicyHosts")
    identities = [make.FromString(one) for one in hosts]
    return {
        "serialised": {name: base64.b64encode(policy).decode() for name, policy in policies.items()},
        "endpoints": [],
        "listeners": [],
        "identities": [
            {"number": one.policy, "labels": {}, "prefixes": list(one.host_addresses), "names": []}
            for one in sorted(identities, key=lambda one: one.policy)
        ],
        "namespaces": {},
        "places": {},
    }


def restore(data: Mapping[str, Any]) -> World:
    """The world that was described. Raises KeyError, ValueError or PolicyRejected for the data of another version."""
    policies = PolicyMap()
    if "serialised" in data:
        serialised = {name: base64.b64decode(policy) for name, policy in data["serialised"].items()}
        policies.update(serialised, version="explain")
    else:
        policies.update(cast(Mapping[str, Message], data["resources"]), version="explain")
    return World(
        policies=policies,
        resources=data.get("resources", {}),
        endpoints=tuple(Workload(one["name"], one["labels"], tuple(one["addresses"])) for one in data["endpoints"]),
        openings=tuple(
            Opening(one["endpoint"], one["direction"], one["port"], one["protocol"]) for one in data["listeners"]
        ),
        identities=Identities(
            tuple(
                NumberedIdentity(
                    one["number"],
                    one["labels"],
                    tuple(ipaddress.ip_network(prefix) for prefix in one["prefixes"]),
                    tuple(one["names"]),
                )
                for one in data["identities"]
            )
        ),
        namespaces=data["namespaces"],
        places=data["places"],
    )


def labels_of(namespaces: Namespaces, text: str) -> dict[str, str]:
    """All labels of a workload with the labels in `text`, such as `app=api,tier=web`; none if it holds no labels."""
    if "=" not in text:
        return {}
    own: dict[str, str] = {}
    for part in text.split(","):
        key, _, value = part.strip().partition("=")
        own[":".join(split(key))] = value
    return complete(own, own.get(f"k8s:{NAMESPACE}", "default"), namespaces)


def _own(endpoint: Workload) -> Own:
    return Own(endpoint.addresses[0], endpoint.name, endpoint.name)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
