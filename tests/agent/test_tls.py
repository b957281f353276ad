"""TLS that policy chooses, behind an agent: real Envoy, real OpenSSL at both ends."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from tests import admin, tls
from tests.agent import resources
from tests.agent.conftest import CLIENT, POD, STRANGER
from tests.agent.double import CLUSTERS, HOSTS, LISTENERS, POLICIES, SECRETS
from tests.agent.test_hot_restart import until_serving
from tests.agent.test_traffic import listening
from tests.certificates import Authority, authority
from tests.integration.addresses import free_port
from tests.tls import eventually

from cilium_proxy.observe.receiver import Receiver

DENIED = 2
"""`cilium.EntryType.Denied`."""
PEERS = {"43": resources.hosts(43, f"{CLIENT}/32"), "44": resources.hosts(44, f"{STRANGER}/32")}
CERTIFICATE = authority().issue(tls.NAME)


@pytest.fixture
def port():
    """The upstream's, which stands for the original destination's."""
    return free_port(POD)


@pytest.fixture
async def log(node):
    """Entries of the access log."""
    entries = []
    receiver = Receiver(Path(node.access_log), entries.append)
    await receiver.start()
    yield entries
    await receiver.close()


@pytest.fixture
async def upstream(directory, port):
    """A server with TLS."""
    context = tls.server_context(authority().issue(tls.NAME), directory)
    async with tls.Upstream(POD, port, context) as server:
        yield server


def terminate(certificate=CERTIFICATE, **fields):
    """A context towards clients, as older agents send it."""
    return {"certificate_chain": certificate.chain, "private_key": certificate.key, **fields}


def originate(ca=None, **fields):
    """A context towards servers."""
    return {"trusted_ca": ca or authority().pem, **fields}


def rule(remote=43, client=None, server=None, **fields):
    contexts = {"downstream_tls_context": client, "upstream_tls_context": server}
    return {"remote_policies": [remote], **{name: one for name, one in contexts.items() if one}, **fields}


def policies(*rules):
    return {"7": resources.policy(POD, rules=list(rules))}


class Mesh:
    """An agent, a proxy, and what is told to them."""

    def __init__(self, agent, node, proxy):
        self.agent, self.node, self.proxy = agent, node, proxy
        self.connections = []

    async def connect(self, source=CLIENT, context=None, name=tls.NAME):
        """A TLS client's connection; None: it was closed."""
        return self._keep(
            await tls.connect((self.node.host, self.node.port), source, context or tls.client_context(), name)
        )

    async def connect_raw(self, source=CLIENT):
        return self._keep(await tls.connect(self._address, source))

    @property
    def _address(self):
        return self.node.host, self.node.port

    def _keep(self, connection):
        if connection is not None:
            self.connections.append(connection)
        return connection

    async def enforce(self, *rules):
        assert (await self.agent.push(POLICIES, policies(*rules))).error is None

    async def stat(self, name):
        return await admin.statistic(self.proxy.directory / "admin.sock", name)


@pytest.fixture
async def start(agent, node, bootstrap, run, port):
    """Starts the proxy with a listener and policies."""
    meshes = []

    async def started(*rules, listener=None, secrets=None):
        mesh = Mesh(agent, node, run(bootstrap(port=port)))
        meshes.append(mesh)
        if secrets:
            await agent.set(SECRETS, secrets)
        listener = listener or node.tls_ingress()
        answers = [
            await agent.push(HOSTS, PEERS),
            await agent.push(POLICIES, policies(*rules)),
            await agent.push(CLUSTERS, {}),
            await agent.push(LISTENERS, {listener.name: listener}),
        ]
        assert [answer.error for answer in answers] == [None] * 4
        await listening(node)
        return mesh

    yield started
    for mesh in meshes:
        for connection in mesh.connections:
            await connection.close()


async def test_tls_ends_here_and_begins_again_with_certificates_of_the_policy(start, upstream):
    mesh = await start(rule(client=terminate(), server=originate()))
    connection = await mesh.connect()
    assert await connection.echo()
    assert connection.subject == tls.NAME
    assert upstream.server_names == [tls.NAME], "the client's server name is passed on"


async def test_raw_passthrough_needs_no_contexts(start, upstream):
    mesh = await start(rule())
    connection = await mesh.connect()
    assert await connection.echo()
    assert upstream.server_names == [tls.NAME]
    assert await mesh.connect(STRANGER) is None


async def test_http_in_tls_is_judged(start, node, upstream):
    rules = {"http_rules": resources.path_rule("/public")["http_rules"]}
    contexts = {"client": terminate(alpn_protocols=["http/1.1"]), "server": originate()}
    mesh = await start(rule(**contexts, **rules), listener=node.http(ingress=True))
    connection = await mesh.connect()
    assert [await connection.get(path) for path in ("/public", "/private", "/public")] == [200, 403, 200]
    assert upstream.begun[0].startswith(b"GET /public ")


async def test_the_upstream_s_certificate_must_be_for_the_client_s_server_name(start, directory, port):
    context = tls.server_context(authority().issue("other.test"), directory)
    async with tls.Upstream(POD, port, context) as server:
        mesh = await start(rule(client=terminate(), server=originate()))
        connection = await mesh.connect()
        assert not await connection.echo()
        assert server.begun == []


async def test_an_upstream_of_another_authority_gets_nothing(start, upstream):
    mesh = await start(rule(client=terminate(), server=originate(Authority("stranger").pem)))
    connection = await mesh.connect()
    assert not await connection.echo()
    assert upstream.begun == []
    assert await mesh.stat("cluster.ingress-cluster-tls.ssl.fail_verify_error")


async def test_new_contexts_leave_connections_of_others_alone(start, upstream):
    mesh = await start(rule(client=terminate(), server=originate()), rule(44))
    first, passed = await mesh.connect(), await mesh.connect(STRANGER)
    assert await first.echo()
    assert await passed.echo()
    for number in range(5):
        new = terminate(authority().issue(tls.NAME, f"{number}.test"))
        await mesh.enforce(rule(client=terminate(), server=originate()), rule(44, client=new, server=originate()))
        assert await first.echo()
        assert await passed.echo()
        connection = await mesh.connect(STRANGER)
        assert await connection.echo(), "the context is in place when the policy is acknowledged"
    assert not await mesh.stat("listener_manager.listener_modified_drained")
    assert await mesh.stat("listener_manager.listener_in_place_updated") >= 5
    assert not await mesh.stat("listener_manager.total_listeners_draining")


async def test_requests_of_an_open_connection_follow_a_change_of_the_upstream_context(start, node, directory, port):
    http = {"http_rules": resources.path_rule("/public")["http_rules"]}
    old, new = Authority("old"), Authority("new")
    mesh = await start(rule(client=terminate(), server=originate(old.pem), **http), listener=node.http(ingress=True))
    connection = await mesh.connect()
    for ca, certificate in ((old, "old"), (new, "new")):
        context = tls.server_context(ca.issue(tls.NAME), directory, certificate)
        await mesh.enforce(rule(client=terminate(), server=originate(ca.pem), **http))
        async with tls.Upstream(POD, port, context) as server:
            assert await connection.get("/public") == 200
            assert len(server.begun) == 1


async def test_a_late_secret_holds_the_connections_that_need_it_and_no_others(start, agent, upstream):
    mesh = await start(rule(client={"tls_sds_secret": "late"}, server=originate()), rule(44))
    waiting = asyncio.create_task(mesh.connect())
    other = await mesh.connect(STRANGER)
    assert await other.echo()
    assert not waiting.done()
    answer = await agent.push(SECRETS, {"late": resources.certificate_secret("late", CERTIFICATE)})
    assert answer.error is None
    connection = await waiting
    assert await connection.echo()
    assert await other.echo()


async def test_a_missing_secret_closes_with_the_reason(start, log, upstream):
    mesh = await start(rule(client={"tls_sds_secret": "never"}, server=originate()))
    assert await mesh.connect() is None
    (entry,) = await eventually(lambda: log)
    assert entry.entry_type == DENIED
    assert entry.cilium_rule_ref == 'TLS with the client is not possible: secret "never" has not arrived'
    assert await mesh.stat("cilium.policy.tls_context_missing") == 1
    assert upstream.begun == []


async def test_a_missing_upstream_secret_lets_no_byte_out(start, port):
    async with tls.Upstream(POD, port) as plain:
        mesh = await start(rule(server={"validation_context_sds_secret": "never"}))
        connection = await mesh.connect_raw()
        assert not await connection.echo()
        assert plain.begun == []


async def test_rotation_is_for_new_connections(start, agent, upstream):
    first, second = (authority().issue(f"{number}.test", tls.NAME) for number in (1, 2))
    secrets = {"one": resources.certificate_secret("one", first)}
    mesh = await start(rule(client={"tls_sds_secret": "one"}, server=originate()), secrets=secrets)
    before = await mesh.connect()
    assert before.subject == "1.test"
    assert await before.echo()
    await agent.push(SECRETS, {"one": resources.certificate_secret("one", second)})
    after = await mesh.connect()
    assert after.subject == "2.test"
    assert await after.echo()
    assert await before.echo()


@pytest.mark.parametrize("bad", ["no certificate", "another key"])
async def test_a_secret_that_envoy_refuses_is_named_and_the_one_before_stays(start, agent, upstream, bad):
    secrets = {"one": resources.certificate_secret("one", CERTIFICATE)}
    mesh = await start(rule(client={"tls_sds_secret": "one"}, server=originate()), secrets=secrets)
    before = await mesh.connect()
    broken = type(CERTIFICATE)(CERTIFICATE.chain, authority().issue("other").key)
    if bad == "no certificate":
        broken = type(CERTIFICATE)("nonsense", CERTIFICATE.key)
    answer = await agent.push(SECRETS, {"one": resources.certificate_secret("one", broken)})
    assert 'secret "one": Failed to load' in answer.error
    for connection in (before, await mesh.connect()):
        assert await connection.echo()


async def test_a_first_secret_that_envoy_refuses_closes_with_the_reason(start, agent, log, upstream):
    broken = type(CERTIFICATE)("nonsense", CERTIFICATE.key)
    mesh = await start(
        rule(client={"tls_sds_secret": "one"}, server=originate()),
        rule(44, client=terminate()),
        secrets={"one": resources.certificate_secret("one", broken)},
    )
    assert await mesh.connect() is None
    await eventually(lambda: log)
    assert 'Envoy refuses secret "one": Failed to load certificate chain' in log[0].cilium_rule_ref
    await agent.push(SECRETS, {"one": resources.certificate_secret("one", CERTIFICATE)})
    assert await (await mesh.connect()).echo()


async def test_a_certificate_of_the_policy_that_envoy_refuses_refuses_the_policy(start, agent, upstream):
    good = rule(client=terminate(), server=originate())
    mesh = await start(good)
    connection = await mesh.connect()
    broken = type(CERTIFICATE)(CERTIFICATE.chain, authority().issue("other").key)
    answer = await agent.push(POLICIES, policies(good, rule(44, client=terminate(broken))))
    assert "KEY_VALUES_MISMATCH" in answer.error
    assert await connection.echo()
    assert await (await mesh.connect()).echo()
    assert await mesh.connect(STRANGER) is None
    await mesh.enforce(good, rule(44, client=terminate(), server=originate()))
    assert await (await mesh.connect(STRANGER)).echo()


async def test_contexts_that_no_policy_uses_any_more_go(start, upstream, node):
    second = terminate(authority().issue(tls.NAME, "second.test"))
    mesh = await start(rule(client=terminate(), server=originate()), rule(44, client=second))

    async def chains():
        dump = await admin.ask(mesh.proxy.directory / "admin.sock", "/config_dump?resource=dynamic_listeners")
        return dump.count('"cilium:')

    assert await chains() == 3
    await mesh.enforce(rule(client=terminate(), server=originate()))

    async def gone():
        return await chains() == 2

    await eventually(gone, 60)
    assert await (await mesh.connect()).echo()


async def test_connections_go_on_while_another_control_plane_takes_over(start, upstream, run, bootstrap, port):
    mesh = await start(rule(client=terminate(), server=originate()))
    first = await mesh.connect()
    assert await first.echo()
    before = await until_serving(mesh.proxy)
    mesh.proxy.stop(signal.SIGKILL)
    successor = run(bootstrap(port=port))
    serving = asyncio.create_task(until_serving(successor, before))
    count = 0
    while not serving.done() or count < 20:
        connection = await mesh.connect()
        assert await connection.echo()
        assert await first.echo()
        await connection.close()
        count += 1
    await serving


async def test_envoy_that_crashes_gets_the_contexts_again(start, upstream):
    mesh = await start(rule(client=terminate(), server=originate()))
    assert await (await mesh.connect()).echo()
    # An Envoy that ends before it was ever ready is not started again.
    await eventually(lambda: mesh.proxy.status()["state"] == "running")
    before = mesh.proxy.status()["envoy"]["pid"]
    os.kill(before, signal.SIGKILL)

    async def back():
        connection = await mesh.connect()
        return connection is not None and await connection.echo()

    await eventually(back, 60)
    assert mesh.proxy.status()["envoy"]["pid"] != before
