"""Secrets that policies refer to by name, and what of them the module may have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from cilium_proxy.api import messages, serialise


def named_by(policy: bytes) -> frozenset[str]:
    """Names of the SDS secrets in a serialised `cilium.NetworkPolicy`. One that does not parse names none."""
    try:
        message = messages("cilium.NetworkPolicy").FromString(policy)
    except DecodeError:
        return frozenset()
    return frozenset(name for name in _names(message) if name)


def _names(policy: Any) -> Iterator[str]:
    for direction in (policy.ingress_per_port_policies, policy.egress_per_port_policies):
        for port in direction:
            for rule in port.rules:
                for context in (rule.downstream_tls_context, rule.upstream_tls_context):
                    yield context.tls_sds_secret
                    yield context.validation_context_sds_secret
                for http in rule.http_rules.http_rules:
                    for match in http.header_matches:
                        yield match.value_sds_secret


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
