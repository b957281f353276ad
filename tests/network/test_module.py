"""The module's filters behind TPROXY, as an agent configures them: the server sees the client, the node sees marks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.network.namespaces import Network, line
from tests.network.native import Native

from cilium_proxy.testing.vectors import http_proxy
from cilium_proxy.testing.vectors.http_listener import chain, connection_manager, listener, tcp_proxy

pytestmark = [pytest.mark.network, pytest.mark.parametrize("family", [4, 6])]

PEERS = Path(__file__).with_name("peers.py")
PORT, PROXY = 8000, 15001
CLIENT_ID, SERVER_ID = 0x1_02BC, 900
MARK = 0x02BC_0B01

HTTP_SERVER = """
import http.server, socket, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = f"{self.client_address[0]} {self.client_address[1]}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET if sys.argv[1] == "4" else socket.AF_INET6
server = Server(("", int(sys.argv[2])), Handler)
print("listening", flush=True)
server.serve_forever()
"""

# Says "connection: close", as the argument says, and closes.
CLOSING_SERVER = """
import socket, sys
family = socket.AF_INET if sys.argv[1] == "4" else socket.AF_INET6
with socket.create_server(("", int(sys.argv[2])), family=family) as server:
    print("listening", flush=True)
    while True:
        with server.accept()[0] as connection, connection.makefile("rb") as requests:
            while requests.readline().strip():
                while requests.readline().strip():
                    pass
                head = f"HTTP/1.1 200 OK\\r\\ncontent-length: 5\\r\\n{sys.argv[3]}\\r\\n\\r\\n"
                connection.sendall(head.encode() + b"hello")
                if "close" in sys.argv[3]:
                    break
"""

# Says after each of two requests whether the proxy keeps the connection.
KEEPING_CLIENT = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=10)
for _ in range(2):
    connection.request("GET", "/")
    response = connection.getresponse()
    print(response.read().decode(), response.headers.get("connection"), connection.sock is None)
"""

HTTP_CLIENT = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=10)
connection.connect()
print(*connection.sock.getsockname()[:2])
connection.request("GET", "/")
print(connection.getresponse().read().decode())
"""


def original_destination() -> dict[str, Any]:
    return {
        "name": "upstream",
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "5s",
    }


def proxy(network: Network, native: Native, family: int, last: Any, *, keep_source: bool = True) -> Any:
    """Envoy in the node, with a listener that TPROXY redirects to."""
    metadata = {
        "use_nphds": True,
        "use_original_source_address": keep_source,
        "original_source_so_linger_time": 0,
        "proxy_id": PROXY,
    }

    def listeners(log: Path) -> list[Any]:
        made = listener(("0.0.0.0" if family == 4 else "::", PROXY), metadata, chain(last(log), log))
        made.transparent.value = True
        return [made]

    return http_proxy.start(
        listeners,
        lambda _log: [original_destination()],
        prefix=network.node.command(),
        environment={"LD_PRELOAD": str(native.sockets)},
    )


async def enforce(made: http_proxy.VectorProxy, network: Network, family: int) -> None:
    client, server = network.client.address(family), network.server.address(family)
    addresses = [
        {"policy": CLIENT_ID, "host_addresses": [client]},
        {"policy": SERVER_ID, "host_addresses": [server]},
    ]
    rules = [{"port": PORT, "rules": [{"remote_policies": [SERVER_ID]}]}]
    policy = {"endpoint_ips": [client], "endpoint_id": 7, "egress_per_port_policies": rules}
    assert await made.publish(http_proxy.HOSTS, http_proxy.hosts(addresses)) is None
    assert await made.publish(http_proxy.POLICIES, http_proxy.policies([policy])) is None
    await made.ready()
    network.redirect(PORT, PROXY)
    network.count_marks(MARK)


def seen(network: Network, family: int, *client: str) -> tuple[str, str]:
    """The client's own address and port, and those that the server saw."""
    own, server_saw, *_ = network.client.run(sys.executable, *client, network.server.address(family), str(PORT)).split(
        "\n"
    )
    return own, server_saw


async def test_a_tcp_servers_peer_is_the_client(network: Network, native: Native, family: int) -> None:
    server = network.server.start(sys.executable, PEERS, "serve", str(family), str(PORT))
    assert line(server) == "listening"
    async with proxy(network, native, family, lambda _log: tcp_proxy()) as made:
        await enforce(made, network, family)
        own, server_saw = seen(network, family, str(PEERS), "ask")
        assert server_saw == own, made.log()
        assert network.packets_with_mark(MARK) > 0


async def test_an_http_servers_peer_is_the_client(network: Network, native: Native, family: int) -> None:
    server = network.server.start(sys.executable, "-c", HTTP_SERVER, str(family), str(PORT))
    assert line(server) == "listening"
    async with proxy(network, native, family, connection_manager) as made:
        await enforce(made, network, family)
        for _ in range(2):
            own, server_saw = seen(network, family, "-c", HTTP_CLIENT)
            assert server_saw == own, made.log()
        assert network.packets_with_mark(MARK) > 0


@pytest.mark.parametrize(
    ("header", "keep_source", "told"),
    [("connection: close", True, True), ("connection: close", False, False), ("connection: keep-alive", True, False)],
)
async def test_a_client_whose_address_and_port_are_kept_is_told_that_the_server_closes(
    network: Network, native: Native, family: int, header: str, keep_source: bool, told: bool
) -> None:
    server = network.server.start(sys.executable, "-c", CLOSING_SERVER, str(family), str(PORT), header)
    assert line(server) == "listening"
    async with proxy(network, native, family, connection_manager, keep_source=keep_source) as made:
        await enforce(made, network, family)
        command = [sys.executable, "-c", KEEPING_CLIENT, network.server.address(family), str(PORT)]
        answers = network.client.run(*command).splitlines()
        assert answers == ["hello close True" if told else "hello None False"] * 2, made.log()


async def test_a_port_that_policy_does_not_allow_is_closed(network: Network, native: Native, family: int) -> None:
    async with proxy(network, native, family, lambda _log: tcp_proxy()) as made:
        await enforce(made, network, family)
        denied = [{"policy": CLIENT_ID, "host_addresses": [network.client.address(family)]}]
        assert await made.publish(http_proxy.HOSTS, http_proxy.hosts(denied)) is None
        command = network.client.command(sys.executable, PEERS, "ask", network.server.address(family), str(PORT))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout.split("\n")[1:] in ([""], ["", ""]) or done.returncode != 0
        entry = (await http_proxy.eventually(lambda: made.entries))[0]
        assert entry.policy_name == network.client.address(family)
        assert (entry.source_security_id, entry.destination_security_id) == (CLIENT_ID, 2)
