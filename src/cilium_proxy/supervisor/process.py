"""One Envoy, with the process that keeps it (docs/privileges.md) and is the leader of its process group."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from cilium_proxy.supervisor.command import EnvoyCommand

_LINE_LIMIT = 1 << 20
_LINES_KEPT = 200


class Process(Protocol):
    """An Envoy that runs, or has run. `pid` is that of its keeper."""

    pid: int
    started_at: float
    """Seconds since the epoch."""

    @property
    def running(self) -> bool:
        """Whether it has not ended."""

    async def wait(self) -> int | None:
        """Waits for its end. Negative: the signal that ended it; None: nobody was told."""

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, if it still runs."""

    def errors(self) -> list[str]:
        """The errors of its log, as far as that is known here: why it does not run."""


def envoy_pid(process: Process) -> int | None:
    """Envoy's own process id; None when it does not run."""
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children and process.running else None


async def stop(process: Process, patience: float = 5.0) -> int | None:
    """Ends a process: asks, and after `patience` seconds kills. Returns what its `wait` does."""
    process.signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(patience):
            return await process.wait()
    except TimeoutError:
        process.signal(signal.SIGKILL)
        return await process.wait()


class EnvoyProcess:
    """A started Envoy. `lines` are the last lines of its log."""

    def __init__(self, process: asyncio.subprocess.Process, on_line: Callable[[str], None]) -> None:
        self._process = process
        self.pid = process.pid
        self.started_at = time.time()
        self.lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._reading = asyncio.create_task(self._read(on_line))

    @classmethod
    async def start(cls, command: EnvoyCommand, on_line: Callable[[str], None]) -> EnvoyProcess:
        """Starts Envoy; each line of its log goes to `on_line`. It goes on when this process dies."""
        process = await asyncio.create_subprocess_exec(
            *command.argv,
            env=dict(command.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=_LINE_LIMIT,
            # A terminal's Ctrl-C is for the supervisor, which drains first.
            start_new_session=True,
        )
        return cls(process, on_line)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    async def wait(self) -> int:
        """Waits for the end of the process and of its log. Negative: the signal that ended it."""
        code = await self._process.wait()
        await asyncio.shield(self._reading)
        return code

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, if it still runs."""
        if self.running:
            _signal(self.pid, number)

    async def _read(self, on_line: Callable[[str], None]) -> None:
        assert self._process.stdout is not None  # noqa: S101
        while True:
            try:
                raw = await self._process.stdout.readline()
            except ValueError:
                # A line longer than the limit; the rest of it follows as a line.
                continue
            if not raw:
                return
            line = raw.decode(errors="replace").rstrip()
            self.lines.append(line)
            on_line(line)

    def errors(self) -> list[str]:
        """Its log's errors: why it does not run. A wrong argument is reported at the end of the usage."""
        found = [line for line in self.lines if line.startswith(("[error]", "[critical]"))]
        return found or [line for line in self.lines if line and not line[0].isspace()][-5:]


class AdoptedProcess:
    """An Envoy that another process started, which is gone. Its log is lost with that one."""

    def __init__(self, pid: int, pidfd: int, started_at: float) -> None:
        self.pid = pid
        self.started_at = started_at
        self._pidfd = pidfd
        self._ended = asyncio.get_running_loop().create_future()
        # A pidfd is readable once its process has ended.
        asyncio.get_running_loop().add_reader(pidfd, self._end)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return not self._ended.done()

    async def wait(self) -> int | None:
        """Waits for the end of the process, whose exit code only its parent is told: this process, perhaps."""
        return await asyncio.shield(self._ended)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, if it still runs."""
        if self.running:
            _signal(self.pid, number)

    def errors(self) -> list[str]:
        """None are known."""
        return []

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        code = None
        # It may be a child: of this process before it became another program.
        with contextlib.suppress(ChildProcessError):
            _, status = os.waitpid(self.pid, os.WNOHANG)
            code = os.waitstatus_to_exitcode(status)
        self._ended.set_result(code)


def _signal(keeper: int, number: signal.Signals) -> None:
    """The keeper passes signals on to Envoy, but for the one that it cannot."""
    with contextlib.suppress(ProcessLookupError):
        if number == signal.SIGKILL:
            os.killpg(keeper, number)
        else:
            os.kill(keeper, number)


def describe_exit(code: int | None) -> str:
    """An exit code or signal in words."""
    if code is None:
        return "an exit code that nobody was told"
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"
