"""Namespaces, BPF file systems and native parts; tests that need them are skipped with the reason."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.network.bpf_maps import PinnedMaps, mounted
from tests.network.namespaces import Network
from tests.network.native import Native, build

TOOLS = ("ip", "ss", "nft", "nsenter", "bpftool", "mount", "setpriv", "pgrep")


@pytest.fixture(autouse=True, scope="session")
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip("network tests make namespaces and mount BPF file systems: run them as root")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(
            f"network tests need {', '.join(missing)}: install iproute2, nftables, bpftool, util-linux and procps"
        )


@pytest.fixture(scope="session")
def native(root: None) -> Native:
    cargo = shutil.which("cargo") or shutil.which("cargo", path=str(Path.home() / ".cargo/bin"))
    if cargo is None:
        pytest.skip("network tests build the native parts: cargo was not found in PATH (install it with rustup)")
    return build(cargo)


@pytest.fixture
def network(root: None) -> Iterator[Network]:
    with Network() as network:
        yield network


@pytest.fixture
def maps(root: None, tmp_path: Path) -> Iterator[PinnedMaps]:
    directory = tmp_path / "bpf"
    directory.mkdir()
    with mounted(directory) as maps:
        yield maps
