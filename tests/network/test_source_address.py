from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.network.namespaces import Network, line
from tests.network.native import Native

pytestmark = [pytest.mark.network, pytest.mark.parametrize("family", [4, 6])]

HERE = Path(__file__).parent
PORT = 8000
PROXY = 15001
# The datapath's egress magic with an identity that needs all 24 bits and the mark's highest bit.
MARK = 0xFEDC0BA9


@dataclass
class Answer:
    client: tuple[str, int]
    seen: tuple[str, int] | None


def settings(family: int, **changed: object) -> str:
    return json.dumps({"family": family, "port": PROXY, "mark": None, "source": None, **changed})


def start_server(network: Network, family: int) -> None:
    server = network.server.start(sys.executable, HERE / "peers.py", "serve", str(family), str(PORT))
    assert line(server) == "listening"


def start_proxy(network: Network, command: list[str]) -> subprocess.Popen[str]:
    proxy = network.node.start(*command)
    assert line(proxy).startswith("listening")
    network.redirect(PORT, PROXY)
    return proxy


def ask(network: Network, family: int) -> Answer:
    host = network.server.address(family)
    output = network.client.run(sys.executable, HERE / "peers.py", "ask", host, str(PORT)).splitlines()
    own, seen = (text.split() for text in (*output, "")[:2])
    return Answer((own[0], int(own[1])), (seen[0], int(seen[1])) if seen else None)


def test_upstream_sees_the_client_s_address(network: Network, native: Native, family: int) -> None:
    start_server(network, family)
    proxy = start_proxy(
        network, native.confined(sys.executable, HERE / "forwarder.py", settings(family, source="address"))
    )
    answer = ask(network, family)
    assert line(proxy) == "forwarded"
    assert answer.client[0] == network.client.address(family)
    assert answer.seen is not None
    assert answer.seen[0] == answer.client[0]


def test_upstream_sees_the_client_s_address_and_port(network: Network, native: Native, family: int) -> None:
    start_server(network, family)
    command = native.confined(
        sys.executable, HERE / "forwarder.py", settings(family, source="address and port", mark=MARK)
    )
    proxy = start_proxy(network, command)
    for _ in range(3):
        answer = ask(network, family)
        assert line(proxy) == "forwarded"
        assert answer.seen == answer.client


def test_without_a_source_address_upstream_sees_the_node(network: Network, native: Native, family: int) -> None:
    start_server(network, family)
    proxy = start_proxy(network, native.confined(sys.executable, HERE / "forwarder.py", settings(family)))
    answer = ask(network, family)
    assert line(proxy) == "forwarded"
    assert answer.seen is not None
    assert answer.seen[0] == network.node.address(family)


@pytest.mark.parametrize("local", [True, False])
def test_a_local_destination_sees_the_node(network: Network, native: Native, family: int, local: bool) -> None:
    start_server(network, family)
    server = network.server.address(family)
    forwarder = settings(family, source="address", local=[server] if local else [])
    proxy = start_proxy(network, native.confined(sys.executable, HERE / "forwarder.py", forwarder))
    answer = ask(network, family)
    assert line(proxy) == "forwarded"
    assert answer.seen is not None
    assert answer.seen[0] == (network.node if local else network.client).address(family)


def test_a_process_without_capabilities_marks_its_packets(network: Network, native: Native, family: int) -> None:
    start_server(network, family)
    network.count_marks(MARK, MARK + 1)
    proxy = network.node.start(
        *native.confined(sys.executable, HERE / "forwarder.py", settings(family, mark=MARK, source="address"))
    )
    process = int(line(proxy).split()[1])
    status = Path(f"/proc/{process}/status").read_text()
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert f"{kind}:\t{0:016x}\n" in status
    assert "NoNewPrivs:\t1\n" in status
    network.redirect(PORT, PROXY)
    assert ask(network, family).seen is not None
    assert line(proxy) == "forwarded"
    assert network.packets_with_mark(MARK) > 0
    assert network.packets_with_mark(MARK + 1) == 0


@pytest.mark.parametrize("option", [{"mark": MARK}, {"source": "address"}])
def test_without_the_service_nothing_goes_upstream(
    network: Network, native: Native, family: int, option: dict[str, object]
) -> None:
    start_server(network, family)
    # Nothing transparent here: the client asks the node itself.
    forwarder = native.alone(sys.executable, HERE / "forwarder.py", settings(family, transparent=False, **option))
    proxy = network.node.start(*forwarder)
    assert line(proxy).startswith("listening")
    host = network.node.address(family)
    output = network.client.run(sys.executable, HERE / "peers.py", "ask", host, str(PROXY)).splitlines()
    assert line(proxy) == "refused: Operation not permitted"
    assert output[1] == ""


def test_without_the_service_there_is_no_transparent_listener(network: Network, native: Native, family: int) -> None:
    proxy = network.node.start(*native.alone(sys.executable, HERE / "forwarder.py", settings(family)))
    assert line(proxy) == "cannot listen: Operation not permitted"


def test_without_the_library_the_options_are_refused(network: Network, native: Native, family: int) -> None:
    command = native.confined(sys.executable, HERE / "forwarder.py", settings(family), preload=False)
    assert line(network.node.start(*command)) == "cannot listen: Protocol not available"


def test_an_address_of_the_node_needs_no_privileges(network: Network, native: Native, family: int) -> None:
    start_server(network, family)
    node, server = network.node.address(family), network.server.address(family)
    forwarder = settings(family, transparent=False, source="address", destination=[server, PORT])
    proxy = network.node.start(*native.alone(sys.executable, HERE / "forwarder.py", forwarder))
    assert line(proxy).startswith("listening")
    seen = network.node.run(sys.executable, HERE / "peers.py", "ask", node, str(PROXY)).splitlines()[1]
    assert line(proxy) == "forwarded"
    assert seen.split()[0] == node
