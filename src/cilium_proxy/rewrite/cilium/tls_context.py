"""The TLS contexts of policies (`cilium.TLSContext`) in Envoy's form.

Certificates are secrets that Envoy discovers, also those that a policy holds itself: they can then change without a new
chain or socket, and one that Envoy refuses concerns its context alone. The fields mean what they mean in the reference.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cilium_proxy.api import from_dict, messages, serialise

_TLS = "envoy.extensions.transport_sockets.tls.v3"
_OWN = "cilium-proxy/tls/"


@dataclass(frozen=True)
class TlsContext:
    """A `cilium.TLSContext`, by its canonical bytes."""

    message: bytes

    @classmethod
    def of(cls, message: Any) -> TlsContext:
        """That of a parsed message."""
        known = type(message)()
        known.CopyFrom(message)
        known.DiscardUnknownFields()
        return cls(serialise(known))

    @cached_property
    def name(self) -> str:
        """As `cilium.bpf_metadata` knows it: crates/policy/src/model/tls.rs."""
        return hashlib.sha256(self.message).hexdigest()[:32]

    @cached_property
    def needed(self) -> tuple[tuple[str, str, str], ...]:
        """The secrets it refers to: the name, the field of a secret that must be set, and what that is."""
        fields = self._fields
        needed = (
            (fields.tls_sds_secret, "tls_certificate", "certificate with a key"),
            (fields.validation_context_sds_secret, "validation_context", "CA certificates"),
        )
        return tuple(one for one in needed if one[0])

    @cached_property
    def discovered(self) -> frozenset[str]:
        """Names of the secrets it refers to."""
        return frozenset(name for name, _, _ in self.needed)

    @cached_property
    def own_secrets(self) -> dict[str, bytes]:
        """The certificates it holds, as serialised secrets by the names that are made for them."""
        fields = self._fields
        made = {}
        if not fields.tls_sds_secret and fields.certificate_chain:
            made[self._certificate] = {
                "tls_certificate": {
                    "certificate_chain": {"inline_string": fields.certificate_chain},
                    "private_key": {"inline_string": fields.private_key},
                }
            }
        if not fields.validation_context_sds_secret and fields.trusted_ca:
            made[self._ca] = {"validation_context": {"trusted_ca": {"inline_string": fields.trusted_ca}}}
        return {name: serialise(from_dict(f"{_TLS}.Secret", {"name": name, **secret})) for name, secret in made.items()}

    def downstream(self, source: Any) -> Any:
        """`DownstreamTlsContext`; `source`: the `ConfigSource` of secrets. With a CA, clients need a certificate."""
        made = messages(f"{_TLS}.DownstreamTlsContext")()
        self._common(made.common_tls_context, source)
        if made.common_tls_context.HasField("validation_context_sds_secret_config"):
            made.require_client_certificate.value = True
        return made

    def upstream(self, source: Any) -> Any:
        """`UpstreamTlsContext`, likewise."""
        made = messages(f"{_TLS}.UpstreamTlsContext")()
        self._common(made.common_tls_context, source)
        # Envoy's own default for clients is TLS 1.2, which some servers do not speak any more.
        params = made.common_tls_context.tls_params
        params.tls_maximum_protocol_version = type(params).TLSv1_3
        names = self._fields.server_names
        if names:
            made.sni = names[0]
        return made

    @cached_property
    def _fields(self) -> Any:
        return messages("cilium.TLSContext").FromString(self.message)

    @property
    def _certificate(self) -> str:
        return f"{_OWN}{self.name}/certificate"

    @property
    def _ca(self) -> str:
        return f"{_OWN}{self.name}/ca"

    def _common(self, common: Any, source: Any) -> None:
        fields = self._fields
        certificate = fields.tls_sds_secret or (self._certificate if fields.certificate_chain else "")
        if certificate:
            common.tls_certificate_sds_secret_configs.add(name=certificate, sds_config=source)
        ca = fields.validation_context_sds_secret or (self._ca if fields.trusted_ca else "")
        if ca:
            common.validation_context_sds_secret_config.name = ca
            common.validation_context_sds_secret_config.sds_config.CopyFrom(source)
        common.alpn_protocols.extend(fields.alpn_protocols)


def is_own(secret: str) -> bool:
    """Whether a secret's name is one that was made for a certificate that a policy holds."""
    return secret.startswith(_OWN)
