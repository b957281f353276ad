"""`parsers` of proxy.yaml: where parsers written in Python are."""

from __future__ import annotations

from pathlib import Path

from cilium_proxy.config.model import Parsers
from cilium_proxy.yaml import Fields

TIME_LIMIT = 1.0
MEMORY_MIB = 256


def read_parsers(root: Fields, base: Path) -> Parsers | None:
    """None: none are run."""
    fields = root.fields("parsers")
    if fields is None:
        return None
    directories = [base / path for path, _, _ in fields.strings("directories", required=True)]
    if fields.has("directories") and not directories:
        fields.problem("directories", "is empty", "name the directories of the parsers, or remove `parsers`")
    time_limit = fields.seconds("time_limit", low=0.001)
    memory = fields.integer("memory_mib", 16, 1 << 20)
    fields.finish()
    return Parsers(
        directories=tuple(directories),
        time_limit=TIME_LIMIT if time_limit is None else time_limit,
        memory_limit=(MEMORY_MIB if memory is None else memory) << 20,
    )
