"""What the rewriting depends on beside the resource."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from cilium_proxy.rewrite.python_parsers import PythonParsers

Side = Literal["ingress", "egress", "upstream"]
"""Who has a TLS context: listeners of a direction, towards clients, or clusters, towards servers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsContexts:
    """The TLS contexts of policies that Envoy has sockets for, by side and the names the module knows them by.

    `ingress` and `egress` hold `DownstreamTlsContext` messages, `upstream` `UpstreamTlsContext` messages.
    """

    ingress: Mapping[str, Any] = field(default_factory=dict)
    egress: Mapping[str, Any] = field(default_factory=dict)
    upstream: Mapping[str, Any] = field(default_factory=dict)


class EventSinks(Protocol):
    """Takes health-check events from Envoy."""

    def fifo(self, socket_path: str) -> Path:
        """A FIFO that is read, whose events go to the Unix socket."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How resources become stock ones.

    `privileged_sockets`: listeners are marked and transparent, which needs the privileged service.
    `health_events`: makes the FIFOs that stand for health-check event sinks; None removes the sinks.
    `python_parsers`: parsers that the module may run; None: none.
    """

    contexts: TlsContexts = field(default_factory=TlsContexts)
    privileged_sockets: bool = True
    health_events: EventSinks | None = None
    python_parsers: PythonParsers | None = None
