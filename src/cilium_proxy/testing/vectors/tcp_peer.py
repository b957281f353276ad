"""One end of a TCP connection: what it sends waits in the background, what it gets is kept."""

from __future__ import annotations

import asyncio
import contextlib
import socket

CHUNK = 1 << 18


class Peer:
    """A connected socket whose reading can be held up."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.setblocking(False)
        self._reading = asyncio.Event()
        self._reading.set()
        self._waiting: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue()
        self.received = bytearray()
        self.ended = False
        """The other side sent its end, or the connection broke."""
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]

    def send(self, data: bytes, fin: bool = False) -> None:
        """Sends, after all that was sent before; then, with `fin`, the end."""
        self._waiting.put_nowait((data, fin))

    def hold(self, held: bool) -> None:
        """Stops reading, or goes on."""
        if held:
            self._reading.clear()
        else:
            self._reading.set()

    async def sent(self) -> None:
        """Waits until all data is on its way."""
        await self._waiting.join()

    async def close(self) -> None:
        """Closes the connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._socket.close()
        self.ended = True

    async def _read(self) -> None:
        with contextlib.suppress(OSError):
            await self._open()
            while True:
                await self._reading.wait()
                data = await self._receive()
                if not data:
                    break
                self.received += data
        self.ended = True

    async def _write(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, fin = await self._waiting.get()
                await self._transmit(data)
                if fin:
                    await self._finish()
                self._waiting.task_done()

    async def _open(self) -> None:
        """What comes before data."""

    async def _receive(self) -> bytes:
        """The next data; none: the end."""
        return await asyncio.get_running_loop().sock_recv(self._socket, CHUNK)

    async def _transmit(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def _finish(self) -> None:
        """Sends the end."""
        self._socket.shutdown(socket.SHUT_WR)
