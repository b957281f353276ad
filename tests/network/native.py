"""The native parts, built."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Native:
    """What cargo made, unoptimised."""

    target: Path

    @property
    def sockets(self) -> Path:
        """The library to preload."""
        return self.target / "libcilium_sockets.so"

    @property
    def launch(self) -> Path:
        """Starts a program without privileges."""
        return self.target / "cilium-envoy-launch"

    @property
    def look_up(self) -> Path:
        """Reads BPF maps through the privileged service."""
        return self.target / "examples" / "look_up"

    def confined(self, *command: str | Path, root: Path | str = "/sys/fs/bpf", preload: bool = True) -> list[str]:
        """The command as the supervisor starts Envoy: without privileges, with the service and the library."""
        library = ["--preload", str(self.sockets)] if preload else []
        return [str(self.launch), "--bpf-root", str(root), *library, "--", *map(str, command)]

    def alone(self, *command: str | Path) -> list[str]:
        """The command without privileges and without the service, with the library."""
        return [str(self.launch), "--preload", str(self.sockets), "--", *map(str, command)]


def build(cargo: str) -> Native:
    """Builds libraries, executables and examples of the two crates."""
    packages = ["--package", "cilium-sockets", "--package", "cilium-privileged"]
    subprocess.run([cargo, "build", "--locked", *packages, "--lib", "--bins", "--examples"], cwd=ROOT, check=True)
    return Native(Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug")
