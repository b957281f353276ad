"""The proxy behind a Cilium agent: agent as source, Envoy as child, and the relay between them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cilium_proxy.api import messages, to_dict
from cilium_proxy.config import Address
from cilium_proxy.policy import world
from cilium_proxy.relay.channel import HOSTS, POLICIES, PolicyChannel
from cilium_proxy.relay.forward import Forwarder
from cilium_proxy.relay.resources import ResourceCache
from cilium_proxy.relay.xds import XdsServer
from cilium_proxy.rewrite.cilium import AgentBootstrap, Options
from cilium_proxy.sources.agent import AgentClient
from cilium_proxy.supervisor import agent_status, state_directory
from cilium_proxy.supervisor.admin import Admin
from cilium_proxy.supervisor.agent_arguments import AgentArguments
from cilium_proxy.supervisor.command import EnvoyCommand, binary, module
from cilium_proxy.supervisor.control import ControlServer
from cilium_proxy.supervisor.health_events import FLUSH_INTERVAL, HealthEvents
from cilium_proxy.supervisor.privileges import Privileges
from cilium_proxy.supervisor.supervisor import Supervisor

_log = logging.getLogger(__name__)

INSTANCE = "cilium-envoy"
INIT_TIMEOUT = 30
"""Seconds Envoy waits for policies before it opens listeners, which deny until then; the bootstrap's own for xDS."""

_FLUSH = "--file-flush-interval-msec"
_XDS, _POLICY, _BOOTSTRAP, _ADMIN = "xds.sock", "policy.sock", "bootstrap.json", "admin.sock"


@dataclass(frozen=True, slots=True)
class EnvoyBootstrap:
    """What Envoy is started with."""

    message: Any
    warnings: tuple[str, ...]
    admin: Path | Address


def envoy_bootstrap(bootstrap: AgentBootstrap, directory: Path, options: Options) -> EnvoyBootstrap:
    """The bootstrap for Envoy, with our sockets in `directory`. Raises BootstrapError, RewriteError."""
    config = messages("cilium_proxy.v1.ModuleBootstrap")(
        policy_socket=str(directory / _POLICY), instance=INSTANCE, init_timeout={"seconds": INIT_TIMEOUT}
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


def agent_command(arguments: AgentArguments, bootstrap: Path | None) -> EnvoyCommand:
    """Envoy with the options it was given and our bootstrap. Raises MissingError."""
    config = () if bootstrap is None else ("--config-path", str(bootstrap))
    environment = {**os.environ, "ENVOY_DYNAMIC_MODULES_SEARCH_PATH": str(module().parent)}
    flush = () if arguments.value(_FLUSH) else (_FLUSH, str(FLUSH_INTERVAL))
    return EnvoyCommand(argv=(str(binary()), *config, *arguments.envoy, *flush), environment=environment)


class Agent:
    """Runs until Envoy is stopped. Without `privileges`, Envoy keeps those of this process."""

    def __init__(
        self,
        bootstrap: AgentBootstrap,
        arguments: AgentArguments,
        directory: Path,
        options: Options,
        privileges: Privileges | None,
    ) -> None:
        self.started_at = time.time()
        self.health_events = HealthEvents(directory)
        options = replace(options, health_events=self.health_events)
        self.directory = directory
        self.bootstrap = bootstrap
        self.channel = PolicyChannel(directory / _POLICY, required=(POLICIES,))
        self.cache = ResourceCache()
        self.forwarder = Forwarder(self.channel, self.cache, options)
        node = _node(bootstrap, arguments)
        self.client = AgentClient(bootstrap.agent_socket, node, bootstrap.transport, self.forwarder)
        self.forwarder.subscribe = self.client.subscribe
        self._xds = XdsServer(directory / _XDS, self.cache)
        self._control = ControlServer(
            directory / state_directory.CONTROL, {"status": self.status, "policies": self.policies}
        )
        made = envoy_bootstrap(bootstrap, directory, options)
        for warning in made.warnings:
            _log.warning("bootstrap: %s", warning)
        command = agent_command(arguments, write_bootstrap(made, directory))
        self.supervisor = Supervisor(
            command if privileges is None else lambda: privileges.confine(command),
            Admin(made.admin),
            # The chart's grace period is a second.
            drain_time=0.0,
            log=lambda: _pass_on,
        )

    async def run(self) -> None:
        """Returns when SIGTERM or SIGINT stopped it.

        Raises supervisor.StartError when Envoy does not start, OSError when a socket cannot be listened on.
        """
        async with contextlib.AsyncExitStack() as stack:
            for server in (self._control, self.health_events, self.channel, self._xds, self.client):
                stack.push_async_callback(server.close)
                await server.start()
            stack.push_async_callback(self.forwarder.close)
            self.forwarder.start()
            with self._signals():
                await self.supervisor.run()

    async def status(self) -> dict[str, object]:
        """What `cilium-proxy status` shows."""
        return agent_status.describe(self)

    async def policies(self) -> dict[str, object]:
        """What `cilium-proxy explain` evaluates: the policies and host addresses in force."""
        policies, hosts = (dict(self.channel.state(url).resources) for url in (POLICIES, HOSTS))
        return await asyncio.to_thread(world.describe_resources, policies, hosts.values())

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.supervisor.stop)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


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
