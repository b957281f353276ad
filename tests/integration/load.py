"""Steady requests over many connections, each with when it began and ended."""

import asyncio
import contextlib
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """`status` None: the connection failed."""

    began: float
    ended: float
    status: int | None


class Load:
    """`async with Load(files, path) as load: ...; load.outcomes`. Without `reuse`, a connection for each request."""

    def __init__(self, files, path, connections=8, reuse=True):
        self.outcomes = []
        self._reuse = reuse
        self._files, self._path, self._connections = files, path, connections
        self._stop = asyncio.Event()

    async def __aenter__(self):
        self._tasks = [asyncio.create_task(self._connection()) for _ in range(self._connections)]
        return self

    async def __aexit__(self, *_):
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def more(self, count):
        """Waits for that many further outcomes."""
        target = len(self.outcomes) + count
        async with asyncio.timeout(30):
            while len(self.outcomes) < target:
                await asyncio.sleep(0.01)

    async def _connection(self):
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                await self._requests()
            except (OSError, asyncio.IncompleteReadError):
                self.outcomes.append(Outcome(began, time.monotonic(), None))
                await asyncio.sleep(0.01)

    async def _requests(self):
        source = (self._files.source, 0)
        reader, writer = await asyncio.open_connection(self._files.host, self._files.port, local_addr=source)
        try:
            open_ = True
            while open_ and not self._stop.is_set():
                began = time.monotonic()
                writer.write(f"GET {self._path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode().lower().split("\r\n")
                length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length:"))
                await reader.readexactly(length)
                self.outcomes.append(Outcome(began, time.monotonic(), int(lines[0].split()[1])))
                open_ = self._reuse and "connection: close" not in lines
                await asyncio.sleep(0)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
