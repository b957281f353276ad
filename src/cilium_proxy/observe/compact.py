"""The line format of `hubble observe`, with the reason of a denial behind it."""

from __future__ import annotations

from typing import Any

from cilium_proxy import _core
from cilium_proxy.observe.names import Names


class CompactPrinter:
    """Prints entries in Hubble's compact format, in UTC. Keeps the time of requests, so use one for a whole log.

    What could move a terminal's cursor is escaped. The format is crates/observe/src/compact.rs.
    """

    def __init__(self, names: Names | None = None) -> None:
        self._printer = _core.CompactPrinter((names or Names()).native())

    def __call__(self, entry: Any) -> str:
        """One line, without its end."""
        return self._printer.print(entry.SerializeToString())
