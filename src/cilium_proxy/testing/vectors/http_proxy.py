"""A real Envoy with the module for one case: one listener, one cluster, policies over the policy channel.

The listener is pinned to the case's endpoint by `local_endpoint` of `cilium.bpf_metadata`, which stands for what a
datapath would tell; identities come from the host map. Nothing in the module knows that it is tested.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cilium_proxy.api import from_dict, messages, serialise, to_dict
from cilium_proxy.observe.receiver import Receiver
from cilium_proxy.relay.channel import HOSTS, POLICIES, SECRETS, PolicyChannel
from cilium_proxy.relay.state import RejectedError
from cilium_proxy.rewrite.dynamic_module import module_bootstrap
from cilium_proxy.supervisor.admin import Admin, AdminError
from cilium_proxy.supervisor.command import envoy_command
from cilium_proxy.testing.vectors.result import Result, UnusableError

START = 60.0
"""Seconds in which Envoy must be ready."""
PATIENCE = 10.0
"""Seconds in which something expected must have happened."""
LOG = "log.sock"
"""Name of the access log's socket."""

IPV4 = "127.0.0.1"
"""The loopback address that documents are written for."""

Json = dict[str, Any]


class VectorProxyError(UnusableError):
    """Envoy did not start or ended; the text has the end of its log."""


@dataclass(slots=True)
class VectorProxy:
    """Envoy, running, and what it reports."""

    directory: Path
    channel: PolicyChannel
    process: asyncio.subprocess.Process
    entries: list[Any] = field(default_factory=list)
    version: int = 0

    @property
    def admin(self) -> Admin:
        """Its admin interface."""
        return Admin(self.directory / "admin.sock")

    async def publish(self, url: str, resources: Mapping[str, bytes], *, new_stream: bool = False) -> str | None:
        """Brings the whole state of a type into force; the reason when the module refuses."""
        self.version += 1
        try:
            async with asyncio.timeout(START):
                await self.channel.publish(url, resources, str(self.version), new_stream=new_stream)
        except RejectedError as error:
            return str(error)
        return None

    async def ready(self) -> None:
        """Waits until listeners are open. Raises VectorProxyError."""
        async with asyncio.timeout(START):
            while not await self.admin.is_ready():
                if self.process.returncode is not None:
                    raise VectorProxyError(f"Envoy: {self.log()}")
                await asyncio.sleep(0.02)

    async def stat(self, name: str) -> int | None:
        """The value of a counter or gauge, whatever stands before its name; None where there is none."""
        try:
            text = await self.admin.request("GET", "/stats")
        except AdminError:
            return None
        for line in text.splitlines():
            key, _, value = line.rpartition(": ")
            if (key == name or key.endswith("." + name)) and value.isdigit():
                return int(value)
        return None

    def log(self) -> str:
        """The last lines of Envoy's log."""
        return "\n".join((self.directory / "envoy.log").read_text(errors="replace").splitlines()[-30:])


# Also in an authority that was made by replacing the address alone.
_IPV6_LOOPBACK = re.compile(r"(?<![0-9A-Fa-f:])(?:\[::1\]|::1)(?![0-9A-Fa-f]|:[0-9A-Fa-f]{0,4}(?![0-9A-Fa-f]))")


def with_ipv4(document: Any) -> Any:
    """A document that is written for IPv6's loopback address, as the same for IPv4's: cases run with both.

    What it says about itself is left out.
    """
    if not isinstance(document, dict):
        return document
    data = {key: value for key, value in document.items() if key != "_about"}
    text = json.dumps(data)
    if IPV4 in text:
        return data
    return json.loads(_IPV6_LOOPBACK.sub(IPV4, text).replace(f"{IPV4}/128", f"{IPV4}/32"))


def families(result: Result) -> Iterator[str]:
    """The loopback addresses that a case runs with, as long as it passes: IPv4's and, where there is one, IPv6's."""
    yield IPV4
    if result.passed and _has_ipv6():
        yield "::1"


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def eventually(check: Callable[[], Any], limit: float = PATIENCE) -> Any:
    """Repeats `check` until it gives something true, or time is up; its last result."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + limit
    while True:
        result = check()
        if result or clock() >= deadline:
            return result
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def start(
    listeners: Callable[[Path], Sequence[Any]],
    clusters: Callable[[Path], Sequence[Json]],
    *,
    concurrency: int = 1,
    prefix: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    extra: Sequence[str] = (),
    required: Sequence[str] = (HOSTS, POLICIES),
) -> AsyncIterator[VectorProxy]:
    """Starts Envoy; it is stopped at the end. `listeners` and `clusters` are given the access log's socket; `prefix`
    is a command that becomes the one behind it."""
    async with surroundings(required) as (directory, channel, entries):
        log = directory / LOG
        config = bootstrap(directory, listeners(log), clusters(log))
        async with envoy(
            directory, config, concurrency=concurrency, prefix=prefix, environment=environment, extra=extra
        ) as process:
            yield VectorProxy(directory, channel, process, entries)


@contextlib.asynccontextmanager
async def surroundings(required: Sequence[str]) -> AsyncIterator[tuple[Path, PolicyChannel, list[Any]]]:
    """What Envoy finds: a directory with a policy channel and an access log, whose entries are collected."""
    # Short: paths of Unix sockets are limited.
    with tempfile.TemporaryDirectory(prefix="cv-") as name:
        directory = Path(name)
        entries: list[Any] = []
        receiver = Receiver(directory / LOG, entries.append)
        await receiver.start()
        channel = PolicyChannel(directory / "policy.sock", required=required)
        await channel.start()
        try:
            yield directory, channel, entries
        finally:
            await channel.close()
            await receiver.close()


@contextlib.asynccontextmanager
async def envoy(
    directory: Path,
    config: Json,
    *,
    concurrency: int = 1,
    prefix: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    extra: Sequence[str] = (),
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Envoy with a bootstrap in its JSON form."""
    file = directory / "bootstrap.json"
    file.write_text(json.dumps(config))
    command = envoy_command(file, concurrency=concurrency, log_level="warning", extra=extra)
    with (directory / "envoy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *prefix,
            *command.argv,
            env={**command.environment, **(environment or {})},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def bootstrap(directory: Path, listeners: Sequence[Any], clusters: Sequence[Json]) -> Any:
    """The bootstrap, in its JSON form."""
    module = messages("cilium_proxy.v1.ModuleBootstrap")(
        policy_socket=str(directory / "policy.sock"), instance="vectors"
    )
    message = from_dict(
        "envoy.config.bootstrap.v3.Bootstrap",
        {
            "admin": {"address": {"pipe": {"path": str(directory / "admin.sock")}}},
            "static_resources": {"clusters": list(clusters)},
        },
    )
    message.static_resources.listeners.extend(listeners)
    message.bootstrap_extensions.add(name="cilium.bootstrap").typed_config.CopyFrom(module_bootstrap(module))
    return to_dict(message)


def cluster(name: str, *addresses: tuple[str, int], **options: Any) -> Json:
    """A static cluster."""
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}} for host, port in addresses
    ]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
        **options,
    }


def policies(resources: Sequence[Json]) -> dict[str, bytes]:
    """`cilium.NetworkPolicy` resources by name, the endpoint's id. Raises RejectedError when two have one name."""
    named: dict[str, bytes] = {}
    for resource in resources:
        name = str(resource.get("endpoint_id", 0))
        if name in named:
            raise RejectedError(f"the update has duplicate resource key '{name}'")
        named[name] = serialise(from_dict("cilium.NetworkPolicy", resource))
    return named


def hosts(resources: Sequence[Json]) -> dict[str, bytes]:
    """`cilium.NetworkPolicyHosts` resources by name; addresses of one identity are put together."""
    merged: dict[int, list[str]] = {}
    for resource in resources:
        known = merged.setdefault(resource["policy"], [])
        known.extend(address for address in resource["host_addresses"] if address not in known)
    return {
        str(identity): serialise(
            from_dict("cilium.NetworkPolicyHosts", {"policy": identity, "host_addresses": addresses})
        )
        for identity, addresses in merged.items()
    }


def secrets(values: Mapping[str, str]) -> dict[str, bytes]:
    """Generic secrets by name."""
    return {name: secret(name, generic_secret={"secret": {"inline_string": value}}) for name, value in values.items()}


def secret(name: str, **kind: Json) -> bytes:
    """A secret of any kind."""
    return serialise(from_dict("envoy.extensions.transport_sockets.tls.v3.Secret", {"name": name, **kind}))


__all__ = [
    "HOSTS",
    "IPV4",
    "LOG",
    "PATIENCE",
    "POLICIES",
    "SECRETS",
    "AdminError",
    "VectorProxy",
    "VectorProxyError",
    "bootstrap",
    "cluster",
    "envoy",
    "eventually",
    "families",
    "hosts",
    "policies",
    "secret",
    "secrets",
    "start",
    "surroundings",
    "with_ipv4",
]
