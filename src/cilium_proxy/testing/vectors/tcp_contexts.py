"""The TLS contexts of a case's policies as Envoy's, by the names the module knows them by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from cilium_proxy.api import from_dict, serialise
from cilium_proxy.rewrite.cilium import TlsContexts

Json = dict[str, Any]

_TLS = "envoy.extensions.transport_sockets.tls.v3"


def name(context: Json) -> str:
    """The name of a `cilium.TLSContext`: the start of its SHA-256 (`tls_chains` of `cilium.BpfMetadata`)."""
    return hashlib.sha256(serialise(from_dict("cilium.TLSContext", context))).hexdigest()[:32]


def contexts(policies: list[Json], secrets: Mapping[str, Json]) -> TlsContexts:
    """All contexts of the policies; `secrets` holds a certificate with its key, or a CA, by SDS name."""
    return TlsContexts(
        downstream={name(context): _downstream(context, secrets) for context in _all(policies, "downstream")},
        upstream={name(context): _upstream(context, secrets) for context in _all(policies, "upstream")},
    )


def _all(policies: list[Json], side: str) -> Iterator[Json]:
    for policy in policies:
        for direction in ("ingress_per_port_policies", "egress_per_port_policies"):
            for port in policy.get(direction, ()):
                for rule in port.get("rules", ()):
                    if f"{side}_tls_context" in rule:
                        yield rule[f"{side}_tls_context"]


def _downstream(context: Json, secrets: Mapping[str, Json]) -> Any:
    own = secrets.get(context.get("tls_sds_secret", ""), context)
    certificate = {
        "certificate_chain": {"inline_string": own["certificate_chain"]},
        "private_key": {"inline_string": own["private_key"]},
    }
    common = {"tls_certificates": [certificate], "alpn_protocols": context.get("alpn_protocols", [])}
    return from_dict(f"{_TLS}.DownstreamTlsContext", {"common_tls_context": common})


def _upstream(context: Json, secrets: Mapping[str, Json]) -> Any:
    trusted = secrets.get(context.get("validation_context_sds_secret", ""), context)
    common: Json = {"alpn_protocols": context.get("alpn_protocols", [])}
    if trusted.get("trusted_ca"):
        common["validation_context"] = {"trusted_ca": {"inline_string": trusted["trusted_ca"]}}
    server_name = next(iter(context.get("server_names", [])), "")
    return from_dict(f"{_TLS}.UpstreamTlsContext", {"common_tls_context": common, "sni": server_name})
