"""Health checks of a real Envoy, and what the agent's socket gets of them."""

import asyncio
import json
import socket
import tempfile
from pathlib import Path

import pytest

from cilium_proxy.api import from_dict, messages, to_dict
from cilium_proxy.rewrite.cilium import Options, rewrite_message
from cilium_proxy.supervisor.admin import Admin
from cilium_proxy.supervisor.command import envoy_command
from cilium_proxy.supervisor.health_events import FLUSH_INTERVAL, HealthEvents

LIMIT = 30.0


@pytest.fixture
def directory():
    # Short: paths of Unix sockets are limited.
    with tempfile.TemporaryDirectory(prefix="cp-") as name:
        yield Path(name)


@pytest.fixture
async def envoy(directory):
    """Starts Envoy with clusters as an agent sends them; gives its admin interface."""
    events = HealthEvents(directory)
    started = []

    async def start(*clusters):
        static = {"clusters": list(clusters)}
        admin = {"address": {"pipe": {"path": str(directory / "admin.sock")}}}
        message = from_dict("envoy.config.bootstrap.v3.Bootstrap", {"admin": admin, "static_resources": static})
        rewrite_message(message, Options(health_events=events, privileged_sockets=False))
        await events.start()
        config = directory / "bootstrap.json"
        config.write_text(json.dumps(to_dict(message)))
        command = envoy_command(
            config, concurrency=1, log_level="error", extra=("--file-flush-interval-msec", str(FLUSH_INTERVAL))
        )
        with (directory / "envoy.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *command.argv, env=dict(command.environment), stdout=log, stderr=log
            )
        started.append(process)
        return Admin(directory / "admin.sock")

    yield start
    for process in started:
        process.kill()
        await process.wait()
    await events.close()


def cluster(name, port, sink):
    endpoint = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
    config = {"@type": "type.googleapis.com/cilium.HealthCheckEventPipeSink", "path": str(sink)}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "health_checks": [
            {
                "timeout": "1s",
                "interval": "0.1s",
                "no_traffic_interval": "0.1s",
                "no_traffic_healthy_interval": "0.1s",
                "unhealthy_threshold": 1,
                "healthy_threshold": 1,
                "tcp_health_check": {},
                "event_logger": [{"name": "cilium.health_check.event_sink.pipe", "typed_config": config}],
            }
        ],
    }


@pytest.fixture
def sinks(directory):
    made = []

    def listen(name):
        sink = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        sink.bind(str(directory / name))
        sink.listen()
        made.append(sink)
        return sink

    yield listen
    for sink in made:
        sink.close()


async def accept(sink):
    async with asyncio.timeout(LIMIT):
        connection, _ = await asyncio.get_running_loop().sock_accept(sink)
    return connection


async def event(connection):
    async with asyncio.timeout(LIMIT):
        packet = await asyncio.get_running_loop().sock_recv(connection, 1 << 16)
    return messages("envoy.data.core.v3.HealthCheckEvent").FromString(packet)


def kind(got):
    return got.WhichOneof("event")


async def test_a_host_that_goes_and_comes_back_is_reported_in_order(envoy, sinks, directory):
    sink = sinks("s")
    host = socket.create_server(("127.0.0.1", 0))
    port = host.getsockname()[1]
    await envoy(cluster("checked", port, directory / "s"))
    connection = await accept(sink)
    with connection:
        got = await event(connection)
        assert kind(got) == "add_healthy_event"
        assert got.add_healthy_event.first_check
        assert (got.cluster_name, got.host.socket_address.port_value) == ("checked", port)
        host.close()
        assert kind(await event(connection)) in ("eject_unhealthy_event", "health_check_failure_event")
        with socket.create_server(("127.0.0.1", port)):
            while kind(got := await event(connection)) != "add_healthy_event":
                pass
            assert not got.add_healthy_event.first_check


async def test_clusters_report_to_sinks_of_their_own(envoy, sinks, directory):
    first, second = sinks("1"), sinks("2")
    with socket.create_server(("127.0.0.1", 0)) as host:
        port = host.getsockname()[1]
        await envoy(cluster("one", port, directory / "1"), cluster("two", port, directory / "2"))
        for sink, name in ((first, "one"), (second, "two")):
            with await accept(sink) as connection:
                assert (await event(connection)).cluster_name == name


async def test_envoy_works_without_a_receiver(envoy, directory):
    with socket.create_server(("127.0.0.1", 0)) as host:
        admin = await envoy(cluster("checked", host.getsockname()[1], directory / "nobody"))
        async with asyncio.timeout(LIMIT):
            while not await admin.is_ready():
                await asyncio.sleep(0.02)
            while "cluster.checked.health_check.success: 3" not in await admin.request("GET", "/stats"):
                await asyncio.sleep(0.02)
