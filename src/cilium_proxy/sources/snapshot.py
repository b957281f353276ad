"""The whole state of a standalone proxy at one moment, ready to be sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cilium_proxy.api import from_dict, messages, serialise
from cilium_proxy.config import Config
from cilium_proxy.config.model import CA, CERTIFICATE, KEY
from cilium_proxy.observe import Names
from cilium_proxy.policy.compile import Compiled, steps
from cilium_proxy.policy.compile.rule import Message, ca_name
from cilium_proxy.policy.compile.secrets import Secrets
from cilium_proxy.rewrite import standalone


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Serialised resources by name, and what they were made from."""

    config: Config
    compiled: Compiled
    policies: Mapping[str, bytes]
    hosts: Mapping[str, bytes]
    clusters: Mapping[str, bytes]
    listeners: Mapping[str, bytes]
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def names(self) -> Names:
        """What identities and endpoints are called."""
        return Names.of(self.config, self.compiled.identities)


def make_snapshot(config: Config, compiled: Compiled, access_log: Path | None) -> Snapshot:
    """Turns configuration and compiled policies into resources. `access_log` is the socket that Envoy writes to."""
    return Snapshot(
        config=config,
        compiled=compiled,
        policies=_serialised("cilium.NetworkPolicy", compiled.resources),
        hosts=_serialised("cilium.NetworkPolicyHosts", compiled.hosts),
        clusters={one.name: serialise(standalone.cluster(one)) for one in config.listeners},
        listeners={
            one.name: serialise(standalone.listener(one, config.endpoint(one.endpoint), config.denied, access_log))
            for one in config.listeners
        },
        secrets=_secrets(compiled.delivered),
    )


def _secrets(delivered: Secrets) -> dict[str, bytes]:
    """`Secret` messages by the names they have on SDS."""
    made: dict[str, Message] = {
        name: {"generic_secret": {"secret": {"inline_bytes": value}}} for name, value in delivered.values.items()
    }
    for name, items in delivered.tls.items():
        if CERTIFICATE in items:
            chain, key = ({"inline_bytes": items[item]} for item in (CERTIFICATE, KEY))
            made[name] = {"tls_certificate": {"certificate_chain": chain, "private_key": key}}
        if CA in items:
            made[ca_name(name)] = {"validation_context": {"trusted_ca": {"inline_bytes": items[CA]}}}
    secret = messages("envoy.extensions.transport_sockets.tls.v3.Secret")
    return {name: serialise(secret(name=name, **fields)) for name, fields in made.items()}


def transition(before: Snapshot | None, wanted: Snapshot) -> list[tuple[Mapping[str, bytes], Mapping[str, bytes]]]:
    """Policies and hosts to put into force one after the other, so that no verdict on the way is a wrong one."""
    if before is None or before.hosts == wanted.hosts:
        return [(wanted.policies, wanted.hosts)]
    return [
        (_serialised("cilium.NetworkPolicy", step.resources), _serialised("cilium.NetworkPolicyHosts", step.hosts))
        for step in steps(before.compiled, wanted.compiled)
    ]


def _serialised(name: str, resources: Mapping[str, Message]) -> dict[str, bytes]:
    return {key: serialise(from_dict(name, resource)) for key, resource in resources.items()}
