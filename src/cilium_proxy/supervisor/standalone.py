"""A standalone proxy: files as source, Envoy as child, and everything between them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import time
from pathlib import Path

from cilium_proxy.api import to_dict
from cilium_proxy.config import Address, Config
from cilium_proxy.observe import AccessLogService
from cilium_proxy.observe.service import Destination
from cilium_proxy.policy import world
from cilium_proxy.relay.channel import HOSTS, POLICIES, PolicyChannel
from cilium_proxy.relay.enforce import Enforcer, RefusedError
from cilium_proxy.relay.resources import ResourceCache
from cilium_proxy.relay.xds import XdsServer
from cilium_proxy.rewrite.python_parsers import PythonParsers
from cilium_proxy.rewrite.standalone import Bootstrap, bootstrap
from cilium_proxy.sources.files import FilesError, FileSource
from cilium_proxy.sources.snapshot import Snapshot
from cilium_proxy.supervisor import embedding, record, state_directory
from cilium_proxy.supervisor.command import envoy_command
from cilium_proxy.supervisor.control import ControlServer
from cilium_proxy.supervisor.envoy import Launch, RestartError
from cilium_proxy.supervisor.generation import Generation, instance
from cilium_proxy.supervisor.preflight import check_addresses
from cilium_proxy.supervisor.record import Record
from cilium_proxy.supervisor.signals import STOP, signals
from cilium_proxy.supervisor.status import describe
from cilium_proxy.supervisor.supervisor import Supervisor
from cilium_proxy.yaml import Problem

_log = logging.getLogger(__name__)

ACCESS_LOG = "access_log.sock"
INSTANCE = "envoy"


class Standalone:
    """Runs until Envoy is stopped. `problem` is why the last edit was refused, None once one was accepted after it."""

    def __init__(self, source: FileSource, first: Snapshot, directory: Path) -> None:
        config = first.config
        self.started_at = time.time()
        self.source = source
        self.directory = directory
        self.problem: str | None = None
        self.problem_at: float | None = None
        self.applied_at: float | None = None
        self.applying = True
        self.needs_restart: list[str] = []
        # The configuration that Envoy runs with, and that of the Envoy started last.
        self._started_with = self._launched_with = config
        self._first = first
        self.channel = PolicyChannel(directory / "policy.sock", required=(HOSTS, POLICIES))
        self.cache = ResourceCache()
        self._xds = XdsServer(directory / "xds.sock", self.cache)
        self.access_log = AccessLogService(directory / ACCESS_LOG, config.access_log, first.names, stream=True)
        self._control = ControlServer(
            directory / state_directory.CONTROL,
            {"status": self.status, "policies": self.policies, "restart": self.restart},
        )
        self.enforcer = Enforcer(self.channel, self.cache)
        self.supervisor = Supervisor(
            self._launch,
            lambda: self.config.envoy.extra_args,
            Record(directory / record.FILE),
            drain_time=config.drain_time,
        )
        self.supervisor.on_serving = self._serves

    async def run(self) -> None:
        """Returns when SIGTERM or SIGINT stopped it; a second one stops without draining.

        SIGHUP reads the files and opens the access log anew. SIGUSR2 has another Envoy take over.

        Raises supervisor.StartError when Envoy does not start, RefusedError when it refuses the first state,
        OSError when a socket cannot be listened on or the access log cannot be opened.
        """
        async with contextlib.AsyncExitStack() as stack:
            # Stopped in reverse order: what Envoy logs last is still written.
            for server in (self._control, self.access_log, self.channel, self._xds):
                stack.push_async_callback(server.close)
                await server.start()
            stack.push_async_callback(self.enforcer.close)
            handlers = {signal.SIGHUP: self._hang_up, signal.SIGUSR2: self.supervisor.restart_soon}
            with signals({**dict.fromkeys(STOP, self.supervisor.stop), **handlers}):
                running = asyncio.create_task(self.supervisor.run())
                applying = asyncio.create_task(self._keep_applied())
                try:
                    await asyncio.wait((running, applying), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    self.supervisor.stop()
                    if applying.done():
                        # It failed: there is nothing to drain for.
                        self.supervisor.stop()
                    applying.cancel()
                    results = await asyncio.gather(running, applying, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def status(self) -> dict[str, object]:
        """What `cilium-proxy status` shows."""
        return describe(self)

    async def restart(self) -> dict[str, object]:
        """What `cilium-proxy restart` asks for."""
        return await self.supervisor.restart_and_tell()

    async def policies(self) -> dict[str, object]:
        """What `cilium-proxy explain` evaluates: the policies in force and the names of those they speak of."""
        current = self.enforcer.current or self._first
        return world.describe(current.config, current.compiled)

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return (self.enforcer.current or self._first).config

    @property
    def warnings(self) -> list[Problem]:
        """What keeps rules in force from allowing what they say."""
        return (self.enforcer.current or self._first).compiled.warnings()

    async def _keep_applied(self) -> None:
        await self.enforcer.apply(self._first)
        self._accepted()
        await self.supervisor.ready.wait()
        for listener in self._first.config.listeners:
            _log.info(
                "listener %s: %s on %s for %s", listener.name, listener.direction, listener.address, listener.endpoint
            )
        _log.info("ready")
        async for _ in self.source.edits():
            try:
                await self._apply(await self.source.read())
            except FilesError as error:
                self._refused(str(error))
            except Exception as error:
                # A defect here must not end enforcement.
                _log.exception("reading the edited files failed")
                self._refused(f"{type(error).__name__}: {error}; this is a defect of cilium-proxy, please report it")

    async def _apply(self, wanted: Snapshot) -> None:
        if self.problem is None and wanted == self.enforcer.current:
            # An editor may touch a file twice.
            _log.info("the files hold nothing new")
            return
        before = {listener.address for listener in self.config.listeners}
        added = [
            (f"{one.mark}: listener `{one.name}`", one.address)
            for one in wanted.config.listeners
            if one.address not in before
        ]
        problems = await asyncio.to_thread(check_addresses, added)
        if problems:
            self._refused("\n".join(problems))
            return
        started = time.monotonic()
        self.applying = True
        try:
            log = await self._other_log(wanted.config)
        except OSError as error:
            self._refused(f"access_log: {error}")
            return
        try:
            await self.enforcer.apply(wanted)
        except RefusedError as error:
            if log is not None:
                await log.close()
            self._refused(str(error))
            return
        if log is not None:
            await self.access_log.use(log)
        self._accepted()
        _log.info("the edited files are in force (%.0f ms)", (time.monotonic() - started) * 1000)

    async def _other_log(self, wanted: Config) -> Destination | None:
        """The destination of the access log, where it changes. Raises OSError."""
        return await self.access_log.open(wanted.access_log) if wanted.access_log != self.config.access_log else None

    def _accepted(self) -> None:
        self.applying = False
        self.problem = self.problem_at = None
        self.applied_at = time.time()
        self.access_log.names = (self.enforcer.current or self._first).names
        self.supervisor.drain_time = self.config.drain_time
        for warning in self.warnings:
            _log.warning("%s", warning)
        self._compare()
        if self.needs_restart:
            _log.warning("changes of %s take effect with `cilium-proxy restart`", ", ".join(self.needs_restart))

    def _compare(self) -> None:
        """Which settings are other than those that Envoy runs with."""
        names = ("admin", "concurrency", "envoy", "parsers")
        self.needs_restart = [name for name in names if getattr(self.config, name) != getattr(self._started_with, name)]

    def _refused(self, problem: str) -> None:
        self.applying = False
        self.problem, self.problem_at = problem, time.time()
        _log.error("the edited files are refused, the state before stays in force:\n%s", problem)

    def _hang_up(self) -> None:
        self.access_log.reopen()
        self.source.reload()

    def _launch(self, generation: Generation | None) -> Launch:
        config = self._launched_with = self.config
        admin: Address | Path = config.admin or self.directory / "admin.sock"
        if config.admin is not None and config.admin != self._started_with.admin:
            problems = check_addresses([(f"{config.places.get('admin', config.file)}: admin", config.admin)])
            if problems:
                raise RestartError("\n".join(problems))
        command = envoy_command(
            self._write_bootstrap(admin, instance(INSTANCE, generation), embedding.of_config(config)),
            concurrency=config.concurrency,
            log_level=config.envoy.log_level,
            drain_time=config.drain_time,
            extra=config.envoy.extra_args,
            generation=generation,
        )
        return Launch(command.confined(keep_net_bind_service=True), admin)

    def _serves(self, generation: Generation | None) -> None:
        name = instance(INSTANCE, generation)
        self.channel.count(name)
        self.cache.count(name)
        self._started_with = self._launched_with
        self._compare()

    def _write_bootstrap(self, admin: Address | Path, name: str, parsers: PythonParsers | None) -> Path:
        wanted = Bootstrap(
            xds_socket=self.directory / "xds.sock",
            policy_socket=self.directory / "policy.sock",
            admin=admin,
            instance=name,
            python_parsers=parsers,
        )
        path = self.directory / "bootstrap.json"
        path.write_text(json.dumps(to_dict(bootstrap(wanted)), indent=2))
        return path
