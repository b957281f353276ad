"""The health-check event sink `cilium.health_check.event_sink.pipe`.

Stock Envoy writes such events to files only, as JSON. It is given a FIFO, which the supervisor reads; the events go on
to the configured Unix socket in the reference's binary form.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from cilium_proxy.api import messages, pack, type_url
from cilium_proxy.rewrite.cilium.errors import RewriteError

_SINK = type_url("cilium.HealthCheckEventPipeSink")
_FILE_SINK = "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink"


def handles(url: str) -> bool:
    """Whether the type URL is that of the sink."""
    return url == _SINK


def fifo_path(directory: Path, socket_path: str) -> Path:
    """The FIFO below `directory` that stands for a sink: one per Unix socket, the same for all clusters that name it."""
    return directory / f"health-{hashlib.sha256(socket_path.encode()).hexdigest()[:16]}.fifo"


def as_file_sink(sink: Any, directory: Path, path: tuple[str, ...]) -> Any:
    """The `Any` of a file sink that writes to the FIFO of the given pipe sink.

    Raises RewriteError when the sink names no socket.
    """
    if not sink.path:
        raise RewriteError((*path, "path"), "cilium.health_check.event_sink.pipe needs the path of a Unix socket")
    return pack(messages(_FILE_SINK)(event_log_path=str(fifo_path(directory, sink.path))))
