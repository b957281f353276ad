"""TLS that policies demand, without an agent: real Envoy, real OpenSSL at both ends."""

import asyncio
import subprocess

import pytest
from tests import tls
from tests.certificates import Authority, Certificate, authority
from tests.integration.secure import CERTIFICATE, ORIGINATING, PUBLIC, TERMINATING, SecureFiles, trusting
from tests.proxy_process import PROGRAM
from tests.tls import eventually

SERVER_NAMES = {"serverNames": ["api.test", "*.wild.test"]}


@pytest.fixture
async def secure(directory, host):
    """Files whose listener looks for TLS."""
    made = []

    def make(host=host, **options):
        made.append(SecureFiles(directory, host, **options))
        return made[0]

    yield make
    for files in made:
        await files.close()


@pytest.fixture
def secure4(secure):
    """As `secure`, IPv4 only."""
    return lambda **options: secure("127.0.0.2", **options)


def applied(proxy):
    return proxy.status()["source"]["applied_at"]


async def edited(proxy, edit):
    """Edits and waits until that is in force."""
    before = applied(proxy)
    edit()
    await eventually(lambda: applied(proxy) != before)


async def test_requests_in_tls_are_judged_and_go_on_in_tls(secure, run):
    files = secure()
    files.rules({**TERMINATING, **ORIGINATING, **PUBLIC})
    run(files)
    async with files.secure_server() as server:
        connection = await files.connect()
        assert connection.subject == tls.NAME
        assert [await connection.get(path) for path in ("/public", "/private", "/public")] == [200, 403, 200]
        assert server.server_names == [tls.NAME], "the client's server name is passed on"
        assert [first.split(b" ")[1] for first in server.begun] == [b"/public"]
    (denied,) = await denials(files)
    assert "/private" in str(denied)


async def test_bytes_in_tls_go_on_in_tls(secure4, run):
    files = secure4(protocol="tcp")
    files.rules({**TERMINATING, **ORIGINATING})
    run(files)
    context = tls.server_context(CERTIFICATE, files.directory)
    context.minimum_version = tls.ssl.TLSVersion.TLSv1_3
    async with files.upstream_server(context) as server:
        assert await (await files.connect()).echo()
        assert server.server_names == [tls.NAME]


@pytest.mark.parametrize("protocol", ["tcp", "http"])
async def test_a_client_without_tls_is_refused_where_the_rule_opens_tls(secure4, run, protocol):
    files = secure4(protocol=protocol)
    files.rules({**TERMINATING, **ORIGINATING, **(PUBLIC if protocol == "http" else {})})
    run(files)
    async with files.secure_server() as server:
        assert await (await files.connect_plain()).echo() is False
        assert server.begun == []
    (denied,) = await denials(files)
    assert denied["ciliumRuleRef"] == "the client does not speak TLS, which its rule demands"
    assert await files.stat("cilium.policy.tls_wrapper_missing_policy") == 1


async def test_plaintext_becomes_tls_for_the_host_that_is_asked_for(secure4, run):
    files = secure4()
    files.rules({**ORIGINATING, **PUBLIC})
    run(files)
    async with files.secure_server() as server:
        assert await (await files.connect_plain()).get("/public") == 200
        assert server.server_names == [tls.NAME]
    async with files.secure_server(authority().issue("stranger.test")) as server:
        assert await (await files.connect_plain()).get("/public") == 503
        assert server.begun == []


async def test_a_server_that_is_not_the_host_that_is_asked_for_gets_no_request(secure4, run):
    files = secure4()
    files.rules({**TERMINATING, **ORIGINATING, **PUBLIC})
    run(files)
    async with files.secure_server(authority().issue("stranger.test")) as server:
        assert await (await files.connect()).get("/public") == 503
        assert server.begun == []
    assert await files.stat("cluster.api-in.ssl.fail_verify_san") >= 1


async def test_servers_of_another_ca_get_no_request(secure4, run):
    files = secure4()
    files.ca(Authority("stranger").pem)
    files.rules({**TERMINATING, **ORIGINATING, **PUBLIC})
    run(files)
    async with files.secure_server() as server:
        assert await (await files.connect()).get("/public") == 503
        assert server.begun == []


@pytest.mark.parametrize("protocol", ["tcp", "http"])
async def test_clients_need_a_certificate_where_the_rule_names_their_ca(secure4, run, protocol):
    files = secure4(protocol=protocol)
    files.settings["secrets"]["web"]["ca.crt"] = "clients.pem"
    clients = Authority("clients")
    (files.directory / "clients.pem").write_text(clients.pem)
    files.save()
    terminating = {"terminatingTLS": {**TERMINATING["terminatingTLS"], "trustedCA": "ca.crt"}}
    files.rules({**terminating, **ORIGINATING, **(PUBLIC if protocol == "http" else {})})
    run(files)
    async with files.secure_server() as server:
        connection = await files.connect(context=presenting(clients.issue("client.test"), files))
        assert await connection.get("/public") == 200
        for context in (trusting(), presenting(authority().issue("client.test"), files)):
            # In TLS 1.3 clients learn of it after their handshake.
            connection = await files.connect(context=context)
            assert connection is None or await connection.get("/public") is None
        assert len(server.begun) == 1
    assert await files.stat(f"listener.{files.host}_{files.port}.ssl.fail_verify_no_cert") == 1
    assert await files.stat(f"listener.{files.host}_{files.port}.ssl.fail_verify_error") == 1


@pytest.mark.parametrize("protocol", ["tcp", "http"])
async def test_servers_get_a_certificate_where_the_rule_names_one(secure4, run, protocol):
    files = secure4(protocol=protocol)
    client = Authority("clients")
    client.issue("proxy.test").write(files.directory, "own")
    files.settings["secrets"]["servers"] |= {"tls.crt": "own.pem", "tls.key": "own.key"}
    files.save()
    context = tls.server_context(CERTIFICATE, files.directory)
    context.verify_mode = tls.ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=client.pem)
    rules = {**TERMINATING, **(PUBLIC if protocol == "http" else {})}
    files.rules({**rules, "originatingTLS": {**ORIGINATING["originatingTLS"], "certificate": "tls.crt"}})
    proxy = run(files)
    async with files.upstream_server(context) as server:
        assert await (await files.connect()).get("/public") == 200
        assert len(server.begun) == 1
        await edited(proxy, lambda: files.rules({**rules, **ORIGINATING}))
        assert await (await files.connect()).get("/public") != 200
        assert len(server.begun) == 1


@pytest.mark.parametrize(
    ("protocol", "offered", "chosen"),
    [
        ("http2", ("h2", "http/1.1"), "h2"),
        ("http1", ("http/1.1",), "http/1.1"),
        ("same", ("h2", "http/1.1"), "http/1.1"),
    ],
)
async def test_http_2_is_offered_where_the_upstream_need_not_follow(secure4, run, protocol, offered, chosen):
    files = secure4(http={"upstream_protocol": protocol})
    files.rules({**TERMINATING, **PUBLIC})
    run(files)
    assert (await files.connect(context=trusting(*offered))).alpn == chosen


async def test_server_names_decide_about_tls_that_is_passed_on(secure, run):
    files = secure(protocol="tcp")
    files.rules(SERVER_NAMES)
    run(files)
    certificate = authority().issue(tls.NAME, "a.wild.test", "other.test")
    async with files.secure_server(certificate) as server:
        for name in (tls.NAME, "a.wild.test"):
            connection = await files.connect(name)
            assert await connection.echo()
        assert server.server_names == [tls.NAME, "a.wild.test"], "the client's own handshake reaches the server"
        for name in ("other.test", None):
            assert await files.connect(name, context=unnamed() if name is None else None) is None
        assert await (await files.connect_plain()).echo() is False
        assert len(server.server_names) == 2
    found = await denials(files, 3)
    assert 'server name "other.test"' in found[0]["ciliumRuleRef"]


async def test_a_new_certificate_is_for_new_connections(secure4, run):
    files = secure4()
    files.rules({**TERMINATING, **ORIGINATING, **PUBLIC})
    proxy = run(files)
    async with files.secure_server():
        before = await files.connect()
        assert await before.get("/public") == 200
        new = authority().issue("new.test", tls.NAME)
        await edited(proxy, lambda: new.write(files.directory, "web"))
        after = await files.connect()
        assert (before.subject, after.subject) == (tls.NAME, "new.test")
        assert [await one.get("/public") for one in (before, after)] == [200, 200]
        assert await files.stat("listener_manager.total_listeners_draining") == 0


async def test_a_new_ca_is_for_new_connections_to_servers(secure4, run):
    files = secure4(protocol="tcp")
    files.rules({**TERMINATING, **ORIGINATING})
    proxy = run(files)
    other = Authority("other")
    async with files.secure_server():
        before = await files.connect()
        assert await before.echo()
        await edited(proxy, lambda: files.ca(other.pem))
        assert not await (await files.connect()).echo()
        await edited(proxy, lambda: files.ca(other.pem + authority().pem))
        assert await (await files.connect()).echo()
        assert await before.echo()


async def test_a_policy_s_other_secret_is_for_new_connections(secure4, run):
    files = secure4(protocol="tcp")
    files.rules({**TERMINATING, **ORIGINATING})
    proxy = run(files)
    other = authority().issue("manifest.test", tls.NAME)
    async with files.secure_server():
        before = await files.connect()
        assert await before.echo()
        files.manifest("web2", tls_crt=other.chain, tls_key=other.key)
        secret = {"terminatingTLS": {"secret": {"name": "web2"}}}
        await eventually_subject(files, "manifest.test", lambda: files.rules({**secret, **ORIGINATING}))
        assert await before.echo()
        assert await files.stat("listener_manager.listener_modified_drained") == 0
    assert proxy.status()["source"]["error"] is None


async def test_without_its_secret_a_connection_is_closed_with_the_reason(secure4, run):
    files = secure4(protocol="tcp")
    del files.settings["secrets"]["web"]
    files.save()
    files.rules({**TERMINATING, **ORIGINATING})
    proxy = run(files)
    assert "secret `default/web` is missing" in str(proxy.status()["source"]["warnings"])
    async with files.secure_server() as server:
        assert await files.connect() is None
        (denied,) = await denials(files)
        reason = 'TLS with the client is not possible: secret "default/web" has not arrived'
        assert denied["ciliumRuleRef"] == reason
        assert await files.stat("cilium.policy.tls_context_missing") == 1
        files.manifest("web", tls_crt=CERTIFICATE.chain, tls_key=CERTIFICATE.key)
        await eventually(lambda: not proxy.status()["source"]["warnings"])
        before = await files.connect()
        assert await before.echo()
        await edited(proxy, (files.directory / "policies/web.json").unlink)
        assert await files.connect() is None
        assert (await denials(files, 2))[1]["ciliumRuleRef"] == reason
        assert len(server.begun) == 1


OTHER = authority().issue(tls.NAME)
BAD = {
    "no certificate": (Certificate("nonsense", CERTIFICATE.key), "web.pem holds no certificates in PEM"),
    "another key": (Certificate(CERTIFICATE.chain, OTHER.key), "web.key is not the key of tls.crt"),
    "encrypted key": (authority().issue(tls.NAME, password=b"word"), "web.key is encrypted; write it without"),
}


@pytest.mark.parametrize("bad", BAD)
async def test_an_edit_that_tls_could_not_use_is_refused_with_its_place(secure4, run, bad):
    files = secure4()
    files.rules({**TERMINATING, **ORIGINATING, **PUBLIC})
    proxy = run(files)
    certificate, expected = BAD[bad]
    async with files.secure_server():
        before = await files.connect()
        assert await before.get("/public") == 200
        certificate.write(files.directory, "web")
        # It may have been read when only one of the files was written.
        problem = await eventually(lambda: refused(proxy, expected))
        assert "proxy.yaml:1:" in problem
        assert "secrets.default/web.tls." in problem
        for connection in (before, await files.connect()):
            assert await connection.get("/public") == 200
            assert connection.subject == tls.NAME
        CERTIFICATE.write(files.directory, "web")
        await eventually(lambda: proxy.status()["source"]["error"] is None)


async def test_a_ca_that_has_expired_is_refused(secure4, run):
    files = secure4(protocol="tcp")
    files.rules({**TERMINATING, **ORIGINATING})
    proxy = run(files)
    files.ca(Authority(days=-1).pem)
    await eventually(lambda: refused(proxy, "servers.pem has expired"))
    async with files.secure_server():
        assert await (await files.connect()).echo()


async def test_rotation_goes_on_behind_another_envoy(secure4, run):
    files = secure4(protocol="tcp")
    files.rules({**TERMINATING, **ORIGINATING})
    proxy = run(files)
    async with files.secure_server():
        before = await files.connect()
        assert await before.echo()
        result = await asyncio.to_thread(
            subprocess.run, [*PROGRAM, "restart", "--state-dir", str(proxy.state)], capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        assert await before.echo()
        new = authority().issue("new.test", tls.NAME)
        await eventually_subject(files, "new.test", lambda: new.write(files.directory, "web"))


def refused(proxy, text):
    """Why the last edit was refused, if it was for this."""
    problem = proxy.status()["source"]["error"] or ""
    return problem if text in problem else None


def unnamed():
    """The context of a client that sends no server name and takes any certificate."""
    context = tls.client_context()
    context.check_hostname = False
    return context


def presenting(certificate, files):
    """The context of a client that has a certificate."""
    context = trusting()
    context.load_cert_chain(*certificate.write(files.directory, "client"))
    return context


async def denials(files, count=1):
    """The log's entries on denials, once there are so many."""

    def found():
        entries = [entry for entry in files.entries() if entry["entryType"] == "Denied"]
        return entries if len(entries) >= count else None

    return await eventually(found)


async def eventually_subject(files, name, edit):
    """Edits; new connections eventually get the certificate of that common name."""
    edit()

    async def has():
        connection = await files.connect()
        return connection is not None and connection.subject == name and await connection.echo()

    await eventually(has)
