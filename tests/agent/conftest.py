"""A proxy behind an agent double. Loopback addresses stand for peers: 127.0.0.2 is a pod with a policy, 127.0.0.3 a
client, 127.0.0.4 a stranger. Clusters connect to the original destination's address on the backend's port."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import pytest
from tests.agent import resources
from tests.agent.double import AgentDouble
from tests.agent.process import LIMIT, Proxy
from tests.agent.starter import Starter
from tests.integration.addresses import free_port

POD, CLIENT, STRANGER = "127.0.0.2", "127.0.0.3", "127.0.0.4"
BACKEND = Path(__file__).parents[1] / "integration" / "backend.py"


@pytest.fixture
def directory():
    # Short: paths of Unix sockets are limited.
    with tempfile.TemporaryDirectory(prefix="cp-") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def backend():
    """A server on the pod's address; its port."""
    port = free_port(POD)
    process = subprocess.Popen([sys.executable, str(BACKEND), POD, str(port)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    yield port
    process.kill()
    process.communicate()


@pytest.fixture
async def agent(directory):
    agent = AgentDouble(directory / "agent.sock")
    await agent.start()
    yield agent
    await agent.stop()


@pytest.fixture
def node(directory):
    """How the agent of these tests makes its resources."""
    return resources.Agent(
        host=POD, port=free_port(POD), additional=(), bpf=None, access_log=str(directory / "access_log.sock")
    )


@pytest.fixture
def bootstrap(directory, backend):
    """Makes the bootstrap: `bootstrap(ads="GRPC")`."""

    def make(**options):
        ports = {"port": backend, "metrics": free_port(), "health": free_port()}
        return resources.bootstrap(directory / "agent.sock", directory / "admin.sock", **{**ports, **options})

    return make


@pytest.fixture
def run(directory):
    """Starts the proxy: `run(bootstrap, arguments...)`."""
    proxies = []

    def start(bootstrap, *arguments):
        envoy = ("--unprivileged", "--", "--base-id-path", str(directory / "id"), "--use-dynamic-base-id")
        proxy = Proxy(directory, bootstrap, *(arguments or (*envoy, "--concurrency", "2", "--log-level", "warning")))
        proxies.append(proxy)
        return proxy

    yield start
    for proxy in proxies:
        proxy.end()


@pytest.fixture
def start(directory):
    """Starts the proxy as the chart does, with privileges: `start(bootstrap, arguments...)`."""
    started = []

    def run(bootstrap, *arguments):
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(directory)}
        envoy = ("--use-dynamic-base-id", "--concurrency 1", "--log-level info", *arguments)
        proxy = Starter(directory, bootstrap, *envoy, environment=environment)
        started.append(proxy)
        return proxy

    yield run
    for proxy in started:
        proxy.end()


@pytest.fixture
async def client(node):
    """A client of the redirect listener: `client(source=...)`."""
    clients = []

    def connect(source=CLIENT, **options):
        transport = httpx.AsyncHTTPTransport(local_address=source, **options)
        made = httpx.AsyncClient(
            transport=transport, base_url=f"http://{node.host}:{node.port}", timeout=LIMIT, trust_env=False
        )
        clients.append(made)
        return made

    yield connect
    for made in clients:
        await made.aclose()
