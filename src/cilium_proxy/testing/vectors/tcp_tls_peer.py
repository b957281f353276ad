"""One end of a TLS connection whose halves end one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

_CHUNK = 1 << 18


class TlsPeer:
    """A connected socket with TLS; as `tcp_peer.Peer` otherwise."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext, server_name: str | None = None) -> None:
        self._socket = connection
        self._socket.setblocking(False)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )
        self._reading = asyncio.Event()
        self._reading.set()
        self._waiting: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue()
        self._flushing = asyncio.Lock()
        self.shaken = asyncio.Event()
        """The handshake is done."""
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
            await self._shake()
            while True:
                await self._reading.wait()
                try:
                    data = self._tls.read(_CHUNK)
                except ssl.SSLWantReadError:
                    await self._flush()
                    await self._receive()
                    continue
                if not data:
                    break
                self.received += data
        self.ended = True

    async def _shake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._flush()
                await self._receive()
        await self._flush()
        self.shaken.set()

    async def _write(self) -> None:
        await self.shaken.wait()
        with contextlib.suppress(OSError):
            while True:
                data, fin = await self._waiting.get()
                for start in range(0, len(data), _CHUNK):
                    self._tls.write(data[start : start + _CHUNK])
                    await self._flush()
                if fin:
                    # Sends the end; the other side's is awaited by reading.
                    with contextlib.suppress(ssl.SSLError):
                        self._tls.unwrap()
                    await self._flush()
                self._waiting.task_done()

    async def _flush(self) -> None:
        async with self._flushing:
            while data := self._outgoing.read():
                await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def _receive(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self._socket, _CHUNK)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
            raise ConnectionResetError("the connection ended without the end of TLS")
