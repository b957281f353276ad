"""One Envoy process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from cilium_proxy.supervisor.command import EnvoyCommand

_LAUNCH = Path(__file__).with_name("launch.py")
_LINE_LIMIT = 1 << 20
_LINES_KEPT = 200


class EnvoyProcess:
    """A started Envoy. `lines` are the last lines of its log."""

    def __init__(self, process: asyncio.subprocess.Process, on_line: Callable[[str], None]) -> None:
        self._process = process
        self.started_at = time.time()
        self.lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._reading = asyncio.create_task(self._read(on_line))

    @classmethod
    async def start(cls, command: EnvoyCommand, on_line: Callable[[str], None]) -> EnvoyProcess:
        """Starts Envoy; each line of its log goes to `on_line`. It dies when this process dies."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_LAUNCH), str(os.getpid()), *command.argv),
            env=dict(command.environment),
            pass_fds=command.pass_fds,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=_LINE_LIMIT,
            # A terminal's Ctrl-C is for the supervisor, which drains first.
            start_new_session=True,
        )
        return cls(process, on_line)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    async def wait(self) -> int:
        """Waits for the end of the process and of its log. Negative: the signal that ended it."""
        code = await self._process.wait()
        await self._reading
        return code

    async def stop(self, patience: float = 5.0) -> int:
        """Ends it: asks, and after `patience` seconds kills. Returns what `wait` does."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(patience):
                return await self.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            return await self.wait()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

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


def describe_exit(code: int) -> str:
    """An exit code or signal in words."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"
