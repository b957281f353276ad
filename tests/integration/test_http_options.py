"""What tuning leaves out and `http` of a listener brings back."""

import socket

import httpx
import pytest
from tests.integration.files import LIMIT, http_rule
from tests.integration.proxy import eventually


@pytest.fixture
def request_with(files4, run):
    """Starts the proxy with these options and sends a request."""

    def send(headers=None, **options):
        files4.settings["listeners"][0]["http"] = options
        files4.save()
        files4.policy(http_rule(method="GET"))
        run(files4)
        with files4.client() as client:
            reply = client.get("/public", headers=headers or {})
        assert reply.status_code == 200
        return reply, dict(reply.json()["headers"])

    return send


def test_headers_that_are_asked_for_are_added(request_with, files4):
    reply, sent = request_with(request_id=True, forwarded_for=True, envoy_headers=True, server_header=True)
    assert sent["x-request-id"]
    assert sent["x-forwarded-for"] == files4.source
    assert "x-envoy-upstream-service-time" in reply.headers
    assert reply.headers["server"] == "envoy"


def test_a_request_id_of_the_client_stays(request_with):
    _, sent = request_with({"x-request-id": "theirs"}, request_id=True)
    assert sent["x-request-id"] == "theirs"


def test_statistics_of_upstreams_are_counted(request_with, files4):
    request_with(upstream_statistics=True)

    def counted():
        url = f"http://127.0.0.1:{files4.admin_port}/stats?filter=cluster.api-in.upstream_rq_2xx"
        return "upstream_rq_2xx: 1" in httpx.get(url).text

    assert eventually(counted)


@pytest.mark.parametrize(("protocol", "version"), [("same", "HTTP/1.1"), ("http1", "HTTP/1.1"), ("http2", "HTTP/2")])
def test_the_upstream_is_spoken_to_as_configured(request_with, protocol, version):
    reply, _ = request_with(upstream_protocol=protocol)
    assert reply.http_version == "HTTP/1.1"
    assert reply.json()["version"] == version


def test_a_request_that_is_never_finished_is_ended(files4, run):
    files4.settings["listeners"][0]["http"] = {"idle_timeout": "200ms"}
    files4.save()
    files4.policy(http_rule(method="POST"))
    run(files4)
    with socket.create_connection(
        (files4.host, files4.port), timeout=LIMIT, source_address=(files4.source, 0)
    ) as client:
        client.sendall(b"POST /public HTTP/1.1\r\nhost: api\r\ncontent-length: 10\r\n\r\nhalf")
        assert client.recv(4096).startswith(b"HTTP/1.1 408 ")
