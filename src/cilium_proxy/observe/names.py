"""What identities and addresses are called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cilium_proxy.config import Config
    from cilium_proxy.policy.compile.identities import Identities

RESERVED: Mapping[int, str] = {
    0: "unknown",
    1: "host",
    2: "world",
    3: "unmanaged",
    4: "health",
    5: "init",
    6: "remote-node",
    7: "kube-apiserver",
    8: "ingress",
    9: "world-ipv4",
    10: "world-ipv6",
    11: "encrypted-overlay",
}
"""Cilium's reserved identities."""


_IDENTITY = re.compile(r"\bidentity (\d{1,10})\b")


@dataclass(frozen=True, slots=True)
class Names:
    """Names by security identity, and of endpoints by IP address."""

    identities: Mapping[int, str] = field(default_factory=dict)
    endpoints: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Config, identities: Identities) -> Names:
        """The names that a configuration gives; identities of prefixes are called by their prefix."""
        named = {}
        for identity in identities.all:
            called = identity.names or tuple(str(prefix) for prefix in identity.prefixes[:1])
            if called:
                named[identity.number] = ",".join(called)
        return cls(named, {ip: endpoint.name for endpoint in config.endpoints for ip in endpoint.ips})

    def of_identity(self, identity: int) -> str | None:
        """The name of an identity, reserved ones included; None: it has none."""
        return self.identities.get(identity) or RESERVED.get(identity)

    def of_endpoint(self, policy_name: str) -> str:
        """The name of the endpoint whose policy has this name; without one, the policy's name."""
        return self.endpoints.get(policy_name, policy_name)

    def in_reason(self, reason: str) -> str:
        """The reason of a verdict with names behind the identities it speaks of: `identity 258 (xwing)`."""
        # What stands between quotes is the name of a rule or the value of a header.
        parts = reason.split('"')
        parts[::2] = [_IDENTITY.sub(self._named, part) for part in parts[::2]]
        return '"'.join(parts)

    def _named(self, found: re.Match[str]) -> str:
        name = self.of_identity(int(found[1]))
        return f"{found[0]} ({name})" if name else found[0]

    def source(self, entry: Any) -> str:
        """How the source of a LogEntry is called: its name, "ID:" and its number, or "unknown"."""
        return self._peer(entry, "source", local=not entry.is_ingress)

    def destination(self, entry: Any) -> str:
        """Like `source`. The destination of ingress traffic has no identity in the entry: it is the endpoint."""
        return self._peer(entry, "destination", local=entry.is_ingress)

    def _peer(self, entry: Any, end: str, *, local: bool) -> str:
        if local and entry.policy_name in self.endpoints:
            return self.endpoints[entry.policy_name]
        identity: int = getattr(entry, f"{end}_security_id")
        return self.of_identity(identity) or f"ID:{identity}"
