"""Parsers written in Python, where an agent's policy names them."""

import socket
from pathlib import Path

import pytest
from tests.agent import resources
from tests.agent.conftest import CLIENT, POD
from tests.agent.process import LIMIT
from tests.agent.test_traffic import enforce, listening
from tests.integration.addresses import free_port
from tests.integration.robot import Robot, ask

EXAMPLES = Path(__file__).parents[2] / "examples/parsers"
R2D2 = {
    "remote_policies": [43],
    "l7_proto": "python:r2d2:R2d2",
    "l7_rules": {"l7_allow_rules": [{"rule": {"cmd": "READ", "file": "^public/"}}]},
}


@pytest.fixture
def robot():
    robot = Robot(POD)
    yield robot
    robot.server.close()


@pytest.fixture
async def proxy(agent, node, directory, robot, run):
    """Starts the proxy, and has the agent send a policy that names the parser."""

    async def start():
        ports = {"metrics": free_port(), "health": free_port(), "port": robot.port}
        proxy = run(resources.bootstrap(directory / "agent.sock", directory / "admin.sock", **ports))
        chain = {"filters": [resources.network(), resources.tcp("ingress-cluster")]}
        listener = node.redirect("cilium-proxylib-ingress", [chain], ingress=True)
        await enforce(agent, node, [R2D2], {listener.name: listener})
        await listening(node)
        return proxy

    return start


def connect(node):
    connection = socket.create_connection((node.host, node.port), LIMIT, source_address=(CLIENT, 0))
    return connection, connection.makefile("rwb", buffering=0)


async def test_a_policy_s_parser_is_loaded_from_the_configured_directories(monkeypatch, proxy, node, robot):
    monkeypatch.setenv("CILIUM_PROXY_PARSERS", str(EXAMPLES))
    await proxy()
    connection, stream = connect(node)
    with connection, stream:
        assert ask(stream, b"READ public/plans\r\n") == b"OK\r\n"
        assert ask(stream, b"WRITE public/plans\r\n") == b"ERROR\r\n"
    assert robot.lines == [b"READ public/plans\r\n"]


async def test_without_directories_no_python_is_run(proxy, node, robot):
    await proxy()
    try:
        connection, stream = connect(node)
        with connection, stream:
            assert ask(stream, b"READ public/plans\r\n") == b""
    except ConnectionError:
        pass
    assert robot.lines == []
