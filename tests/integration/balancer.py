"""A load-balancing listener in front of hosts with identities of their own, and servers that note what reaches them."""

import asyncio
import contextlib
from dataclasses import dataclass

from tests.integration.addresses import free_port

from cilium_proxy.testing.vectors import http_proxy
from cilium_proxy.testing.vectors.http_listener import chain, connection_manager, listener, tcp_proxy, upstream_options

CLIENT, BALANCER = "192.0.2.7", "192.0.2.42"
CLIENT_ID, BALANCER_ID, GOOD_ID, BAD_ID = 700, 8, 100, 200
GOOD, BAD = "127.0.0.11", "127.0.0.12"
LOCAL_HOSTS = [
    {"policy": CLIENT_ID, "host_addresses": [CLIENT]},
    {"policy": BALANCER_ID, "host_addresses": [BALANCER]},
    {"policy": GOOD_ID, "host_addresses": [GOOD]},
    {"policy": BAD_ID, "host_addresses": [BAD]},
]


def policy(name, endpoint_id, *, ingress=(), egress=()):
    """A policy for `name` whose rules, one list per direction, are for all ports."""
    return {
        "endpoint_ips": [name],
        "endpoint_id": endpoint_id,
        "ingress_per_port_policies": [{"port": 0, "rules": list(ingress)}] if ingress else [],
        "egress_per_port_policies": [{"port": 0, "rules": list(egress)}] if egress else [],
    }


def balancer(ingress=None, egress=None):
    """The load balancer's own policy: by default clients may come in, and go to the good host."""
    return policy(
        BALANCER,
        42,
        ingress=ingress or [{"remote_policies": [CLIENT_ID]}],
        egress=egress or [{"remote_policies": [GOOD_ID]}],
    )


@dataclass
class Server:
    """A TCP server: says `greeting` at once, echoes what comes, and notes it."""

    host: str
    greeting: bytes = b""
    received: bytes = b""
    connections: int = 0
    ended: int = 0
    port: int = 0
    # Status of the answers to HTTP requests; 0: not HTTP.
    http: int = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, self.host, self.port, backlog=4096)
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        self.connections += 1
        with contextlib.suppress(ConnectionError):
            if self.greeting:
                writer.write(self.greeting)
            while data := await reader.read(65536):
                self.received += data
                if self.http:
                    writer.write(b"HTTP/1.1 %d Status\r\ncontent-length: 0\r\n\r\n" % self.http)
                else:
                    writer.write(data)
            self.ended += 1
            if not self.http:
                writer.write(b"bye")
        with contextlib.suppress(ConnectionError):
            writer.close()


@dataclass
class Balanced:
    """The listener's proxy and address, and the policies it was given."""

    proxy: http_proxy.VectorProxy
    address: tuple

    async def policies(self, *resources):
        refused = await self.proxy.publish(http_proxy.POLICIES, http_proxy.policies(resources))
        assert refused is None, refused

    async def connect(self):
        return await asyncio.open_connection(*self.address)

    async def entry(self, kind):
        """The first access log entry of that kind."""
        names = {"Request": 0, "Response": 1, "Denied": 2}

        def found():
            return next((entry for entry in self.proxy.entries if entry.entry_type == names[kind]), None)

        return await http_proxy.eventually(found)


@contextlib.asynccontextmanager
async def start(
    *servers,
    protocol="tcp",
    metadata=(),
    tls_inspector=False,
    concurrency=1,
    route=(),
    others=(),
    policies=None,
    bare=False,
):
    """A load balancer for clients from elsewhere, which enforces its own policy, with the servers as its hosts."""
    port = free_port("127.0.0.2")
    config = {
        "is_l7lb": True,
        "enforce_policy_on_l7lb": True,
        "use_nphds": True,
        "ipv4_source_address": BALANCER,
        "local_endpoint": {"endpoint_ip": CLIENT},
        **dict(metadata),
    }

    def listeners(access_log):
        last = tcp_proxy() if protocol == "tcp" else connection_manager(access_log, **dict(route))
        made = listener(("127.0.0.2", port), config, chain(last, access_log))
        if tls_inspector:
            kind = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
            inspector = type(made.listener_filters[0])(name="tls_inspector")
            inspector.typed_config.type_url = f"type.googleapis.com/{kind}"
            made.listener_filters.insert(0, inspector)
        return [made]

    def clusters(access_log):
        options = upstream_options(access_log) if protocol == "http" and not bare else {}
        hosts = [(server.host, server.port) for server in servers]
        beside = [http_proxy.cluster(name, (other.host, other.port), **options) for name, other in dict(others).items()]
        return [http_proxy.cluster("upstream", *hosts, **options), *beside]

    async with http_proxy.start(listeners, clusters, concurrency=concurrency) as proxy:
        assert await proxy.publish(http_proxy.HOSTS, http_proxy.hosts(LOCAL_HOSTS)) is None
        made = Balanced(proxy, ("127.0.0.2", port))
        await made.policies(*(policies if policies is not None else [balancer()]))
        await proxy.ready()
        yield made


def server(host, **options):
    return Server(host, port=free_port(host), **options)
