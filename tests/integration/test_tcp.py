"""Listeners without HTTP: the verdict is the connection's."""

import socket

import pytest
from tests.integration.addresses import STRANGER
from tests.integration.files import LIMIT, Files


@pytest.fixture
def tcp(directory, host, backend):
    return Files(directory, host, backend("::1" if ":" in host else "127.0.0.1"), protocol="tcp")


def exchange(files, source):
    with socket.create_connection((files.host, files.port), LIMIT, source_address=(source, 0)) as connection:
        connection.sendall(b"TCP hello")
        # The echo may come in pieces, which recv of a socket with a timeout does not wait for.
        return connection.makefile("rb").read(len(b"TCP hello"))


def test_an_allowed_peers_bytes_pass(tcp, run):
    tcp.policy()
    run(tcp)
    assert exchange(tcp, tcp.source) == b"TCP hello"


def test_another_peers_connection_is_reset(tcp, run):
    tcp.policy()
    policy = tcp.directory / "policies/rule.yaml"
    policy.write_text(policy.read_text().replace("app: client", "app: stranger"))
    run(tcp)
    with pytest.raises(ConnectionResetError):
        exchange(tcp, tcp.source)


def test_peers_are_told_apart(directory, backend, run):
    files = Files(directory, "127.0.0.2", backend(), protocol="tcp")
    files.policy()
    run(files)
    assert exchange(files, files.source) == b"TCP hello"
    with pytest.raises(ConnectionResetError):
        exchange(files, STRANGER)


def test_egress_is_decided_by_where_it_goes(directory, backend, run):
    files = Files(directory, "127.0.0.2", backend(), protocol="tcp")
    files.settings["listeners"][0] |= {"direction": "egress"}
    files.save()
    port = files.upstream.rpartition(":")[2]
    rule = (
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: out}\n"
        "spec:\n  endpointSelector: {matchLabels: {app: api}}\n  egress:\n    - toCIDR: [%s]\n"
        f'      toPorts: [{{ports: [{{port: "{port}", protocol: TCP}}]}}]\n'
    )
    policy = files.directory / "policies/out.yaml"
    policy.write_text(rule % "192.0.2.0/24")
    proxy = run(files)
    with pytest.raises(ConnectionResetError):
        exchange(files, STRANGER)
    policy.write_text(rule % "127.0.0.1/32")
    proxy.wait_for("in force")
    assert exchange(files, STRANGER) == b"TCP hello"
