"""The proxy behind an agent on a node: TPROXY redirects to the agent's listeners, identities are in BPF maps."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.agent import resources
from tests.agent.double import CLUSTERS, HOSTS, LISTENERS, POLICIES, AgentDouble
from tests.network.bpf_maps import TRIE, PinnedMaps, ipcache_key, ipcache_value
from tests.network.namespaces import Network, line

from cilium_proxy.api import pack, unpack

pytestmark = [
    pytest.mark.network,
    pytest.mark.parametrize("family", [4, 6]),
    pytest.mark.parametrize("ingress", [True, False], ids=["ingress", "egress"]),
]

PORT, PROXY = 8000, 10000
CLIENT, SERVER = 4300, 4400
STARTER = "from cilium_proxy.cli.starter import starter; starter()"
BACKEND = Path(__file__).parents[1] / "integration" / "backend.py"
REQUEST = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=10)
connection.request("GET", sys.argv[3])
print(connection.getresponse().status)
"""
# Tells who it is connected with, once that has said something.
SERVE = """
import socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), family=getattr(socket, sys.argv[3]))
print("ready", flush=True)
while True:
    connection, peer = listener.accept()
    with connection:
        if connection.recv(4096):
            connection.sendall(f"{peer[0]} {peer[1]}".encode())
"""
# Says something first: the agent's listeners look for TLS before they go on.
ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10) as connection:
    connection.sendall(b"hello")
    print(*connection.getsockname()[:2])
    try:
        print(connection.recv(4096).decode())
    except ConnectionResetError:
        print("reset")
"""


@pytest.fixture
def identities(maps: PinnedMaps, network: Network) -> PinnedMaps:
    """The maps of an agent that knows client and server."""
    maps.create("cilium_ipcache_v2", TRIE, 24, 24)
    maps.create("cilium_ct4_global", "hash", 14, 56)
    maps.create("cilium_ct6_global", "hash", 38, 56)
    for peer, identity in ((network.client, CLIENT), (network.server, SERVER)):
        for prefix in (f"{peer.ipv4}/32", f"{peer.ipv6}/128"):
            maps.update("cilium_ipcache_v2", ipcache_key(prefix), ipcache_value(identity, 24))
    return maps


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short, for the sockets in it: their paths have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="cp-") as name:
        yield Path(name)


@pytest.fixture
async def agent(directory: Path) -> AsyncIterator[AgentDouble]:
    agent = AgentDouble(directory / "agent.sock")
    await agent.start()
    yield agent
    await agent.stop()


class Node:
    """The node with the proxy on it."""

    def __init__(self, network: Network, agent: AgentDouble, maps: PinnedMaps, directory: Path, ingress: bool) -> None:
        self.network, self.agent, self.ingress = network, agent, ingress
        self.resources = resources.Agent(
            host="0.0.0.0",
            port=PROXY,
            additional=("::",),
            access_log=str(directory / "access_log.sock"),
            bpf={"bpf_root": str(maps.root), "ipcache_name": "cilium_ipcache_v2"},
        )
        path = directory / "bootstrap-config.json"
        path.write_text(json.dumps(resources.bootstrap(agent.path, directory / "admin.sock")))
        environment = {
            **os.environ,
            "XDG_RUNTIME_DIR": str(directory),
            "CILIUM_PROXY_BPF_ROOTS": str(maps.root),
        }
        self.log = directory / "log"
        command = [sys.executable, "-c", STARTER, "--", f"-c {path}", "--use-dynamic-base-id", "--concurrency 1"]
        with self.log.open("w") as log:
            network.node.start(*command, env=environment, stdout=log, stderr=log)

    async def deliver(self, listener: object, rules: list[dict[str, object]]) -> None:
        """Sends all that the agent has; the policy is that of the server or, outgoing, the client."""
        pod = self.network.server if self.ingress else self.network.client
        policy = resources.policy((pod.ipv4, pod.ipv6), rules=rules, port=PORT, egress=not self.ingress)
        await self.agent.set(HOSTS, {})
        for url, found in (
            (POLICIES, {"7": policy}),
            (CLUSTERS, {}),
            (LISTENERS, {listener.name: listener}),  # type: ignore[attr-defined]
        ):
            answer = await self.agent.push(url, found)
            assert answer.error is None, self.log.read_text()
        await self.listening()
        self.network.redirect(PORT, PROXY)

    async def listening(self) -> None:
        """Waits for the sockets of both families: an Envoy that starts acknowledges listeners before it opens them.

        What comes earlier is not redirected but forwarded, and then reset when the rest of it is redirected.
        """
        async with asyncio.timeout(30):
            for family in ("-4", "-6"):
                while not self.network.node.run("ss", family, "-Hltn", "sport", "=", f":{PROXY}"):
                    await asyncio.sleep(0.02)

    async def ask(self, *command: str | Path) -> str:
        return await asyncio.to_thread(self.network.client.run, sys.executable, *command)


@pytest.fixture
def node(network: Network, agent: AgentDouble, identities: PinnedMaps, directory: Path, ingress: bool) -> Node:
    return Node(network, agent, identities, directory, ingress)


def serve(network: Network, family: int) -> None:
    address = network.server.address(family)
    kind = "AF_INET" if family == 4 else "AF_INET6"
    assert line(network.server.start(sys.executable, "-c", SERVE, address, str(PORT), kind)) == "ready"


def peer(ingress: bool) -> int:
    """The identity that policy is about: who connects or, outgoing, whom one connects to."""
    return CLIENT if ingress else SERVER


async def test_http_rules_apply_to_identities_of_the_ipcache(
    node: Node, network: Network, family: int, ingress: bool
) -> None:
    server = network.server.address(family)
    assert line(network.server.start(sys.executable, BACKEND, server, str(PORT))) == "ready"
    rules = [resources.path_rule("/public", peer(ingress)), resources.path_rule("/others", 99)]
    await node.deliver(node.resources.http(ingress), rules)
    statuses = [(await node.ask("-c", REQUEST, server, str(PORT), f"/{path}")).strip() for path in ("public", "others")]
    assert statuses == ["200", "403"]


async def test_the_server_sees_the_client_s_address_where_it_may_and_the_datapath_its_identity(
    node: Node, network: Network, family: int, ingress: bool
) -> None:
    mark = (CLIENT << 16) | (0x0A00 if ingress else 0x0B00)
    network.count_marks(mark)
    serve(network, family)
    rules = [{"remote_policies": [peer(ingress)]}]
    listener = node.resources.tcp() if not ingress else ingress_tcp(node.resources)
    await node.deliver(listener, rules)
    own, seen = (await node.ask("-c", ASK, network.server.address(family), str(PORT))).splitlines()
    client = network.client.address(family)
    assert own.split()[0] == client
    # Towards a pod of the node itself the datapath could not route the replies.
    assert seen.split()[0] == (network.node.address(family) if ingress else client)
    assert network.packets_with_mark(mark) > 0


def ingress_tcp(agent: resources.Agent) -> object:
    """The TCP redirect listener, for the other direction."""
    listener = agent.tcp("cilium-tls-ingress")
    metadata = listener.listener_filters[1].typed_config
    config = unpack(metadata)
    config.is_ingress = True
    metadata.CopyFrom(pack(config))
    return listener


async def test_identities_that_policy_does_not_name_are_reset(
    node: Node, network: Network, family: int, ingress: bool
) -> None:
    serve(network, family)
    listener = node.resources.tcp() if not ingress else ingress_tcp(node.resources)
    await node.deliver(listener, [{"remote_policies": [99]}])
    answer = await node.ask("-c", ASK, network.server.address(family), str(PORT))
    assert answer.splitlines()[1:] == ["reset"]
