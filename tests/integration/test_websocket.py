"""The websocket filters of a real Envoy with a websocket library at the other end, in both roles."""

import asyncio
import contextlib
import hashlib

import pytest
import websockets
from tests.integration.addresses import free_port
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from cilium_proxy.testing.vectors import http_proxy
from cilium_proxy.testing.vectors.http_proxy import HOSTS, POLICIES
from cilium_proxy.testing.vectors.websocket_listeners import Topology

IP = "127.0.0.1"
LIMIT = 30.0
DENIED = 2
"""`cilium.EntryType.Denied`."""
LARGE = bytes(range(256)) * (16 << 12)
"""16 MiB."""


@contextlib.asynccontextmanager
async def proxy(kind, upstream_port, **options):
    """An Envoy with the filter of that kind before an upstream; gives it and its port."""
    port = free_port(IP)
    topology = Topology({"kind": kind, "is_ingress": kind != "decap", **options}, [port], upstream_port)
    async with http_proxy.start(topology.listeners, topology.clusters) as started:
        rule = [{"port": upstream_port, "rules": [{"remote_policies": [1]}]}]
        policy = {
            "endpoint_id": 42,
            "endpoint_ips": [IP],
            "ingress_per_port_policies": rule,
            "egress_per_port_policies": rule,
        }
        await started.publish(HOSTS, http_proxy.hosts([{"policy": 1, "host_addresses": [IP]}]))
        assert await started.publish(POLICIES, http_proxy.policies([policy])) is None
        await started.ready()
        yield started, port


@contextlib.asynccontextmanager
async def library_server(handler, **options):
    async with serve(handler, IP, 0, max_size=None, **options) as server:
        yield server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def echo_server():
    """A TCP server that sends back what it gets, also its end."""

    async def answer(reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, IP, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def library_client(port, destination, **options):
    headers = {"x-envoy-original-dst-host": destination, **options.pop("headers", {})}
    options = {"compression": None, "max_size": None, **options}
    return connect(f"ws://jarno.cilium.rocks:{port}/", host=IP, port=port, additional_headers=headers, **options)


async def talk(port, destination, data):
    async with library_client(port, destination) as socket:
        await socket.send(data)
        return await socket.recv()


CLIENT = {"websocket_client": {"host": "jarno.cilium.rocks", "path": "/tunnel"}}


async def test_a_library_server_gets_what_a_tcp_client_sends_and_answers():
    requests = []

    async def echo(socket):
        requests.append(socket.request)
        async for message in socket:
            await socket.send([message[:1], message[1:]])

    async with library_server(echo) as upstream, proxy("encap", upstream, **CLIENT) as (_, port):
        reader, writer = await asyncio.open_connection(IP, port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
    (request,) = requests
    assert request.path == "/tunnel"
    assert request.headers["Host"] == "jarno.cilium.rocks"
    assert request.headers["X-Envoy-Original-Dst-Host"] == f"{IP}:{port}"


async def test_a_library_server_pings_and_closes():
    async def greet(socket):
        async with asyncio.timeout(LIMIT):
            await (await socket.ping(b"there?"))
        await socket.send(b"bye")
        await socket.close()

    async with library_server(greet) as upstream, proxy("encap", upstream, **CLIENT) as (_, port):
        reader, writer = await asyncio.open_connection(IP, port)
        async with asyncio.timeout(LIMIT):
            assert await reader.read() == b"bye"
        writer.close()


async def test_a_library_server_gets_pings_of_the_client_filter():
    async def wait(socket):
        with contextlib.suppress(websockets.ConnectionClosed):
            await socket.recv()

    pinging = {"websocket_client": {"host": "jarno.cilium.rocks", "ping_interval": "0.02s", "ping_when_idle": True}}
    async with library_server(wait) as upstream, proxy("encap", upstream, **pinging) as (envoy, port):
        _, writer = await asyncio.open_connection(IP, port)
        async with asyncio.timeout(LIMIT):
            while (await envoy.stat("websocket.ping_sent_count") or 0) < 5:
                await asyncio.sleep(0.02)
        assert not writer.is_closing()
        writer.close()


async def test_large_data_passes_a_library_server_unchanged():
    async def digest(socket):
        received = hashlib.sha256()
        length = 0
        async for message in socket:
            received.update(message)
            length += len(message)
            if length == len(LARGE):
                await socket.send(LARGE)
                await socket.send(received.digest())

    async with library_server(digest) as upstream, proxy("encap", upstream, **CLIENT) as (_, port):
        reader, writer = await asyncio.open_connection(IP, port)
        writer.write(LARGE)
        async with asyncio.timeout(LIMIT):
            assert await reader.readexactly(len(LARGE)) == LARGE
            assert await reader.readexactly(32) == hashlib.sha256(LARGE).digest()
        writer.close()


async def test_a_library_server_that_refuses_ends_the_connection():
    def refuse(connection, _request):
        return connection.respond(403, "no")

    async with library_server(None, process_request=refuse) as upstream, proxy("encap", upstream, **CLIENT) as started:
        envoy, port = started
        reader, writer = await asyncio.open_connection(IP, port)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        assert await envoy.stat("websocket.handshake_invalid_http_status") == 1


async def test_a_library_client_reaches_the_tcp_server_it_names():
    original = {"connect_timeout": "5s"}
    async with (
        echo_server() as upstream,
        proxy("decap", upstream, websocket_server={}, original_destination=original) as (_, port),
        library_client(port, f"{IP}:{upstream}") as socket,
    ):
        await socket.send(b"hello")
        assert await socket.recv() == b"hello"
        await socket.send([b"in ", b"frag", b"ments"])
        received = b""
        while len(received) < 12:
            received += await socket.recv()
        assert received == b"in fragments"
        async with asyncio.timeout(LIMIT):
            await (await socket.ping(b"there?"))


async def test_large_data_passes_a_library_client_unchanged():
    async with (
        echo_server() as upstream,
        proxy("decap", upstream, websocket_server={}) as (_, port),
        library_client(port, f"{IP}:{upstream}") as socket,
    ):

        async def receive():
            received = bytearray()
            while len(received) < len(LARGE):
                received += await socket.recv()
            return received

        async with asyncio.timeout(LIMIT):
            received, _ = await asyncio.gather(receive(), socket.send(LARGE))
        assert received == LARGE


@pytest.mark.parametrize(
    "options",
    [
        {"origin": "http://elsewhere.example"},
        {"subprotocols": ["chat"]},
        {"compression": "deflate"},
        {"headers": {"x-envoy-original-dst-host": "nowhere"}},
    ],
    ids=lambda options: next(iter(options)),
)
async def test_a_library_client_is_told_that_it_is_refused(options):
    async with echo_server() as upstream, proxy("decap", upstream, websocket_server={}) as (envoy, port):
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with library_client(port, f"{IP}:{upstream}", **options):
                pass
        assert refused.value.response.status_code == 403
        assert await envoy.stat("websocket.access_denied") == 1


async def test_a_library_client_may_not_reach_what_policy_forbids():
    original = {"connect_timeout": "5s"}
    async with (
        echo_server() as allowed,
        echo_server() as forbidden,
        proxy("decap", allowed, websocket_server={}, original_destination=original) as (envoy, port),
    ):
        with pytest.raises((websockets.ConnectionClosed, websockets.InvalidHandshake, OSError)):
            await talk(port, f"{IP}:{forbidden}", b"hello")
        assert await http_proxy.eventually(lambda: any(entry.entry_type == DENIED for entry in envoy.entries))
        assert await envoy.stat("cluster.cluster1.upstream_cx_total") == 0


async def test_one_connection_after_another_leaves_nothing_behind():
    async with echo_server() as upstream, proxy("decap", upstream, websocket_server={}) as (envoy, port):
        for _ in range(10):
            sent = [str(number).encode() for number in range(20)]
            assert await asyncio.gather(*(talk(port, f"{IP}:{upstream}", data) for data in sent)) == sent
        async with asyncio.timeout(LIMIT):
            while await envoy.stat("tcp.tcp_stats.downstream_cx_active") not in (0, None):
                await asyncio.sleep(0.02)
        assert await envoy.stat("websocket.protocol_error") == 0
