"""The policies that cases are asked of, and the peers they name."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cilium_proxy.config import Config, Direction, Endpoint, Identity, Listener
from cilium_proxy.config.labels import NAMESPACE, complete, split
from cilium_proxy.config.peers import RESERVED
from cilium_proxy.policy import PolicyMap
from cilium_proxy.policy.compile import Compiled, compile_policies, load_policies, verify
from cilium_proxy.yaml import Mark, ProblemsError


class UnknownPeerError(ValueError):
    """A text names no peer."""


@dataclass(frozen=True, slots=True)
class Own:
    """The side whose policy is asked: its address and the name of its resource."""

    address: str
    resource: str
    name: str


@dataclass(frozen=True, slots=True)
class World:
    """Compiled policies in the engine, with the names of the configuration."""

    config: Config
    compiled: Compiled
    policies: PolicyMap

    def own(self, text: str) -> Own | None:
        """The endpoint of a name, address or labels that only one has; None if there is no such endpoint."""
        address = _address(text)
        for endpoint in self.config.endpoints:
            if endpoint.name == text or address in endpoint.ips:
                return _own(endpoint)
        labels = labels_of(self.config, text)
        found = [endpoint for endpoint in self.config.endpoints if labels and labels.items() <= endpoint.labels.items()]
        if len(found) == 1:
            return _own(found[0])
        for name, resource in self.compiled.resources.items():
            if address in resource["endpoint_ips"]:
                return Own(address, name, text)
        return None

    def remote(self, text: str) -> int:
        """The identity of a name, address, labels, reserved name or number. Raises UnknownPeerError."""
        labels = labels_of(self.config, text)
        for identity in self.compiled.identities.all:
            if text in identity.names or (labels and labels == identity.labels):
                return identity.number
        if _address(text):
            return self.compiled.identities.resolve(text)
        if text in RESERVED:
            return RESERVED[text]
        if text.isascii() and text.isdigit() and int(text) < 1 << 32:
            return int(text)
        raise UnknownPeerError(f"`{text}` is neither a name in the configuration nor an address, labels or identity")

    def listener(self, own: Own, direction: Direction) -> Listener | None:
        """The only listener of the endpoint in that direction."""
        listeners = self.config.listeners
        found = [one for one in listeners if (one.endpoint, one.direction) == (own.name, direction)]
        return found[0] if len(found) == 1 else None


def build(config: Config, peers: Iterable[str] = (), secrets: Mapping[str, str] | None = None) -> World:
    """Compiles the policies of a configuration. Raises ProblemsError.

    `peers` are the texts that will be asked about: labels that nobody has get an identity of their own.
    """
    strangers = {text: labels for text in peers if (labels := labels_of(config, text))}
    known: list[Endpoint | Identity] = [*config.endpoints, *config.identities]
    taken = [peer.labels for peer in known]
    added = []
    for text, labels in sorted(strangers.items()):
        if labels not in taken:
            taken.append(labels)
            mark = Mark(f"labels {text}")
            added.append(Identity(name=text, namespace="", labels=labels, cidrs=(), identity=None, mark=mark))
    config = dataclasses.replace(config, identities=(*config.identities, *added))
    compiled = compile_policies(config, load_policies(config.policies))
    problems = verify(compiled, str(config.file))
    if problems:
        raise ProblemsError(problems)
    policies = PolicyMap()
    policies.update(compiled.resources, version="test")
    for name, value in (secrets or {}).items():
        policies.set_secret(name, value)
    return World(config, compiled, policies)


def labels_of(config: Config, text: str) -> dict[str, str]:
    """All labels of a workload with the labels in `text`, such as `app=api,tier=web`; none if it holds no labels."""
    if "=" not in text:
        return {}
    own: dict[str, str] = {}
    for part in text.split(","):
        key, _, value = part.strip().partition("=")
        own[":".join(split(key))] = value
    return complete(own, own.get(f"k8s:{NAMESPACE}", "default"), config.namespaces)


def _own(endpoint: Endpoint) -> Own:
    return Own(endpoint.ips[0], endpoint.name, endpoint.name)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
