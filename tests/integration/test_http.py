"""Verdicts on HTTP/1.1 and HTTP/2, and what reaches the backend."""

import json
import socket

import httpx
import pytest
from tests.integration.addresses import STRANGER
from tests.integration.files import http_rule
from tests.integration.proxy import eventually

PUBLIC = http_rule(method="GET", path="/public")
VERSIONS = pytest.mark.parametrize("options", [{}, {"http1": False, "http2": True}], ids=["HTTP/1.1", "HTTP/2"])


@VERSIONS
def test_what_a_rule_allows_reaches_the_backend(files, run, options):
    files.policy(PUBLIC)
    run(files)
    with files.client(**options) as client:
        reply = client.get("/public")
        assert reply.status_code == 200
        version = "HTTP/2" if options else "HTTP/1.1"
        assert reply.http_version == version
        assert (reply.json()["path"], reply.json()["version"]) == ("/public", version)


@VERSIONS
def test_what_no_rule_allows_is_refused_with_403(files, run, options):
    files.policy(PUBLIC)
    run(files)
    with files.client(**options) as client:
        reply = client.get("/private")
        assert (reply.status_code, reply.text.strip()) == (403, "Access denied")
        assert client.get("/public").status_code == 200, "the connection goes on"


RULES = {
    "method": ({"method": "GET"}, ("GET", {}), ("POST", {})),
    "host": ({"host": "api\\.example"}, ("GET", {"host": "api.example"}), ("GET", {"host": "other.example"})),
    "header": ({"headers": ["X-Token: abc"]}, ("GET", {"x-token": "abc"}), ("GET", {"x-token": "no"})),
    "missing header": ({"headers": ["X-Token"]}, ("GET", {"x-token": ""}), ("GET", {})),
}


@VERSIONS
@pytest.mark.parametrize(("rule", "good", "bad"), RULES.values(), ids=RULES)
def test_requests_are_told_apart_by(files4, run, options, rule, good, bad):
    files4.policy(http_rule(**rule))
    run(files4)
    with files4.client(**options) as client:
        for (method, headers), status in ((good, 200), (bad, 403)):
            assert client.request(method, "/", headers=headers).status_code == status


def test_a_peer_without_rules_is_refused(files4, run):
    files4.policy(PUBLIC)
    run(files4)
    with files4.client(source=STRANGER) as client, pytest.raises(httpx.TransportError):
        client.get("/public")
    with files4.client() as client:
        assert client.get("/public").status_code == 200


def test_a_peer_without_rules_is_refused_over_ipv6(files, run):
    files.policy(PUBLIC.replace("public", "public"))
    text = (files.directory / "policies/rule.yaml").read_text()
    (files.directory / "policies/rule.yaml").write_text(text.replace("app: client", "app: stranger"))
    run(files)
    with files.client() as client, pytest.raises(httpx.TransportError):
        client.get("/public")


def test_rules_for_another_port_do_not_count(files, run):
    files.policy(PUBLIC)
    policy = files.directory / "policies/rule.yaml"
    policy.write_text(policy.read_text().replace(f'"{files.port}"', f'"{files.port % 65535 + 1}"'))
    run(files)
    with files.client() as client, pytest.raises(httpx.TransportError):
        client.get("/public")


def test_the_path_is_normalised_before_the_verdict(files4, run):
    files4.policy(PUBLIC)
    run(files4)

    def status(path):
        with socket.create_connection((files4.host, files4.port), source_address=(files4.source, 0)) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            return connection.makefile("rb").readline().split()[1]

    assert status("/x/../public") == b"200"
    assert status("//public") == b"200"
    assert status("/public/../private") == b"403"
    assert status("/%70ublic/../private") == b"403"


def test_nothing_is_added_that_nobody_asked_for(files4, run):
    files4.policy(PUBLIC)
    run(files4)
    with files4.client() as client:
        reply = client.get("/public")
    assert reply.headers["server"] == "backend"
    assert not [name for name in reply.headers if name.startswith("x-")]
    names = {name for name, _ in reply.json()["headers"]}
    assert not {"x-request-id", "x-envoy-expected-rq-timeout-ms", "x-forwarded-for"} & names


def test_websockets_pass_where_the_request_is_allowed(files4, run):
    files4.policy(PUBLIC)
    run(files4)

    def upgrade(path):
        connection = socket.create_connection((files4.host, files4.port), source_address=(files4.source, 0))
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        stream = connection.makefile("rwb")
        status = stream.readline().split()[1]
        while stream.readline().strip():
            pass
        return connection, stream, status

    connection, stream, status = upgrade("/public")
    assert status == b"101"
    stream.write(b"hello\n")
    stream.flush()
    assert stream.readline() == b"hello\n"
    stream.close()
    connection.close()
    connection, stream, status = upgrade("/private")
    assert status == b"403"
    stream.close()
    connection.close()


def test_http_1_0_is_served(files4, run):
    files4.policy(PUBLIC)
    run(files4)
    with socket.create_connection((files4.host, files4.port), source_address=(files4.source, 0)) as connection:
        connection.sendall(b"GET /public HTTP/1.0\r\nHost: x\r\n\r\n")
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0]
    assert json.loads(body)["path"] == "/public"


def test_the_access_log_names_the_rule_or_the_reason(files, run):
    files.policy(PUBLIC)
    run(files)
    with files.client() as client:
        client.get("/public")
        client.get("/private")
    entries = eventually(lambda: len(files.entries()) >= 3 and files.entries())
    kinds = [json.dumps(entry) for entry in entries]
    assert sum("DENIED" in kind or "Denied" in kind for kind in kinds) == 1
    assert any("default/rule/ingress/0" in kind for kind in kinds)


def test_a_response_without_content_keeps_the_connection(files4, run):
    files4.policy(http_rule(method="HEAD|GET", path="/public"))
    run(files4)
    with files4.client() as client:
        assert client.head("/private").status_code == 403
        assert client.get("/public").status_code == 200


def test_the_configured_answer_to_denied_requests(files4, run):
    files4.settings["denied"] = {"body": "go away", "reason_header": "x-denied-because"}
    files4.save()
    files4.policy(PUBLIC)
    run(files4)
    with files4.client() as client:
        reply = client.get("/private")
    assert reply.text.strip() == "go away"
    assert reply.headers["x-denied-because"]
