"""What identities and addresses are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cilium_proxy.config import Config
    from cilium_proxy.policy.compile.identities import Identities


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

    def of_endpoint(self, policy_name: str) -> str:
        """The name of the endpoint whose policy has this name; without one, the policy's name."""
        return self.endpoints.get(policy_name, policy_name)

    def native(self) -> tuple[dict[int, str], dict[str, str]]:
        """For the printers. They know the names of reserved identities themselves."""
        return dict(self.identities), dict(self.endpoints)
