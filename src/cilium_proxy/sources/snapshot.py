"""The whole state of a standalone proxy at one moment, ready to be sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cilium_proxy.api import from_dict, serialise
from cilium_proxy.config import Config
from cilium_proxy.observe import Names
from cilium_proxy.policy.compile import Compiled
from cilium_proxy.rewrite import standalone


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Serialised resources by name, the configuration they were made from, and what its identities are called."""

    config: Config
    names: Names
    policies: Mapping[str, bytes]
    hosts: Mapping[str, bytes]
    clusters: Mapping[str, bytes]
    listeners: Mapping[str, bytes]


def make_snapshot(config: Config, compiled: Compiled, access_log: Path | None) -> Snapshot:
    """Turns configuration and compiled policies into resources. `access_log` is the socket that Envoy writes to."""
    return Snapshot(
        config=config,
        names=Names.of(config, compiled.identities),
        policies={
            name: serialise(from_dict("cilium.NetworkPolicy", policy)) for name, policy in compiled.resources.items()
        },
        hosts={name: serialise(from_dict("cilium.NetworkPolicyHosts", host)) for name, host in compiled.hosts.items()},
        clusters={one.name: serialise(standalone.cluster(one)) for one in config.listeners},
        listeners={
            one.name: serialise(standalone.listener(one, config.endpoint(one.endpoint), config.denied, access_log))
            for one in config.listeners
        },
    )
