"""TLS that policy chooses (`cilium-proxy run`) against the same TLS of an Envoy that is configured for it.

Both take the client's TLS apart and open TLS to the server, as TCP proxies with the same certificates. Each takes its
turn in every round: with a new connection for every request, then with large answers on connections that stay.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.certificates import authority

from bench.http import load, peers
from bench.http.load import Sample
from bench.http.peers import HOST, Peer, envoy_command, free_port, running
from bench.machine import machine
from bench.policy import CLIENT_LABELS, LABELS, policy

PROXY_CORE, LOAD_CORE = 0, 1
BASE, OURS = "plain Envoy", "cilium-proxy run"
ENDPOINT = "127.0.0.2"
LARGE = 1 << 20

Json = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """A kind of load. `unit`: what a request is in the table."""

    unit: str
    path: str
    connections: int
    headers: tuple[str, ...] = ()


SHAPES = {
    "new connections": Shape("connection", "/", 16, ("Connection: close",)),
    "bytes": Shape("MiB", "/files/large", 4),
}


def main(rounds: int, seconds: float) -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory(prefix="cilium-bench-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        # The server's workers read it, too.
        directory.chmod(0o755)
        # wrk names the address as the server's name, and that is what the server must be.
        authority().issue("bench.test", HOST).write(directory, "bench")
        (directory / "ca.pem").write_text(authority().pem)
        (directory / "large").write_bytes(bytes(LARGE))
        backend = stack.enter_context(peers.tls_backend(directory, LOAD_CORE, _certificate(directory)))
        proxies = [
            stack.enter_context(_plain(backend, directory)),
            stack.enter_context(_policy(backend, directory)),
        ]
        samples = _measure(proxies, rounds, seconds)
    _print(samples, rounds, seconds)


def _certificate(directory: Path) -> tuple[Path, Path]:
    return directory / "bench.pem", directory / "bench.key"


def _measure(proxies: list[Peer], rounds: int, seconds: float) -> dict[tuple[str, str], list[Sample]]:
    samples: dict[tuple[str, str], list[Sample]] = {}
    for _ in range(rounds):
        for name, shape in SHAPES.items():
            for peer in proxies:
                sample = load.run(
                    f"https://{HOST}:{peer.port}{shape.path}",
                    peer.pid,
                    seconds=seconds,
                    connections=shape.connections,
                    core=LOAD_CORE,
                    headers=shape.headers,
                )
                samples.setdefault((name, peer.name), []).append(sample)
    return samples


@contextlib.contextmanager
def _plain(backend: int, directory: Path) -> Iterator[Peer]:
    """An Envoy that always does TLS on both sides."""
    port = free_port()
    with running(envoy_command(_static(port, backend, directory), directory / "envoy.json"), port, PROXY_CORE) as pid:
        yield Peer(BASE, port, pid)


@contextlib.contextmanager
def _policy(backend: int, directory: Path) -> Iterator[Peer]:
    """This proxy: the policy has a rule with both kinds of TLS."""
    port = free_port()
    rule = {
        "ports": [{"port": str(port), "protocol": "TCP"}],
        "terminatingTLS": {"secret": {"name": "bench"}},
        "originatingTLS": {"secret": {"name": "bench"}},
    }
    (directory / "policy.json").write_text(policy([rule]))
    chain, key = _certificate(directory)
    listener = {"name": "bench", "direction": "ingress", "address": f"{HOST}:{port}", "endpoint": "bench"}
    config = {
        "endpoints": [{"name": "bench", "labels": LABELS, "ips": [ENDPOINT]}],
        "identities": [{"name": "client", "labels": CLIENT_LABELS, "cidrs": [f"{HOST}/32"]}],
        "listeners": [{**listener, "upstream": f"{HOST}:{backend}", "protocol": "tcp", "tls": True}],
        "secrets": {"bench": {"tls.crt": str(chain), "tls.key": str(key), "ca.crt": "ca.pem"}},
        "policies": ["policy.json"],
        "access_log": False,
        "admin": False,
        "concurrency": 1,
    }
    with peers.cilium_proxy(config, port, directory, PROXY_CORE) as pid:
        yield Peer(OURS, port, pid)


def _static(port: int, backend: int, directory: Path) -> Json:
    chain, key = ({"filename": str(path)} for path in _certificate(directory))
    tls = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
    downstream = {"tls_certificates": [{"certificate_chain": chain, "private_key": key}]}
    upstream = {
        "validation_context": {"trusted_ca": {"filename": str(directory / "ca.pem")}},
        "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
    }
    sockets = [
        {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {"@type": f"{tls}.{side}TlsContext", "common_tls_context": context},
        }
        for side, context in (("Downstream", downstream), ("Upstream", upstream))
    ]
    proxy = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "tcp",
        "cluster": "backend",
    }
    listener = {
        "name": "bench",
        "address": {"socket_address": {"address": HOST, "port_value": port}},
        "filter_chains": [{"filters": [{"name": "tcp", "typed_config": proxy}], "transport_socket": sockets[0]}],
    }
    endpoint = {"endpoint": {"address": {"socket_address": {"address": HOST, "port_value": backend}}}}
    cluster = {
        "name": "backend",
        "type": "STATIC",
        "transport_socket": sockets[1],
        "load_assignment": {"cluster_name": "backend", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _print(samples: dict[tuple[str, str], list[Sample]], rounds: int, seconds: float) -> None:
    print(machine())
    print("TLS 1.3, P-256, on both sides; proxy with one worker on one core, load and server on the other;")
    print(f"{rounds} rounds of {seconds:g} s; ratios are to {BASE} in the same round, CPU ratio: its CPU by ours\n")
    print(f"{'':34}{'per s':>10}{'ratio':>8}{'CPU us per':>12}{'ratio':>8}")
    for name, shape in SHAPES.items():
        base = samples[name, BASE]
        for peer in (BASE, OURS):
            own = samples[name, peer]
            rate, cpu = (statistics.median(getattr(one, field) for one in own) for field in ("rate", "cpu_us"))
            rates = statistics.median(one.rate / other.rate for one, other in zip(own, base, strict=True))
            costs = statistics.median(other.cpu_us / one.cpu_us for one, other in zip(own, base, strict=True))
            print(f"{f'{peer}, {shape.unit}':34}{rate:10,.0f}{rates:8.2f}{cpu:12.0f}{costs:8.2f}")
    print()
