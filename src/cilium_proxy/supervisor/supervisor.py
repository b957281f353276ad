"""Keeps an Envoy running, and has others take over from it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Literal

from cilium_proxy.supervisor.admin import AdminError
from cilium_proxy.supervisor.backoff import Backoff
from cilium_proxy.supervisor.command import MissingError
from cilium_proxy.supervisor.envoy import Envoy, Launch, RestartError, bring_up, failure, give_up, start, validate
from cilium_proxy.supervisor.envoy_log import EnvoyLog
from cilium_proxy.supervisor.generation import Generation
from cilium_proxy.supervisor.process import AdoptedProcess, describe_exit, envoy_pid, stop
from cilium_proxy.supervisor.record import Record

_log = logging.getLogger(__name__)
_POLL = 0.05

State = Literal["starting", "running", "waiting to restart", "draining", "stopped"]


class StartError(Exception):
    """Envoy ended before it was ready for the first time. The text holds the errors of its log."""


async def _at_once() -> None:
    return


class Supervisor:
    """Runs Envoy until `stop`.

    An Envoy that ends before it was ever ready has a reason that a restart does not remove: that ends the supervisor
    with StartError. One that ends later is started again, after a pause that grows while it keeps ending early.

    An Envoy that `record` speaks of and that still runs goes on. Another takes over from it when `may_take_over`
    returns.

    `make` says how an Envoy of a generation is started, `arguments` what Envoy is given by the user.
    """

    def __init__(
        self,
        make: Callable[[Generation | None], Launch],
        arguments: Callable[[], Sequence[str]],
        record: Record,
        *,
        drain_time: float,
        backoff: Backoff | None = None,
        log: Callable[[], Callable[[str], None]] = EnvoyLog,
        may_take_over: Callable[[], Awaitable[None]] = _at_once,
    ) -> None:
        self.state: State = "starting"
        self.serving: Envoy | None = None
        self.retired: list[Envoy] = []
        """Those that others took over from, until they end."""
        self.crashes = 0
        self.last_exit: str | None = None
        self.restart_error: str | None = None
        """Why no other Envoy took over when one was to, last time."""
        self.ready = asyncio.Event()
        self.drain_time = drain_time
        self.on_serving: Callable[[Generation | None], None] = lambda _generation: None
        """Told of each Envoy that serves from now on."""
        self._make = make
        self._arguments = arguments
        self._record = record
        self._log = log
        self._may_take_over = may_take_over
        self._backoff = backoff or Backoff()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._switched = asyncio.Event()
        # Some Envoy was ready.
        self._started = False
        self._restarting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Lets connections drain, then ends Envoy; called again, ends it at once."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def run(self) -> None:
        """Returns when Envoy was stopped. Raises StartError, MissingError."""
        try:
            await self._adopt()
            while not self._stopping.is_set():
                envoy = self.serving or await self._start()
                await self._attend(envoy)
                if self._stopping.is_set():
                    await self._shut_down()
                elif self.serving is envoy:
                    await self._after_end(envoy)
        finally:
            self.ready.clear()
            for task in self._tasks:
                task.cancel()
            await self._clear_away()
            self.state = "stopped"

    async def restart(self) -> None:
        """Has a new Envoy take over from the one that serves. Returns when it has. Raises RestartError."""
        if self._restarting is not None and not self._restarting.done():
            raise RestartError("Envoy is being restarted already")
        self._restarting = asyncio.create_task(self._restart())
        # Whoever asked may go meanwhile.
        await asyncio.shield(self._restarting)

    def restart_soon(self) -> None:
        """As `restart`, for those who do not wait: what comes of it is logged."""
        self._do(self._try_restart())

    async def restart_and_tell(self) -> dict[str, object]:
        """As `restart`; what came of it, in JSON form."""
        try:
            await self.restart()
        except RestartError as error:
            return {"error": str(error)}
        assert self.serving is not None  # noqa: S101
        return {"pid": envoy_pid(self.serving.process)}

    async def _try_restart(self) -> None:
        with contextlib.suppress(RestartError):
            await self.restart()

    async def _restart(self) -> None:
        try:
            await self._replace()
        except asyncio.CancelledError:
            raise RestartError("the Envoy to take over from has ended, or the proxy is being stopped") from None
        except (RestartError, MissingError, OSError) as error:
            self.restart_error = str(error)
            self._write_record()
            _log.error("no other Envoy takes over: %s", error)
            raise RestartError(str(error)) from error
        self.restart_error = None

    async def _replace(self) -> None:
        old = self.serving
        if old is None or self.state != "running":
            raise RestartError(f"Envoy is {self.state}: there is nothing to take over from")
        if old.generation is None or Generation.first(self._arguments()) is None:
            raise RestartError("Envoy has the option --disable-hot-restart: stop the proxy and start it again")
        generation = old.generation.next
        launch = self._make(generation)
        await validate(launch)
        new = await start(launch, generation, self._log())
        self._write_record(new)
        await bring_up(new)
        self.retired.append(old)
        self._do(self._see_off(old))
        self._serve(new)
        pids = envoy_pid(new.process), envoy_pid(old.process)
        _log.info("Envoy %s took over from %s, which ends when its time to drain is over", *pids)

    def _serve(self, envoy: Envoy) -> None:
        self.serving = envoy
        self._switched.set()
        self._write_record()
        self.on_serving(envoy.generation)

    async def _see_off(self, envoy: Envoy) -> None:
        pid = envoy_pid(envoy.process)
        await envoy.process.wait()
        self.retired.remove(envoy)
        self._write_record()
        _log.info("Envoy %s, which another took over from, has ended", pid)

    def _write_record(self, *starting: Envoy) -> None:
        serving = [] if self.serving is None else [self.serving]
        found = [one.running() for one in (*self.retired, *serving, *starting)]
        self._record.write([one for one in found if one is not None])

    async def _adopt(self) -> None:
        """Goes on with the Envoys of a control plane that is gone, if there are any."""
        envoys = [
            Envoy(AdoptedProcess(one.pid, pidfd, one.started_at), one.generation, one.admin)
            for one, pidfd in self._record.alive()
        ]
        if not envoys:
            return
        *before, last = envoys
        if last.generation is None:
            _log.warning("the Envoy that runs has the option --disable-hot-restart: another is started in its place")
            await stop(last.process)
            return
        if before and not await last.admin.is_ready(last.generation.epoch):
            # It was about to take over.
            await give_up(last)
            *before, last = before
        self.retired = before
        for one in before:
            self._do(self._see_off(one))
        _log.info("going on with Envoy %s, which an earlier run of the proxy started", envoy_pid(last.process))
        self._serve(last)
        self._is_ready()
        self._do(self._take_over(last))

    async def _take_over(self, adopted: Envoy) -> None:
        """Replaces an adopted Envoy by one with the settings and versions of now, whose log is heard."""
        await self._may_take_over()
        if self.serving is adopted:
            # If that fails, the adopted one goes on.
            await self._try_restart()

    def _do(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self) -> Envoy:
        """Starts an Envoy that takes over from none."""
        self.state = "starting"
        generation = Generation.first(self._arguments())
        envoy = await start(self._make(generation), generation, self._log())
        self._serve(envoy)
        return envoy

    async def _attend(self, envoy: Envoy) -> None:
        """Until it ends, another serves in its place, or all is to stop."""
        waits = [envoy.process.wait(), self._stopping.wait(), self._switched.wait()]
        self._switched.clear()
        tasks = [asyncio.create_task(one) for one in waits]
        readiness = asyncio.create_task(self._await_ready(envoy))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*tasks, readiness):
                task.cancel()
            await asyncio.gather(*tasks, readiness, return_exceptions=True)

    async def _await_ready(self, envoy: Envoy) -> None:
        if self.state == "starting":
            await envoy.ready()
            self._is_ready()

    def _is_ready(self) -> None:
        self.state = "running"
        self._started = True
        self.ready.set()

    async def _after_end(self, envoy: Envoy) -> None:
        """The Envoy that served has ended. Returns when another is to be started. Raises StartError."""
        self.ready.clear()
        code = await envoy.process.wait()
        if not self._started:
            raise StartError(failure(envoy.process, code))
        self.last_exit = describe_exit(code)
        self.crashes += 1
        self.state = "waiting to restart"
        await self._clear_away()
        pause = self._backoff.pause(time.time() - envoy.process.started_at)
        _log.error("Envoy ended with %s; starting it again in %.1f s", self.last_exit, pause)
        try:
            async with asyncio.timeout(pause):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _clear_away(self) -> None:
        """Ends what still runs, and a restart under way."""
        await self._end_restart()
        envoys = [*self.retired, *([self.serving] if self.serving is not None else [])]
        await asyncio.gather(*(stop(one.process) for one in envoys if one.process.running))
        for generation in {one.generation for one in envoys if one.generation is not None}:
            generation.release()
        self.serving = None
        self._write_record()

    async def _end_restart(self) -> None:
        if self._restarting is not None:
            self._restarting.cancel()
            await asyncio.gather(self._restarting, return_exceptions=True)

    async def _shut_down(self) -> None:
        await self._end_restart()
        assert self.serving is not None  # noqa: S101
        process = self.serving.process
        self.state = "draining"
        waits = [self._drain(self.serving), self._hurry.wait(), process.wait()]
        tasks = [asyncio.create_task(one) for one in waits]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self.last_exit = describe_exit(await stop(process))

    async def _drain(self, envoy: Envoy) -> None:
        if self.drain_time <= 0:
            return
        try:
            async with asyncio.timeout(self.drain_time):
                await envoy.admin.drain()
                while await envoy.admin.connections():  # noqa: ASYNC110 - nothing tells but asking
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            _log.info("connections are still open after %g s of draining", self.drain_time)
        except AdminError as error:
            _log.warning("cannot drain: %s", error)
