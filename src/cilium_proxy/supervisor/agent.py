"""The proxy behind a Cilium agent: agent as source, Envoy as child, and the relay between them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cilium_proxy.api import messages, to_dict
from cilium_proxy.config import Address
from cilium_proxy.policy import world
from cilium_proxy.relay.channel import HOSTS, POLICIES, PolicyChannel
from cilium_proxy.relay.forward import Forwarder
from cilium_proxy.relay.resources import WILDCARDS, ResourceCache
from cilium_proxy.relay.xds import XdsServer
from cilium_proxy.rewrite.cilium import AgentBootstrap, Options
from cilium_proxy.sources.agent import AgentClient
from cilium_proxy.supervisor import agent_status, record, state_directory
from cilium_proxy.supervisor.agent_arguments import AgentArguments
from cilium_proxy.supervisor.command import EnvoyCommand, binary, module_environment
from cilium_proxy.supervisor.control import ControlServer
from cilium_proxy.supervisor.envoy import Launch
from cilium_proxy.supervisor.generation import Generation, instance
from cilium_proxy.supervisor.health_events import FLUSH_INTERVAL, HealthEvents
from cilium_proxy.supervisor.record import Record
from cilium_proxy.supervisor.signals import STOP, signals
from cilium_proxy.supervisor.supervisor import Supervisor

_log = logging.getLogger(__name__)

INSTANCE = "cilium-envoy"
INIT_TIMEOUT = 30
"""Seconds Envoy waits for policies before it opens listeners, which deny until then; the bootstrap's own for xDS."""

_HOSTS_LIMIT = 5.0
_FLUSH = "--file-flush-interval-msec"
_XDS, _POLICY, _BOOTSTRAP, _ADMIN = "xds.sock", "policy.sock", "bootstrap.json", "admin.sock"


@dataclass(frozen=True, slots=True)
class EnvoyBootstrap:
    """What Envoy is started with."""

    message: Any
    warnings: tuple[str, ...]
    admin: Path | Address


def envoy_bootstrap(
    bootstrap: AgentBootstrap, directory: Path, options: Options, instance: str = INSTANCE
) -> EnvoyBootstrap:
    """The bootstrap for Envoy, with our sockets in `directory`. Raises BootstrapError, RewriteError."""
    config = messages("cilium_proxy.v1.ModuleBootstrap")(
        policy_socket=str(directory / _POLICY), instance=instance, init_timeout={"seconds": INIT_TIMEOUT}
    )
    message, warnings = bootstrap.for_envoy(directory / _XDS, config, options)
    admin = bootstrap.admin
    if admin is None:
        # Only over it one learns whether Envoy is ready.
        admin = directory / _ADMIN
        message.admin.address.pipe.path = str(admin)
        message.admin.address.pipe.mode = 0o600
    return EnvoyBootstrap(message, warnings, admin if isinstance(admin, Path) else Address(*admin))


def write_bootstrap(made: EnvoyBootstrap, directory: Path) -> Path:
    """Writes the bootstrap where Envoy reads it."""
    path = directory / _BOOTSTRAP
    path.write_text(json.dumps(to_dict(made.message), indent=2))
    return path


def agent_command(
    arguments: AgentArguments, bootstrap: Path | None, generation: Generation | None = None
) -> EnvoyCommand:
    """Envoy with the options it was given and our bootstrap. Raises MissingError."""
    config = () if bootstrap is None else ("--config-path", str(bootstrap))
    flush = () if arguments.value(_FLUSH) else (_FLUSH, str(FLUSH_INTERVAL))
    given = arguments.envoy if generation is None else generation.arguments(arguments.envoy)
    return EnvoyCommand(argv=(str(binary()), *config, *given, *flush), environment=module_environment())


class Agent:
    """Runs until Envoy is stopped. `bpf_roots` None: without the privileges of a node's proxy."""

    def __init__(
        self,
        bootstrap: AgentBootstrap,
        arguments: AgentArguments,
        directory: Path,
        options: Options,
        bpf_roots: Sequence[str] | None,
    ) -> None:
        self.started_at = time.time()
        self.health_events = HealthEvents(directory)
        self.directory = directory
        self.bootstrap = bootstrap
        self._arguments = arguments
        self._options = replace(options, health_events=self.health_events)
        self._bpf_roots = tuple(bpf_roots or ())
        self.channel = PolicyChannel(directory / _POLICY, required=(POLICIES,))
        self.cache = ResourceCache()
        envoys = Record(directory / record.FILE)
        goes_on = envoys.is_alive()
        self.forwarder = Forwarder(self.channel, self.cache, self._options, bootstrap.policy_clusters, anew=not goes_on)
        self.client = AgentClient(
            *(bootstrap.agent_socket, _node(bootstrap, arguments), bootstrap.transport, self.forwarder),
            # An Envoy that goes on must not lose what an incomplete state lacks.
            whole=goes_on,
        )
        self.forwarder.subscribe = self.client.subscribe
        self._xds = XdsServer(directory / _XDS, self.cache)
        self._control = ControlServer(
            directory / state_directory.CONTROL,
            {"status": self.status, "policies": self.policies, "restart": self.restart},
        )
        self.supervisor = Supervisor(
            self._launch,
            lambda: arguments.envoy,
            envoys,
            # The chart's grace period is a second.
            drain_time=0.0,
            log=lambda: _pass_on,
            may_take_over=self._state_is_there,
        )
        self.supervisor.on_serving = self._count

    def _launch(self, generation: Generation | None) -> Launch:
        made = envoy_bootstrap(self.bootstrap, self.directory, self._options, instance(INSTANCE, generation))
        for warning in made.warnings:
            _log.warning("bootstrap: %s", warning)
        command = agent_command(self._arguments, write_bootstrap(made, self.directory), generation)
        confined = command.confined(self._bpf_roots, keep_net_bind_service=self._arguments.keep_net_bind_service)
        return Launch(confined, made.admin)

    def _count(self, generation: Generation | None) -> None:
        name = instance(INSTANCE, generation)
        self.channel.count(name)
        self.cache.count(name)

    async def _state_is_there(self) -> None:
        """Another Envoy must not take over from one that has its state before the agent has sent that again."""
        await self.channel.state(POLICIES).known.wait()
        for url in WILDCARDS:
            await self.cache.known(url)
        # An agent whose identities are in BPF maps may have none to send.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HOSTS_LIMIT):
                await self.channel.state(HOSTS).known.wait()
        await self.client.resume()

    async def run(self) -> None:
        """Returns when SIGTERM or SIGINT stopped it. SIGUSR2 has another Envoy take over.

        Raises supervisor.StartError when Envoy does not start, OSError when a socket cannot be listened on,
        MissingError, RewriteError.
        """
        async with contextlib.AsyncExitStack() as stack:
            for server in (self._control, self.health_events, self.channel, self._xds, self.client):
                stack.push_async_callback(server.close)
                await server.start()
            stack.push_async_callback(self.forwarder.close)
            self.forwarder.start()
            with signals({**dict.fromkeys(STOP, self.supervisor.stop), signal.SIGUSR2: self.supervisor.restart_soon}):
                await self.supervisor.run()

    async def status(self) -> dict[str, object]:
        """What `cilium-proxy status` shows."""
        return agent_status.describe(self)

    async def restart(self) -> dict[str, object]:
        """What `cilium-proxy restart` asks for."""
        return await self.supervisor.restart_and_tell()

    async def policies(self) -> dict[str, object]:
        """What `cilium-proxy explain` evaluates: the policies and host addresses in force."""
        policies, hosts = (dict(self.channel.state(url).resources) for url in (POLICIES, HOSTS))
        return await asyncio.to_thread(world.describe_resources, policies, hosts.values())


def _node(bootstrap: AgentBootstrap, arguments: AgentArguments) -> Any:
    """The node as Envoy itself would send it: its options go before the bootstrap."""
    node = type(bootstrap.node)()
    node.CopyFrom(bootstrap.node)
    node.user_agent_name = "envoy"
    node.id = arguments.value("--service-node") or node.id
    node.cluster = arguments.value("--service-cluster") or node.cluster
    zone = arguments.value("--service-zone")
    if zone:
        node.locality.zone = zone
    return node


def _pass_on(line: str) -> None:
    """Envoy's log has the form its options and bootstrap give it."""
    print(line, file=sys.stderr, flush=True)
