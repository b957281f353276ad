"""A Gateway's resources: routes, endpoints and certificates that Envoy asks the agent for by name."""

import asyncio
import contextlib
import dataclasses
from pathlib import Path

import pytest
from tests.agent import resources
from tests.agent.conftest import CLIENT, POD
from tests.agent.double import CLUSTERS, ENDPOINTS, HOSTS, LISTENERS, POLICIES, ROUTES, SECRETS
from tests.agent.starter import privileged
from tests.agent.test_traffic import status

from cilium_proxy import api
from cilium_proxy.observe.receiver import Receiver

# A source address needs the socket library, and that the privileged service.
pytestmark = privileged

INGRESS = "127.0.0.100"
DENIED = 2


@pytest.fixture
def node(node):
    return dataclasses.replace(node, source_address=INGRESS)


@pytest.fixture
def hosts():
    addresses = {8: INGRESS, 43: CLIENT, 44: POD}
    return {str(identity): resources.hosts(identity, f"{ip}/32") for identity, ip in addresses.items()}


def gateway_policy(remotes=()):
    """Clients may speak to the Gateway, and it to backends with these identities, or all."""
    policy = resources.policy(INGRESS, 1)
    rules = [{"remote_policies": list(remotes)}] if remotes else []
    policy.MergeFrom(resources.policy([], 0, rules, egress=True))
    return policy


async def deliver(agent, node, backend, hosts, listener, policy=None, service=None):
    """Sends all; waits until Envoy has asked for what the listener refers to, and has it."""
    policy = policy or gateway_policy()
    assert (await agent.push(HOSTS, hosts)).error is None
    assert (await agent.push(POLICIES, {"1": policy})).error is None
    await agent.set(ENDPOINTS, {resources.BACKEND: resources.endpoints(POD, backend)})
    routes = [node.routes(), node.routes("listener-secure")]
    await agent.set(ROUTES, {route.name: route for route in routes})
    assert (await agent.push(CLUSTERS, {resources.SERVICE: service or node.service()})).error is None
    answer = await agent.push(LISTENERS, {listener.name: listener})
    assert answer.error is None


async def until_served(client, path):
    async with asyncio.timeout(30):
        while (found := await status(client, path)) in (None, 404, 503):
            await asyncio.sleep(0.1)
    return found


async def test_routes_and_endpoints_are_asked_for_and_carry_traffic(
    agent, node, bootstrap, start, client, backend, hosts
):
    start(bootstrap())
    await deliver(agent, node, backend, hosts, node.gateway())
    assert await until_served(client(), "/bar") == 200
    assert await status(client(), "/foo") == 404
    assert (ENDPOINTS, frozenset({resources.BACKEND})) in agent.asked
    assert (ROUTES, frozenset({"default/cilium-gateway-my-gateway/listener-insecure"})) in agent.asked


async def test_routes_follow_the_agent(agent, node, bootstrap, start, client, backend, hosts):
    start(bootstrap())
    await deliver(agent, node, backend, hosts, node.gateway())
    assert await until_served(client(), "/bar") == 200
    changed = node.routes(path="/foo")
    assert (await agent.push(ROUTES, {changed.name: changed})).error is None
    assert await status(client(), "/foo") == 200
    assert await status(client(), "/bar") == 404


async def test_backends_that_policy_does_not_allow_get_no_request(
    agent, node, bootstrap, start, client, backend, hosts
):
    start(bootstrap())
    await deliver(agent, node, backend, hosts, node.gateway(), gateway_policy([99]))
    assert await until_served(client(), "/bar") == 403


@pytest.mark.parametrize(("filters", "expected"), [("policy", 500), ("others", 200), ("none", 200), (None, 200)])
async def test_without_policy_only_clusters_that_the_agent_has_judge_refuse(
    agent, node, bootstrap, start, client, backend, hosts, filters, expected
):
    start(bootstrap())
    node = dataclasses.replace(node, enforces=False)
    await deliver(agent, node, backend, hosts, node.gateway(), service=node.service(filters))
    assert await until_served(client(), "/bar") == expected


@pytest.fixture
async def log(node):
    """The denials that the agent hears of."""
    denials = asyncio.Queue()
    receiver = Receiver(
        Path(node.access_log), lambda entry: denials.put_nowait(entry) if entry.entry_type == DENIED else None
    )
    await receiver.start()
    yield denials
    await receiver.close()


@contextlib.asynccontextmanager
async def recorder():
    """A server on the pod's address that answers 200; yields its port and what it received."""
    received = []
    serving = set()

    async def serve(reader, writer):
        serving.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.CancelledError), contextlib.closing(writer):
            while data := await reader.read(4096):
                received.append(data)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, POD, 0)
    try:
        yield server.sockets[0].getsockname()[1], received
    finally:
        server.close()
        # Envoy keeps its connections open.
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving)


@pytest.mark.parametrize("filters", ["policy", "others", "none", None])
async def test_no_byte_of_a_request_reaches_a_denied_backend_whatever_filters_its_cluster_has(
    agent, node, bootstrap, start, client, hosts, filters, log
):
    start(bootstrap())
    async with recorder() as (port, received):
        service = node.service(filters)
        await deliver(agent, node, port, hosts, node.gateway(), gateway_policy([99]), service)
        assert await until_served(client(), "/bar") == 403
        assert received == []
        denied = await log.get()
        assert (denied.entry_type, denied.policy_name, denied.http.path) == (DENIED, INGRESS, "/bar")
        assert denied.destination_address == f"{POD}:{port}"
        # As soon as policy allows it, requests pass the same filters.
        assert (await agent.push(POLICIES, {"1": gateway_policy([44])})).error is None
        assert await status(client(), "/bar") == 200
        assert b"".join(received).startswith(b"GET /bar")
        assert (b"x-upstream: yes" in b"".join(received)) is (filters == "others")


async def test_certificates_are_asked_for_by_name(agent, node, bootstrap, start, backend, hosts):
    start(bootstrap())
    listener = node.gateway(secure="/secret")
    secret = api.from_dict(
        "envoy.extensions.transport_sockets.tls.v3.Secret",
        {"name": "/secret", "generic_secret": {"secret": {"inline_string": "not a certificate"}}},
    )
    await agent.set(SECRETS, {"/secret": secret})
    await deliver(agent, node, backend, hosts, listener)
    await agent.until(lambda: (SECRETS, frozenset({"/secret"})) in agent.asked)
    answer = await agent.answered(SECRETS)
    assert "private key" in answer.error, "what Envoy says"
