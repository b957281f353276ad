"""`cilium-envoy-starter` as Cilium's chart runs it: privileged, with Envoy confined."""

import asyncio
import ctypes
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from tests.agent import resources
from tests.agent.starter import STARTER, capabilities, privileged
from tests.agent.test_traffic import enforce, status


@privileged
async def test_envoy_has_no_capabilities_and_its_listeners_are_marked(agent, node, bootstrap, start, client):
    proxy = start(bootstrap())
    await enforce(agent, node)
    assert await status(client(), "/public") == 200
    envoy = proxy.envoy()
    assert set(capabilities(envoy).values()) == {0}
    assert "NoNewPrivs:\t1" in Path(f"/proc/{envoy}/status").read_text()
    assert listener_mark(envoy, node.port) == 0x0A00


def listener_mark(pid, port):
    """SO_MARK of a process's listening socket, by a descriptor of it."""
    pidfd = os.pidfd_open(pid)
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            if not str(descriptor.readlink()).startswith("socket:"):
                continue
            found = pidfd_getfd(pidfd, int(descriptor.name))
            with socket.socket(fileno=found) as one:
                if one.family == socket.AF_INET and one.getsockname()[1] == port and is_listening(one):
                    return struct.unpack("i", one.getsockopt(socket.SOL_SOCKET, socket.SO_MARK, 4))[0]
    finally:
        os.close(pidfd)
    raise AssertionError(f"nothing listens on {port}")


def is_listening(one):
    return one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


def pidfd_getfd(pidfd, number):
    libc = ctypes.CDLL(None, use_errno=True)
    found = libc.syscall(438, pidfd, number, 0)
    assert found >= 0, os.strerror(ctypes.get_errno())
    return found


@privileged
async def test_envoy_s_log_has_the_form_that_the_bootstrap_gives_it(agent, node, bootstrap, start):
    proxy = start(bootstrap())
    await enforce(agent, node)
    line = await asyncio.to_thread(proxy.wait_for, "all dependencies initialized")
    assert re.match(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\]\[\d+\]\[info\]", line)


@privileged
async def test_an_envoy_that_is_started_again_is_marked_and_confined_too(agent, node, bootstrap, start, client):
    proxy = start(bootstrap())
    await enforce(agent, node)
    assert await status(client(), "/public") == 200
    async with asyncio.timeout(40):
        while proxy.status()["state"] != "running":
            await asyncio.sleep(0.05)
    before = proxy.envoy()
    os.kill(before, signal.SIGKILL)
    async with asyncio.timeout(40):
        while proxy.envoy() in (None, before) or await status(client(), "/public") != 200:
            await asyncio.sleep(0.1)
    envoy = proxy.envoy()
    assert set(capabilities(envoy).values()) == {0}
    assert listener_mark(envoy, node.port) == 0x0A00


@privileged
async def test_it_stops_with_envoy_on_sigterm(agent, node, bootstrap, start):
    proxy = start(bootstrap())
    await enforce(agent, node)
    envoy = proxy.envoy()
    assert await asyncio.to_thread(proxy.stop, signal.SIGTERM) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(envoy, 0)


def run(*argv, code=STARTER, **options):
    return subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, timeout=60, **options)


def test_an_unknown_argument_of_the_starter_is_named():
    result = run("--nothing", "--", "-c x")
    assert (result.returncode, result.stdout) == (1, "")
    assert "--nothing" in result.stderr


def test_a_bootstrap_that_is_not_there_is_named(tmp_path):
    result = run("--", f"-c {tmp_path / 'none.json'}")
    assert result.returncode == 2
    assert "none.json" in result.stderr


def test_a_bootstrap_that_is_none_is_refused_with_its_file(tmp_path):
    (tmp_path / "bad.json").write_text('{"nodes": 1}')
    result = run("--", f"-c {tmp_path / 'bad.json'}")
    assert result.returncode == 2
    assert result.stderr.startswith(f"{tmp_path / 'bad.json'}: ")
    assert "nodes" in result.stderr


def test_envoy_answers_questions_about_itself():
    result = run("--", "--version")
    assert "1.40.0" in result.stdout


def test_the_bootstrap_for_envoy_is_printed(tmp_path):
    path = tmp_path / "bootstrap.json"
    path.write_text(json.dumps(resources.bootstrap("/run/agent.sock", "/run/admin.sock")))
    result = run("--print-bootstrap", "--", f"-c {path}")
    printed = json.loads(result.stdout)
    assert printed["admin"] == {"address": {"pipe": {"path": "/run/admin.sock"}}}
    assert "cilium.tls_wrapper" not in result.stdout
    assert "/run/agent.sock" not in result.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to have privileges that can be dropped")
def test_missing_capabilities_are_named_with_the_setting_that_grants_them(directory):
    path = directory / "bootstrap.json"
    path.write_text(json.dumps(resources.bootstrap("/run/agent.sock", "/run/admin.sock")))
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", STARTER, "--", f"-c {path}"]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(directory)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert result.returncode == 1
    for name in ("CAP_NET_ADMIN", "CAP_BPF"):
        assert name in result.stderr
    assert "securityContext.capabilities.add" in result.stderr
