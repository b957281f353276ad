"""TCP to hosts that load balancing chose: judged before any byte passes, in either direction."""

import asyncio
import contextlib
import ssl

import pytest
from tests.integration import balancer
from tests.integration.balancer import BAD, BAD_ID, BALANCER, BALANCER_ID, CLIENT, CLIENT_ID, GOOD, GOOD_ID


async def test_bytes_pass_to_an_allowed_host_and_the_entry_names_the_balancer():
    async with balancer.server(GOOD) as host, balancer.start(host) as proxy:
        reader, writer = await proxy.connect()
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        entry = await proxy.entry("Request")
        assert (entry.policy_name, entry.destination_security_id) == (BALANCER, GOOD_ID)
        assert (entry.source_security_id, entry.destination_address) == (BALANCER_ID, f"{GOOD}:{host.port}")
        writer.close()


async def test_half_close_is_kept():
    async with balancer.server(GOOD) as host, balancer.start(host) as proxy:
        reader, writer = await proxy.connect()
        writer.write(b"hello")
        writer.write_eof()
        assert await reader.read() == b"hellobye"
        writer.close()


async def test_an_allowed_host_that_speaks_first_is_heard():
    async with balancer.server(GOOD, greeting=b"welcome") as host, balancer.start(host) as proxy:
        reader, writer = await proxy.connect()
        assert await reader.readexactly(7) == b"welcome"
        writer.close()


async def refused(proxy, data=b""):
    """Connects, and gives what came before the end."""
    received = b""
    writer = None
    try:
        async with asyncio.timeout(30):
            reader, writer = await proxy.connect()
            if data:
                writer.write(data)
            while more := await reader.read(100):
                received += more
    except ConnectionError:
        pass
    finally:
        if writer is not None:
            writer.close()
    return received


@pytest.mark.parametrize("data", [b"", b"hello"], ids=["silent", "client speaks"])
@pytest.mark.parametrize("greeting", [b"", b"welcome"], ids=["silent host", "host speaks"])
async def test_no_byte_passes_to_or_from_a_denied_host(data, greeting):
    async with balancer.server(BAD, greeting=greeting) as host, balancer.start(host) as proxy:
        assert await refused(proxy, data) == b""
        entry = await proxy.entry("Denied")
        assert (entry.policy_name, entry.destination_security_id) == (BALANCER, BAD_ID)
        assert host.received == b""


async def test_the_clients_identity_is_judged_by_the_balancers_ingress_policy():
    own = balancer.balancer(ingress=[{"remote_policies": [CLIENT_ID + 1]}])
    async with balancer.server(GOOD) as host, balancer.start(host, policies=[own]) as proxy:
        assert await refused(proxy, b"hello") == b""
        assert host.received == b""


async def test_a_local_pods_egress_policy_comes_first():
    pod = balancer.policy(CLIENT, 7, egress=[{"remote_policies": [BAD_ID]}])
    async with (
        balancer.server(GOOD) as host,
        balancer.start(host, policies=[pod, balancer.balancer()]) as proxy,
    ):
        assert await refused(proxy, b"hello") == b""
        assert (await proxy.entry("Denied")).policy_name == CLIENT


async def test_the_verdict_sticks_to_the_connection():
    async with balancer.server(GOOD) as host, balancer.start(host) as proxy:
        reader, writer = await proxy.connect()
        writer.write(b"hello")
        await reader.readexactly(5)
        await proxy.policies(balancer.balancer(egress=[{"remote_policies": [BAD_ID]}]))
        writer.write(b"again")
        assert await reader.readexactly(5) == b"again"
        writer.close()
        assert await refused(proxy, b"hello") == b""


async def test_hosts_of_one_cluster_are_told_apart():
    async with (
        balancer.server(GOOD, greeting=b"good") as good,
        balancer.server(BAD, greeting=b"bad") as bad,
        balancer.start(good, bad) as proxy,
    ):
        heard = [await greeted(proxy) for _ in range(6)]
        assert sorted(set(heard)) == [b"", b"good"]
        assert bad.received == b""


async def greeted(proxy):
    with contextlib.suppress(ConnectionError):
        reader, writer = await proxy.connect()
        with contextlib.closing(writer):
            return await reader.read(10)
    return b""


def client_hello(name):
    """The first flight of a TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


async def test_tls_that_passes_through_is_judged_by_its_server_name():
    own = balancer.balancer(egress=[{"remote_policies": [GOOD_ID], "server_names": ["good.example"]}])
    async with balancer.server(GOOD) as host, balancer.start(host, tls_inspector=True, policies=[own]) as proxy:
        assert await refused(proxy, client_hello("other.example")) == b""
        assert host.received == b""
        hello = client_hello("good.example")
        reader, writer = await proxy.connect()
        writer.write(hello)
        assert await reader.readexactly(len(hello)) == hello
        writer.close()
