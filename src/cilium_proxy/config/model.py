"""What proxy.yaml says, typed. Field meanings and defaults: docs/configuration.md."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cilium_proxy.config.address import Address
from cilium_proxy.yaml import Mark

Direction = Literal["ingress", "egress"]
Protocol = Literal["http", "tcp"]
UpstreamProtocol = Literal["same", "http1", "http2"]
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

CERTIFICATE, KEY, CA = "tls.crt", "tls.key", "ca.crt"
TLS_ITEMS = (CERTIFICATE, KEY, CA)
"""Items of secrets for TLS: a certificate chain, its private key, certificates of CAs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A workload this proxy enforces policies for.

    `labels` has a source in every key (`k8s:app`), and the namespace and cluster labels. `identity` is the numeric
    security identity asked for, or None to have one allocated. `ips` has one or two addresses, one per family.
    """

    name: str
    namespace: str
    labels: Mapping[str, str]
    ips: tuple[str, ...]
    identity: int | None
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Peers that the proxy does not enforce for, known by their addresses."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    cidrs: tuple[IPNetwork, ...]
    identity: int | None
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """What a listener does to HTTP beyond policy; by default nothing that costs time.

    `request_id`: every request has an x-request-id. `forwarded_for`: the client's address in x-forwarded-for.
    `envoy_headers`: Envoy's own x-envoy-* headers to the upstream and the client. `server_header`: the response's
    `server` is Envoy's. `upstream_statistics`: counters and latencies of responses per upstream. `idle_timeout`:
    seconds after which a request without traffic in either direction is ended; 0: never.
    """

    request_id: bool = False
    forwarded_for: bool = False
    envoy_headers: bool = False
    server_header: bool = False
    upstream_statistics: bool = False
    idle_timeout: float = 0.0
    upstream_protocol: UpstreamProtocol = "same"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A port of the proxy. `port` is the destination port that policies see. Durations are seconds; 0 is no limit.

    `tls`: policies may demand TLS of its connections.
    """

    name: str
    direction: Direction
    address: Address
    endpoint: str
    upstream: Address
    protocol: Protocol
    port: int
    connect_timeout: float
    idle_timeout: float
    request_timeout: float
    mark: Mark
    tls: bool = False
    http: HttpOptions = field(default_factory=HttpOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFile:
    """A file whose content is the value of a secret. `name` is `namespace/name`, as policies refer to it.

    `item`: which of the items of a secret for TLS it is instead; empty for a value.
    """

    name: str
    path: Path
    mark: Mark
    item: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessLog:
    """Where access log entries go. `path` is set for `file` and `socket`; `format` means nothing for `none`."""

    kind: Literal["stdout", "file", "socket", "none"]
    format: Literal["compact", "json"]
    path: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvoyOptions:
    """How Envoy is started."""

    log_level: str
    extra_args: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """The answer to a denied HTTP request. `reason_header` names a response header for the reason; None: no header."""

    body: str
    reason_header: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsers:
    """Where parsers written in Python are looked for, in order. `time_limit` in seconds, `memory_limit` in bytes."""

    directories: tuple[Path, ...]
    time_limit: float
    memory_limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A valid proxy.yaml. Paths are absolute. `policies` are files, directories, globs; `namespaces` their labels.

    `places` says where `admin` and each of `policies` stand.
    """

    file: Path
    endpoints: tuple[Endpoint, ...]
    identities: tuple[Identity, ...]
    namespaces: Mapping[str, Mapping[str, str]]
    listeners: tuple[Listener, ...]
    policies: tuple[str, ...]
    access_log: AccessLog
    admin: Address | None
    concurrency: int | None
    drain_time: float
    denied: Denied
    envoy: EnvoyOptions
    secrets: tuple[SecretFile, ...] = ()
    parsers: Parsers | None = None
    places: Mapping[str, Mark] = field(default_factory=dict)

    def endpoint(self, name: str) -> Endpoint:
        """The endpoint of that name. Raises KeyError."""
        for endpoint in self.endpoints:
            if endpoint.name == name:
                return endpoint
        raise KeyError(name)
