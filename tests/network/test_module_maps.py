"""Identities from Cilium's maps, looked up by the module in an Envoy without privileges."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from tests.network.bpf_maps import PinnedMaps, conntrack_entry, conntrack_key, ipcache_key, ipcache_value
from tests.network.native import Native

from cilium_proxy.testing.vectors import http_proxy
from cilium_proxy.testing.vectors.http_listener import chain, listener, tcp_proxy

pytestmark = pytest.mark.network

CLIENT, POD = "127.0.0.1", "127.0.0.2"
ALLOWED, OTHER = 700, 701
NAME = "cilium_ipcache_v2"
GREETING = b"served"


def create(maps: PinnedMaps, identity: int) -> None:
    maps.create(NAME, "lpm_trie", 24, 24)
    maps.update(NAME, ipcache_key(f"{CLIENT}/32"), ipcache_value(identity, 24))


def policies() -> dict[str, bytes]:
    rules = [{"port": 0, "rules": [{"remote_policies": [ALLOWED]}]}]
    return http_proxy.policies([{"endpoint_ips": [POD], "endpoint_id": 7, "ingress_per_port_policies": rules}])


class Proxied:
    """A server that greets, and the listener in front of it, one on each of two ports that are free."""

    def __init__(self) -> None:
        self.server = socket.create_server((CLIENT, 0))
        with socket.create_server((POD, 0)) as probe:
            self.address = probe.getsockname()

    def start(self, native: Native, maps: PinnedMaps) -> Any:
        metadata = {"is_ingress": True, "bpf_root": str(maps.root), "ipcache_name": NAME}
        return http_proxy.start(
            lambda log: [listener(self.address, metadata, chain(tcp_proxy(), log))],
            lambda _log: [http_proxy.cluster("upstream", self.server.getsockname())],
            prefix=native.confined(root=maps.root),
        )

    def is_allowed(self, port: int = 0) -> bool:
        """Whether a connection from this port reaches the server."""
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind((CLIENT, port))
            client.settimeout(10)
            try:
                client.connect(self.address)
                self.server.settimeout(0.5)
                peer, _ = self.server.accept()
            except (ConnectionError, TimeoutError):
                return False
            with peer:
                peer.sendall(GREETING)
                return client.recv(len(GREETING)) == GREETING


@pytest.fixture
def proxied() -> Any:
    made = Proxied()
    yield made
    made.server.close()


async def ready(made: http_proxy.VectorProxy) -> None:
    assert await made.publish(http_proxy.HOSTS, {}) is None
    assert await made.publish(http_proxy.POLICIES, policies()) is None
    await made.ready()


async def test_the_ipcache_tells_who_a_client_is(native: Native, maps: PinnedMaps, proxied: Proxied) -> None:
    create(maps, ALLOWED)
    async with proxied.start(native, maps) as made:
        await ready(made)
        assert proxied.is_allowed(), made.log()
        maps.update(NAME, ipcache_key(f"{CLIENT}/32"), ipcache_value(OTHER, 24))
        # An answer of the map is reused for a few milliseconds.
        await http_proxy.eventually(lambda: not proxied.is_allowed())
        entry = (await http_proxy.eventually(lambda: made.entries))[0]
        assert (entry.source_security_id, entry.policy_name) == (OTHER, POD)


async def test_a_new_policy_stream_opens_the_ipcache_again(native: Native, maps: PinnedMaps, proxied: Proxied) -> None:
    create(maps, OTHER)
    async with proxied.start(native, maps) as made:
        await ready(made)
        assert not proxied.is_allowed()
        maps.remove(NAME)
        create(maps, ALLOWED)
        assert not proxied.is_allowed()
        assert await made.publish(http_proxy.POLICIES, policies(), new_stream=True) is None
        assert proxied.is_allowed(), made.log()


async def test_conntrack_knows_better(native: Native, maps: PinnedMaps, proxied: Proxied) -> None:
    create(maps, OTHER)
    with socket.create_server((CLIENT, 0)) as probe:
        port = probe.getsockname()[1]
    maps.create("cilium_ct4_global", "lru_hash", 14, 56)
    key = conntrack_key((CLIENT, port), proxied.address, ingress=True)
    maps.update("cilium_ct4_global", key, conntrack_entry(ALLOWED))
    async with proxied.start(native, maps) as made:
        await ready(made)
        assert not proxied.is_allowed()
        assert proxied.is_allowed(port), made.log()


async def test_a_missing_ipcache_is_named_and_its_clients_are_the_world(
    native: Native, maps: PinnedMaps, proxied: Proxied
) -> None:
    async with proxied.start(native, maps) as made:
        await ready(made)
        assert f"BPF map {maps.path(NAME)}: no such map" in made.log()
        assert not proxied.is_allowed()
        create(maps, ALLOWED)
        assert await http_proxy.eventually(proxied.is_allowed)
