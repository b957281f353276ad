"""Policies and hosts as an agent of a large node has them."""

from __future__ import annotations

import random

from cilium_proxy.api import from_dict, serialise

POD = "127.0.0.2"
CLIENT, OTHERS = 43, 1 << 16
CLIENT_ADDRESS = "127.0.0.3"


def address(number: int) -> str:
    """An address of the pods that have nothing to do."""
    return f"10.{number >> 16 & 0xFF}.{number >> 8 & 0xFF}.{number & 0xFF}"


def policy(number: int, identities: int, path: str = "/api/v[0-9]+/.*") -> bytes:
    """The policy of an endpoint that lets so many identities, others than its neighbours' do, send some requests."""
    chosen = random.Random(number).sample(range(OTHERS), identities)
    matches = [
        {"name": ":method", "string_match": {"exact": "GET"}},
        {"name": ":path", "string_match": {"safe_regex": {"regex": path}}},
    ]
    rule = {
        "remote_policies": sorted(chosen),
        "http_rules": {"http_rules": [{"headers": matches}, {"headers": [matches[0] | {"invert_match": True}]}]},
    }
    entry = {"port": 80, "protocol": "TCP", "rules": [rule]}
    fields = {"endpoint_ips": [address(number)], "endpoint_id": number, "ingress_per_port_policies": [entry]}
    return serialise(from_dict("cilium.NetworkPolicy", fields))


def policies(count: int, identities: int) -> dict[str, bytes]:
    """The policies of a node by name."""
    return {str(number): policy(number, identities) for number in range(1, count + 1)}


def host(number: int, *addresses: str) -> bytes:
    """An identity with an address, or these."""
    found = list(addresses) or [f"{address(number)}/32"]
    return serialise(from_dict("cilium.NetworkPolicyHosts", {"policy": number, "host_addresses": found}))


def hosts(count: int) -> dict[str, bytes]:
    """Identities of one address each, by name."""
    return {str(number): host(number) for number in range(256, count + 256)}
