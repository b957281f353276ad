"""What a parser knows of its connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Who talks to whom, and whose policy decides.

    `ingress` is seen from the endpoint whose policy applies, which `policy_name` names (its IP address). Identities are
    numeric security identities, addresses `address:port`; `port` is the destination's.
    """

    ingress: bool = True
    source_identity: int = 0
    destination_identity: int = 0
    source_address: str = ""
    destination_address: str = ""
    policy_name: str = ""
    port: int = 0

    @property
    def remote_identity(self) -> int:
        """Identity of the peer of the endpoint whose policy applies."""
        return self.source_identity if self.ingress else self.destination_identity
