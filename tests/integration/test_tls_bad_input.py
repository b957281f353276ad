"""Peers that do TLS wrong are closed, other connections untouched. OpenSSL's own tools do it right."""

import asyncio
import contextlib
import shutil
import subprocess

import pytest
from tests import tls
from tests.integration.secure import CERTIFICATE, ORIGINATING, PUBLIC, TERMINATING, SecureFiles

LIMIT = 40.0
# A record of a handshake, without its length.
RECORD = b"\x16\x03\x01"


@pytest.fixture
async def secure(directory):
    """Files whose listener takes TLS apart."""
    made = []

    def make(**options):
        files = SecureFiles(directory, "127.0.0.2", **options)
        made.append(files)
        files.rules({**TERMINATING, **ORIGINATING, **(PUBLIC if options.get("protocol", "http") == "http" else {})})
        return files

    yield make
    for files in made:
        await files.close()


async def opened(files):
    return await asyncio.open_connection(files.host, files.port, local_addr=(files.source, 0))


async def is_closed(reader):
    """Waits for the end of the connection; what came until then does not matter."""
    async with asyncio.timeout(LIMIT):
        with contextlib.suppress(ConnectionError):
            while await reader.read(1 << 16):
                pass


async def counted(files, name):
    async with asyncio.timeout(LIMIT):
        while not await files.stat(name):
            await asyncio.sleep(0.05)


def client_hello():
    """The first bytes of a client."""
    incoming, outgoing = tls.ssl.MemoryBIO(), tls.ssl.MemoryBIO()
    client = tls.client_context().wrap_bio(incoming, outgoing, server_hostname=tls.NAME)
    with contextlib.suppress(tls.ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


UNWANTED = "cilium.policy.tls_wrapper_missing_policy"
BROKEN = {
    "no TLS": (b"GET /public HTTP/1.1\r\nhost: api.test\r\n\r\n", UNWANTED),
    "a record that is no client hello": (RECORD + b"\0\x10" + b"\xff" * 16, UNWANTED),
    "garbage after the client hello": (client_hello() + b"\x99\x99\x99\0\x04junk", "ssl.connection_error"),
    "a client hello without end": (RECORD + b"\x40\0\x01\xff\xff\xff" + b"\0" * 100_000, "client_hello_too_large"),
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_client_that_does_tls_wrong_is_closed(secure, run, broken):
    files = secure(protocol="tcp")
    run(files)
    async with files.secure_server() as server:
        other = await files.connect()
        assert await other.echo()
        sent, counter = BROKEN[broken]
        reader, writer = await opened(files)
        writer.write(sent)
        await is_closed(reader)
        writer.close()
        await counted(files, counter)
        assert await other.echo()
        assert await (await files.connect()).echo()
        assert len(server.begun) == 2, "nothing of the broken one went on"


async def test_clients_that_stall_in_their_handshake_are_closed(secure, run):
    files = secure(protocol="tcp")
    run(files)
    hello = client_hello()
    async with files.secure_server() as server:
        other = await files.connect()
        assert await other.echo()
        stalled = [await opened(files) for _ in range(3)]
        for (_, writer), sent in zip(stalled, (b"", hello[:20], hello), strict=True):
            writer.write(sent)
        await asyncio.gather(*(is_closed(reader) for reader, _ in stalled))
        for _, writer in stalled:
            writer.close()
        await counted(files, "downstream_pre_cx_timeout")
        await counted(files, "downstream_cx_transport_socket_connect_timeout")
        assert await other.echo()
        assert len(server.begun) == 1


@pytest.mark.parametrize("server", ["stalls", "has no TLS"])
async def test_a_server_without_handshake_gets_no_request(secure, run, server):
    files = secure(connect_timeout="500ms")
    run(files)
    received = []

    async def serve(reader, writer):
        received.append(await reader.read(1 << 16))
        if server == "has no TLS":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    listening = await asyncio.start_server(serve, files.upstream_host, files.upstream_port)
    async with listening:
        assert await (await files.connect()).get("/public") == 503
    assert received
    assert not [data for data in received if b"/public" in data]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
async def test_openssl_at_both_ends(secure, run):
    files = secure(protocol="tcp")
    run(files)
    chain, key = CERTIFICATE.write(files.directory, "upstream")
    address = f"{files.upstream_host}:{files.upstream_port}"
    command = ["openssl", "s_server", "-accept", address, "-cert", chain, "-key", key, "-rev", "-quiet"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            assert await reversed_by_server(files, b"drawer") == b"reward"
        finally:
            server.kill()


async def reversed_by_server(files, word):
    """What `openssl s_client` reads when it sends a line; again while the server is not up yet."""
    command = ["openssl", "s_client", "-connect", f"{files.host}:{files.port}", "-bind", f"{files.source}:0"]
    command += ["-servername", tls.NAME, "-verify_hostname", tls.NAME, "-verify_return_error"]
    command += ["-CAfile", files.directory / "servers.pem", "-quiet"]
    pipe = asyncio.subprocess.PIPE
    async with asyncio.timeout(LIMIT):
        while True:
            client = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
            client.stdin.write(word + b"\n")
            line = await client.stdout.readline()
            with contextlib.suppress(ProcessLookupError):
                client.kill()
            await client.communicate()
            if line:
                return line.strip()
            await asyncio.sleep(0.1)
