"""Which Python is embedded in Envoy: this one's installation, as a shared library."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from cilium_proxy import _native
from cilium_proxy.config import Config
from cilium_proxy.config.parsers import MEMORY_MIB, TIME_LIMIT
from cilium_proxy.rewrite.python_parsers import Embedding, PythonParsers
from cilium_proxy.supervisor.command import MissingError, native_file


def of_config(config: Config) -> PythonParsers | None:
    """The parsers of a proxy.yaml. Raises MissingError."""
    parsers = config.parsers
    if parsers is None:
        return None
    return PythonParsers(
        embedding=find(),
        directories=parsers.directories,
        time_limit=parsers.time_limit,
        memory_limit=parsers.memory_limit,
    )


def of_directories(directories: Sequence[Path]) -> PythonParsers | None:
    """The parsers in these directories, with the usual limits; None if there are none. Raises MissingError."""
    if not directories:
        return None
    return PythonParsers(
        embedding=find(),
        directories=[directory.absolute() for directory in directories],
        time_limit=TIME_LIMIT,
        memory_limit=MEMORY_MIB << 20,
    )


def find() -> Embedding:
    """The libraries. Raises MissingError."""
    return Embedding(
        library=native_file(_native.EMBED),
        needed=(_shared_library(),),
        program=Path(sys.executable),
        package=_native.DIRECTORY.parents[1],
    )


def _shared_library() -> Path:
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}{sys.abiflags}.so.1.0"
    directories = [sysconfig.get_config_var("LIBDIR"), f"{sys.base_prefix}/lib"]
    multiarch = sysconfig.get_config_var("MULTIARCH")
    if multiarch:
        directories += [f"{directory}/{multiarch}" for directory in (*directories, "/usr/lib")]
    for directory in directories:
        if directory and Path(directory, name).is_file():
            return Path(directory, name)
    raise MissingError(
        f"Python parsers need {name}, which {sys.executable} has not got: install it (Debian: "
        f"libpython{sys.version_info.major}.{sys.version_info.minor}), or use a Python built with --enable-shared"
    )
