"""One end of a TLS connection whose halves end one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

from cilium_proxy.testing.vectors.tcp_peer import CHUNK, Peer


class TlsPeer(Peer):
    """A connected socket with TLS. With a server name it is the client."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext, server_name: str | None = None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )
        self._flushing = asyncio.Lock()
        self.shaken = asyncio.Event()
        """The handshake is done."""
        super().__init__(connection)

    async def _open(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._exchange()
        await self._flush()
        self.shaken.set()

    async def _receive(self) -> bytes:
        while True:
            try:
                return self._tls.read(CHUNK)
            except ssl.SSLWantReadError:
                await self._exchange()

    async def _transmit(self, data: bytes) -> None:
        await self.shaken.wait()
        for start in range(0, len(data), CHUNK):
            self._tls.write(data[start : start + CHUNK])
            await self._flush()

    async def _finish(self) -> None:
        # The other side's end is awaited by reading.
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        await self._flush()

    async def _exchange(self) -> None:
        """Sends what is due, and takes what comes."""
        await self._flush()
        data = await asyncio.get_running_loop().sock_recv(self._socket, CHUNK)
        if not data:
            self._incoming.write_eof()
            raise ConnectionResetError("the connection ended without the end of TLS")
        self._incoming.write(data)

    async def _flush(self) -> None:
        async with self._flushing:
            while data := self._outgoing.read():
                await asyncio.get_running_loop().sock_sendall(self._socket, data)
