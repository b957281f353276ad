"""A standalone proxy: files as source, Envoy as child, and everything between them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from cilium_proxy.api import to_dict
from cilium_proxy.config import Address, Config
from cilium_proxy.observe import AccessLogService
from cilium_proxy.policy import world
from cilium_proxy.relay.channel import HOSTS, POLICIES, PolicyChannel
from cilium_proxy.relay.enforce import Enforcer, RefusedError
from cilium_proxy.relay.resources import ResourceCache
from cilium_proxy.relay.xds import XdsServer
from cilium_proxy.rewrite.standalone import Bootstrap, bootstrap
from cilium_proxy.sources.files import FilesError, FileSource
from cilium_proxy.sources.snapshot import Snapshot
from cilium_proxy.supervisor import state_directory
from cilium_proxy.supervisor.admin import Admin
from cilium_proxy.supervisor.command import envoy_command
from cilium_proxy.supervisor.control import ControlServer
from cilium_proxy.supervisor.preflight import check_addresses
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
        self._started_with = config
        self._first = first
        self.channel = PolicyChannel(directory / "policy.sock", required=(HOSTS, POLICIES))
        self.cache = ResourceCache()
        self._xds = XdsServer(directory / "xds.sock", self.cache)
        self.access_log = AccessLogService(directory / ACCESS_LOG, config.access_log, first.names)
        self._control = ControlServer(
            directory / state_directory.CONTROL, {"status": self.status, "policies": self.policies}
        )
        self.enforcer = Enforcer(self.channel, self.cache)
        admin: Address | Path = config.admin or directory / "admin.sock"
        self.supervisor = Supervisor(
            envoy_command(
                self._write_bootstrap(admin),
                concurrency=config.concurrency,
                log_level=config.envoy.log_level,
                drain_time=config.drain_time,
                extra=config.envoy.extra_args,
            ),
            Admin(admin),
            drain_time=config.drain_time,
        )

    async def run(self) -> None:
        """Returns when SIGTERM or SIGINT stopped it; a second one stops without draining.

        SIGHUP reads the files and opens the access log anew.

        Raises supervisor.StartError when Envoy does not start, RefusedError when it refuses the first state,
        OSError when a socket cannot be listened on or the access log cannot be opened.
        """
        async with contextlib.AsyncExitStack() as stack:
            # Stopped in reverse order: what Envoy logs last is still written.
            for server in (self._control, self.access_log, self.channel, self._xds):
                stack.push_async_callback(server.close)
                await server.start()
            with self._signals():
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
            await self.enforcer.apply(wanted)
        except RefusedError as error:
            self._refused(str(error))
            return
        self._accepted()
        _log.info("the edited files are in force (%.0f ms)", (time.monotonic() - started) * 1000)

    def _accepted(self) -> None:
        self.applying = False
        self.problem = self.problem_at = None
        self.applied_at = time.time()
        self.access_log.names = (self.enforcer.current or self._first).names
        self.supervisor.drain_time = self.config.drain_time
        names = ("admin", "concurrency", "envoy", "access_log")
        for warning in self.warnings:
            _log.warning("%s", warning)
        self.needs_restart = [name for name in names if getattr(self.config, name) != getattr(self._started_with, name)]
        if self.needs_restart:
            _log.warning("changes of %s take effect when the proxy is restarted", ", ".join(self.needs_restart))

    def _refused(self, problem: str) -> None:
        self.applying = False
        self.problem, self.problem_at = problem, time.time()
        _log.error("the edited files are refused, the state before stays in force:\n%s", problem)

    def _hang_up(self) -> None:
        self.access_log.reopen()
        self.source.reload()

    def _write_bootstrap(self, admin: Address | Path) -> Path:
        wanted = Bootstrap(
            xds_socket=self.directory / "xds.sock",
            policy_socket=self.directory / "policy.sock",
            admin=admin,
            instance=INSTANCE,
        )
        path = self.directory / "bootstrap.json"
        path.write_text(json.dumps(to_dict(bootstrap(wanted)), indent=2))
        return path

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handlers = {
            signal.SIGTERM: self.supervisor.stop,
            signal.SIGINT: self.supervisor.stop,
            signal.SIGHUP: self._hang_up,
        }
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)
