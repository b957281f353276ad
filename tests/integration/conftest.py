"""Real Envoy, real sockets. Loopback addresses stand for peers: 127.0.0.3 is a client, 127.0.0.4 a stranger."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.integration.addresses import free_port, needs_ipv6
from tests.integration.files import Files
from tests.integration.plane import ControlPlane
from tests.integration.proxy import Proxy
from tests.integration.robot import Robot

from cilium_proxy.api import to_dict
from cilium_proxy.rewrite.standalone import Bootstrap, bootstrap
from cilium_proxy.supervisor.admin import Admin
from cilium_proxy.supervisor.command import envoy_command
from cilium_proxy.supervisor.process import EnvoyProcess, stop


@pytest.fixture(params=["127.0.0.2", pytest.param("::1", marks=needs_ipv6)], ids=["IPv4", "IPv6"])
def host(request):
    """The proxy's address."""
    return request.param


@pytest.fixture
def directory():
    # Short: paths of Unix sockets are limited.
    with tempfile.TemporaryDirectory(prefix="cp-") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def backend():
    """Starts servers: `backend(host)` returns the port. One per address and session."""
    started = {}

    def serve(host="127.0.0.1"):
        if host not in started:
            port = free_port(host)
            command = [sys.executable, str(Path(__file__).with_name("backend.py")), host, str(port)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout.readline() == "ready\n"
            started[host] = process, port
        return started[host][1]

    yield serve
    for process, _ in started.values():
        process.kill()
        process.communicate()


@pytest.fixture
def robot():
    robot = Robot()
    yield robot
    robot.server.close()


@pytest.fixture
def files(directory, host, backend):
    return Files(directory, host, backend("::1" if ":" in host else "127.0.0.1"))


@pytest.fixture
def files4(directory, backend):
    """As `files`, IPv4 only."""
    return Files(directory, "127.0.0.2", backend())


@pytest.fixture
def run():
    """Starts `cilium-proxy run` and waits until it is ready."""
    proxies = []

    def start(files, ready=True, **options):
        proxy = Proxy(files, **options)
        proxies.append(proxy)
        if ready:
            proxy.wait_for("ready")
        return proxy

    yield start
    for proxy in proxies:
        proxy.end()


@pytest.fixture
async def control_plane():
    planes = []

    async def start(files):
        plane = ControlPlane(files)
        planes.append(plane)
        await plane.start()
        return plane

    yield start
    for plane in planes:
        await plane.close()


@pytest.fixture
async def envoy():
    """Starts Envoy with the generated bootstrap, apart from any control plane."""
    processes = []

    async def start(files):
        admin = files.directory / "admin.sock"
        wanted = Bootstrap(
            xds_socket=files.directory / "xds.sock",
            policy_socket=files.directory / "policy.sock",
            admin=admin,
            instance="envoy",
        )
        path = files.directory / "bootstrap.json"
        path.write_text(json.dumps(to_dict(bootstrap(wanted))))
        process = await EnvoyProcess.start(envoy_command(path, concurrency=2, log_level="warning"), print)
        process.admin = Admin(admin)
        processes.append(process)
        return process

    yield start
    for process in processes:
        await stop(process)
