"""What a policy refers to and does not hold: secrets, and TLS contexts that Envoy must have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from cilium_proxy.api import messages, serialise
from cilium_proxy.rewrite.cilium import Side
from cilium_proxy.rewrite.cilium.tls_context import TlsContext


@dataclass(frozen=True, slots=True)
class Use:
    """A TLS context on one side."""

    side: Side
    context: TlsContext


@dataclass(frozen=True, slots=True)
class References:
    """Names of the SDS secrets that a policy names, those of its TLS contexts included, and the contexts it uses."""

    secrets: frozenset[str] = frozenset()
    uses: frozenset[Use] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.secrets or self.uses)

    def __or__(self, other: References) -> References:
        return References(self.secrets | other.secrets, self.uses | other.uses) if other else self


class PolicyReferences:
    """References of the policies in force and, while an update is under way, also of those it offers."""

    def __init__(self) -> None:
        self._in_force: dict[str, References] = {}
        self._offered: dict[str, tuple[bytes, References]] = {}

    @property
    def secrets(self) -> frozenset[str]:
        """Names of all secrets."""
        return frozenset().union(*(one.secrets for one in self._all()))

    @property
    def uses(self) -> frozenset[Use]:
        """All uses of TLS contexts."""
        return frozenset().union(*(one.uses for one in self._all()))

    def offer(self, policies: Mapping[str, bytes]) -> bool:
        """Adds those of policies that are offered by name; true if they are not what they were before."""
        found = {name: (policy, references(policy)) for name, policy in policies.items()}
        # Most policies refer to nothing, before and after.
        self._offered = {name: offered for name, offered in found.items() if offered[1] or name in self._in_force}
        return self._adds()

    def settle(self, held: Mapping[str, bytes]) -> bool:
        """Keeps those of the policies that are in force now; true if there are fewer or others than before."""
        taken = {name: one for name, (policy, one) in self._offered.items() if held.get(name) == policy}
        in_force = {name: one for name, one in (self._in_force | taken).items() if one and name in held}
        changed = self._adds() or in_force != self._in_force
        self._in_force, self._offered = in_force, {}
        return changed

    def _adds(self) -> bool:
        return any(one and one != self._in_force.get(name) for name, (_, one) in self._offered.items())

    def _all(self) -> Iterator[References]:
        yield from self._in_force.values()
        yield from (one for _, one in self._offered.values())


def references(policy: bytes) -> References:
    """Those of a serialised `cilium.NetworkPolicy`. One that does not parse has none."""
    try:
        message = messages("cilium.NetworkPolicy").FromString(policy)
    except DecodeError:
        return References()
    secrets: set[str] = set()
    uses: set[Use] = set()
    for side, rule in _rules(message):
        if rule.HasField("downstream_tls_context"):
            uses.add(Use(side, TlsContext.of(rule.downstream_tls_context)))
        if rule.HasField("upstream_tls_context"):
            uses.add(Use("upstream", TlsContext.of(rule.upstream_tls_context)))
        for http in rule.http_rules.http_rules:
            secrets.update(match.value_sds_secret for match in http.header_matches if match.value_sds_secret)
    discovered = (name for use in uses for name in use.context.discovered)
    return References(frozenset(secrets).union(discovered), frozenset(uses))


def _rules(policy: Any) -> Iterator[tuple[Side, Any]]:
    sides: tuple[tuple[Side, Any], ...] = (
        ("ingress", policy.ingress_per_port_policies),
        ("egress", policy.egress_per_port_policies),
    )
    for side, direction in sides:
        for port in direction:
            for rule in port.rules:
                yield side, rule


def for_module(secrets: Mapping[str, bytes], names: frozenset[str]) -> dict[str, bytes]:
    """Those of the serialised secrets that policies name and the module may have: generic ones, given inline.

    Keys and certificates stay between the agent and Envoy.
    """
    return {name: secret for name in sorted(names & secrets.keys()) if (secret := _generic(secrets[name]))}


def _generic(secret: bytes) -> bytes | None:
    try:
        message = messages("envoy.extensions.transport_sockets.tls.v3.Secret").FromString(secret)
    except DecodeError:
        return None
    source = message.generic_secret.secret.WhichOneof("specifier")
    return serialise(message) if source in ("inline_bytes", "inline_string") else None
