"""Keeps Envoy running."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Literal

from cilium_proxy.supervisor.admin import Admin, AdminError
from cilium_proxy.supervisor.backoff import Backoff
from cilium_proxy.supervisor.command import EnvoyCommand
from cilium_proxy.supervisor.envoy_log import EnvoyLog
from cilium_proxy.supervisor.process import EnvoyProcess, describe_exit

_log = logging.getLogger(__name__)
_POLL = 0.05

State = Literal["starting", "running", "waiting to restart", "draining", "stopped"]


class StartError(Exception):
    """Envoy ended before it was ready for the first time. The text holds the errors of its log."""


class Supervisor:
    """Runs Envoy until `stop`.

    An Envoy that ends before it was ever ready has a reason that a restart does not remove: that ends the supervisor
    with StartError. One that ends later is started again, after a pause that grows while it keeps ending early.
    """

    def __init__(
        self,
        command: EnvoyCommand | Callable[[], EnvoyCommand],
        admin: Admin,
        *,
        drain_time: float,
        backoff: Backoff | None = None,
        log: Callable[[], Callable[[str], None]] = EnvoyLog,
    ) -> None:
        self.state: State = "starting"
        self.process: EnvoyProcess | None = None
        self.restarts = 0
        self.last_exit: str | None = None
        self.ready = asyncio.Event()
        # Made anew for each start where a function makes it.
        self._command = command if callable(command) else lambda: command
        self._log = log
        self._admin = admin
        self.drain_time = drain_time
        self._backoff = backoff or Backoff()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()

    def stop(self) -> None:
        """Lets connections drain, then ends Envoy; called again, ends it at once."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def run(self) -> None:
        """Returns when Envoy was stopped. Raises StartError."""
        started = False
        try:
            while not self._stopping.is_set():
                self.process = process = await EnvoyProcess.start(self._command(), self._log())
                self.state = "starting"
                started = await self._attend(process, started)
                if not self._stopping.is_set():
                    await self._pause(process)
        finally:
            self.ready.clear()
            if self.process is not None and self.process.running:
                await self.process.stop()
            self.state = "stopped"

    async def _attend(self, process: EnvoyProcess, started: bool) -> bool:
        """Until the process ends. Returns whether Envoy was ready once in the life of the supervisor."""
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        readiness = asyncio.create_task(self._await_ready())
        try:
            await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
            started = started or readiness.done()
            if not ended.done():
                await self._shut_down(process, ended)
                return started
            code = ended.result()
            self.last_exit = describe_exit(code)
            if not started:
                errors = process.errors()
                raise StartError("\n".join([f"Envoy does not start ({self.last_exit}):", *errors, *_advice(errors)]))
            return started
        finally:
            self.ready.clear()
            for task in (stopping, readiness):
                task.cancel()
            await asyncio.gather(stopping, readiness, return_exceptions=True)

    async def _await_ready(self) -> None:
        while not await self._admin.is_ready():  # noqa: ASYNC110 - nothing tells but asking
            await asyncio.sleep(_POLL)
        self.state = "running"
        self.ready.set()

    async def _pause(self, process: EnvoyProcess) -> None:
        self.restarts += 1
        self.state = "waiting to restart"
        pause = self._backoff.pause(time.time() - process.started_at)
        _log.error("Envoy ended with %s; starting it again in %.1f s", self.last_exit, pause)
        try:
            async with asyncio.timeout(pause):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _shut_down(self, process: EnvoyProcess, ended: asyncio.Task[int]) -> None:
        self.state = "draining"
        drain = asyncio.create_task(self._drain())
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait((drain, hurry, ended), return_when=asyncio.FIRST_COMPLETED)
        for task in (drain, hurry):
            task.cancel()
        await asyncio.gather(drain, hurry, return_exceptions=True)
        ended.cancel()
        self.last_exit = describe_exit(await process.stop())

    async def _drain(self) -> None:
        if self.drain_time <= 0:
            return
        try:
            async with asyncio.timeout(self.drain_time):
                await self._admin.drain()
                while await self._admin.connections():  # noqa: ASYNC110 - nothing tells but asking
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            _log.info("connections are still open after %g s of draining", self.drain_time)
        except AdminError as error:
            _log.warning("cannot drain: %s", error)


def _advice(errors: Iterable[str]) -> list[str]:
    """What to do about errors that do not say it."""
    if any("dynamic module" in line for line in errors):
        return ["the native module does not fit this Envoy: install cilium-proxy again, in a checkout run `make setup`"]
    return []
