"""Identities of addresses, as NPHDS delivers them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.message import Message

from cilium_proxy import _core, api
from cilium_proxy.policy.errors import PolicyRejected

NETWORK_POLICY_HOSTS = "cilium.NetworkPolicyHosts"


class HostMap:
    """Security identities by address prefix; the longest prefix counts. Empty at first, thread-safe."""

    def __init__(self) -> None:
        self._core = _core.HostMap()

    def update(
        self,
        resources: Iterable[Mapping[str, Any] | Message | bytes] = (),
        *,
        version: str = "",
        removed: Iterable[str | int] = (),
        delta: bool = False,
        new_stream: bool = False,
    ) -> None:
        """Applies an update whole, or raises PolicyRejected and changes nothing.

        Args:
            resources: `cilium.NetworkPolicyHosts` as dictionaries, messages or serialised messages.
            version: any text, for messages.
            removed: identities to remove. For differences only.
            delta: the resources are added to those in force or replace them by identity. Otherwise they are all.
            new_stream: first update after the sender reconnected: nothing from before is kept if it is accepted.
        """
        names = [str(identity) for identity in removed]
        if names and not delta:
            raise PolicyRejected(
                "removed names identities to remove, but the update is the full state: pass delta=True"
            )
        upserts = [_serialise(resource, f"#{position}") for position, resource in enumerate(resources)]
        self._core.update(upserts, names, version, delta, new_stream)

    def resolve(self, address: str | ipaddress.IPv4Address | ipaddress.IPv6Address) -> int | None:
        """The identity of an address; None if no prefix holds it (`world`, 2, to policies). Raises InvalidQuery."""
        return self._core.resolve(str(address))


def _serialise(resource: Mapping[str, Any] | Message | bytes, label: str) -> bytes:
    if isinstance(resource, bytes):
        return resource
    if isinstance(resource, Message):
        if resource.DESCRIPTOR.full_name != NETWORK_POLICY_HOSTS:
            raise PolicyRejected(f"resource {label} is a {resource.DESCRIPTOR.full_name}, not {NETWORK_POLICY_HOSTS}")
        return resource.SerializeToString()
    try:
        return api.serialise(api.from_dict(NETWORK_POLICY_HOSTS, resource))
    except (api.InvalidMessageError, AttributeError) as error:
        raise PolicyRejected(f"resource {label}: {error}", label) from error
