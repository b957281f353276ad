"""The health-check event sink `cilium.health_check.event_sink.pipe`.

Stock Envoy writes such events to files only, as JSON. Where the supervisor reads FIFOs, a sink becomes a file sink that
writes to one, from where the events go on to the configured Unix socket in the reference's binary form. Elsewhere it is
removed: a FIFO that nobody reads would block Envoy.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from cilium_proxy.api import InvalidAnyError, messages, pack, type_url, unpack
from cilium_proxy.rewrite.cilium.errors import RewriteError
from cilium_proxy.rewrite.cilium.options import EventSinks

_SINK = type_url("cilium.HealthCheckEventPipeSink")
_FILE_SINK = "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink"


def fifo_path(directory: Path, socket_path: str) -> Path:
    """The FIFO below `directory` that stands for a sink: one per Unix socket, whichever clusters name it."""
    return directory / f"health-{hashlib.sha256(socket_path.encode()).hexdigest()[:16]}.fifo"


def replace_sinks(health_check: Any, events: EventSinks | None, path: tuple[str, ...], warnings: list[str]) -> bool:
    """Replaces or removes the sinks of a health check; tells whether there were any.

    Raises RewriteError when a sink does not parse or names no socket.
    """
    sinks = [logger for logger in health_check.event_logger if logger.typed_config.type_url == _SINK]
    for sink in sinks:
        target = _socket(sink.typed_config, (*path, "event_logger"))
        if events is None:
            warnings.append(f"health-check events to {target} are not sent: this Envoy has no sink for them")
            health_check.event_logger.remove(sink)
        else:
            file_sink = messages(_FILE_SINK)(event_log_path=str(_fifo(events, target, path)))
            sink.typed_config.CopyFrom(pack(file_sink))
    return bool(sinks)


def _fifo(events: EventSinks, target: str, path: tuple[str, ...]) -> Path:
    try:
        return events.fifo(target)
    except OSError as error:
        raise RewriteError((*path, "event_logger"), f"no FIFO for health-check events: {error}") from error


def _socket(config: Any, path: tuple[str, ...]) -> str:
    try:
        sink = unpack(config)
    except InvalidAnyError as error:
        raise RewriteError(path, str(error)) from error
    if sink is None or not sink.path:
        raise RewriteError((*path, "path"), "cilium.health_check.event_sink.pipe needs the path of a Unix socket")
    return str(sink.path)
