"""What a bootstrap needs for parsers written in Python: where the module finds them, and a feature of Envoy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cilium_proxy.api import messages

HOLD_CLOSES = "envoy.reloadable_features.connection_close_through_filter_manager"
"""Lets a filter put off the end of a connection whose bytes it still judges. Off unless switched on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """The Python that is embedded in Envoy.

    `library` embeds it and needs the libraries `needed`; `program` is one of the installation's executables, `package`
    the directory with the package `cilium_proxy`.
    """

    library: Path
    needed: tuple[Path, ...]
    program: Path
    package: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonParsers:
    """Where parsers are looked for, in order. `time_limit` in seconds, `memory_limit` in bytes."""

    embedding: Embedding
    directories: Sequence[Path]
    time_limit: float
    memory_limit: int


def configure(bootstrap: Any, module: Any, parsers: PythonParsers | None) -> None:
    """Has `module`, a `cilium_proxy.v1.ModuleBootstrap`, run parsers, and Envoy let it. None: nothing changes."""
    if parsers is None:
        return
    embedding = parsers.embedding
    module.python_parsers.CopyFrom(
        messages("cilium_proxy.v1.PythonParsers")(
            library=str(embedding.library),
            needed=[str(library) for library in embedding.needed],
            program=str(embedding.program),
            package=str(embedding.package),
            directories=[str(directory) for directory in parsers.directories],
            memory=parsers.memory_limit,
        )
    )
    module.python_parsers.time_limit.FromNanoseconds(round(parsers.time_limit * 1e9))
    layers = bootstrap.layered_runtime.layers
    if not layers:
        # What Envoy has without any.
        layers.add(name="admin").admin_layer.SetInParent()
    others = list(layers)
    del layers[:]
    layers.add(name="cilium_proxy").static_layer.update({HOLD_CLOSES: True})
    layers.extend(others)
