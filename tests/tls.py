"""Both ends of TLS that policy chose."""

import asyncio
import contextlib
import ssl

from tests.certificates import authority

NAME = "api.test"
LIMIT = 20.0


async def eventually(check, limit=30):
    """Repeats until it gives something true, which it returns."""
    async with asyncio.timeout(limit):
        while not (result := await check() if asyncio.iscoroutinefunction(check) else check()):
            await asyncio.sleep(0.05)
    return result


def server_context(certificate, directory, name="upstream"):
    """For a server with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate.write(directory, name))
    return context


def client_context(*pems):
    """For a client that trusts these CAs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata="".join(pems or [authority().pem]))
    return context


class Upstream:
    """A server that answers HTTP requests with 200, and echoes everything else. `context`: with TLS."""

    def __init__(self, host, port, context=None):
        self.address = host, port
        self.server_names = []
        # First bytes of each connection.
        self.begun = []
        self._writers = []
        self._context = context
        if context is not None:
            context.sni_callback = lambda _socket, name, _context: self.server_names.append(name)

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, *self.address, ssl=self._context)
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader, writer):
        self._writers.append(writer)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            first = True
            while data := await reader.read(1 << 16):
                if first:
                    self.begun.append(data)
                    first = False
                if b" HTTP/1.1\r\n" in data:
                    data = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
                writer.write(data)
                await writer.drain()
        writer.close()


class Connection:
    """A client's connection."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer

    @property
    def subject(self):
        """The common name that the server's certificate has."""
        return dict(pair for (pair,) in self._writer.get_extra_info("peercert")["subject"])["commonName"]

    @property
    def alpn(self):
        return self._writer.get_extra_info("ssl_object").selected_alpn_protocol()

    async def echo(self, data=b"one two three four five"):
        """Whether what is sent comes back."""
        try:
            self._writer.write(data)
            async with asyncio.timeout(LIMIT):
                return await self._reader.readexactly(len(data)) == data
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            return False

    async def get(self, path):
        """The status of a request; None: there was no answer."""
        try:
            self._writer.write(f"GET {path} HTTP/1.1\r\nhost: {NAME}\r\n\r\n".encode())
            async with asyncio.timeout(LIMIT):
                head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
                length = next(line for line in head.lower().splitlines() if line.startswith("content-length"))
                await self._reader.readexactly(int(length.partition(":")[2]))
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            return None
        return int(head.split(" ", 2)[1])

    async def close(self):
        self._writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self._writer.wait_closed()


async def connect(address, source, context=None, name=NAME):
    """A connection to a listener; None: it was closed, or the handshake failed."""
    options = {"ssl": context, "server_hostname": name or "", "ssl_handshake_timeout": LIMIT} if context else {}
    try:
        reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0), **options)
    except (ConnectionError, ssl.SSLError):
        return None
    return Connection(reader, writer)
