"""One Envoy under supervision, and how another one is brought up beside it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cilium_proxy.config import Address
from cilium_proxy.supervisor.admin import Admin
from cilium_proxy.supervisor.command import EnvoyCommand
from cilium_proxy.supervisor.generation import Generation
from cilium_proxy.supervisor.process import EnvoyProcess, Process, describe_exit, stop
from cilium_proxy.supervisor.record import Running

START_LIMIT = 60.0
"""Seconds within which an Envoy that takes over must be ready."""

_VALIDATION_LIMIT = 30.0
_POLL = 0.05


class RestartError(Exception):
    """No other Envoy took over; the one that serves goes on. The text says why."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How one Envoy is started, and where its admin interface will be."""

    command: EnvoyCommand
    admin: Address | Path


@dataclass(slots=True, eq=False)
class Envoy:
    """A process with what is to be known of it."""

    process: Process
    generation: Generation | None
    where: Address | Path
    admin: Admin = field(init=False)

    def __post_init__(self) -> None:
        self.admin = Admin(self.where)

    async def ready(self) -> None:
        """Waits until it, and not the one it takes over from, has all it needs and takes connections."""
        epoch = self.generation.epoch if self.generation else None
        while not await self.admin.is_ready(epoch):  # noqa: ASYNC110 - nothing tells but asking
            await asyncio.sleep(_POLL)

    def running(self) -> Running | None:
        """What is recorded of it; None when it has ended."""
        return Running.of(self.process.pid, self.process.started_at, self.generation, self.where)


async def start(launch: Launch, generation: Generation | None, log: Callable[[str], None]) -> Envoy:
    """Starts an Envoy. Raises OSError."""
    return Envoy(await EnvoyProcess.start(launch.command, log), generation, launch.admin)


async def validate(launch: Launch) -> None:
    """Has Envoy check what it is to be started with. Raises RestartError.

    One that fails later has already closed the admin interface of the Envoy it takes over from.
    """
    process = await EnvoyProcess.start(launch.command.validating(), lambda _line: None)
    try:
        async with asyncio.timeout(_VALIDATION_LIMIT):
            code = await process.wait()
    except TimeoutError:
        raise RestartError(f"Envoy has not checked its configuration within {_VALIDATION_LIMIT:g} s") from None
    finally:
        process.signal(signal.SIGKILL)
    if code != 0:
        raise RestartError(failure(process, code))


async def bring_up(new: Envoy) -> None:
    """Waits until an Envoy that has been started is ready; ends it when it is not to be. Raises RestartError."""
    ready, ended = (asyncio.create_task(one) for one in (new.ready(), new.process.wait()))
    try:
        await asyncio.wait((ready, ended), timeout=START_LIMIT, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            raise RestartError(
                failure(new.process, ended.result())
                if ended.done()
                else "\n".join([f"Envoy is not ready after {START_LIMIT:g} s", *new.process.errors()])
            )
    except (RestartError, asyncio.CancelledError):
        await give_up(new)
        raise
    finally:
        for task in (ready, ended):
            task.cancel()
        await asyncio.gather(ready, ended, return_exceptions=True)


async def give_up(new: Envoy) -> None:
    """Ends an Envoy that was to take over."""
    # At once: asked politely, it would speak to the other one first.
    await stop(new.process, patience=0)
    if new.generation is not None:
        new.generation.forget_starting()


def failure(process: Process, code: int | None) -> str:
    """Why an Envoy that ended did not start: the errors of its log, and what to do about those that do not say it."""
    errors = process.errors()
    return "\n".join([f"Envoy does not start ({describe_exit(code)}):", *errors, *_advice(errors)])


def _advice(errors: Iterable[str]) -> list[str]:
    if any("dynamic module" in line for line in errors):
        return ["the native module does not fit this Envoy: install cilium-proxy again, in a checkout run `make setup`"]
    if any("shared memory" in line for line in errors):
        return ["Envoy needs /dev/shm to hand on to the next one; without it, give it --disable-hot-restart"]
    return []
