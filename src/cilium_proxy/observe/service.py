"""From Envoy's socket to where the configuration wants the access log."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cilium_proxy.config import AccessLog
from cilium_proxy.observe.compact import CompactPrinter
from cilium_proxy.observe.json_lines import print_line
from cilium_proxy.observe.names import Names
from cilium_proxy.observe.receiver import Receiver
from cilium_proxy.observe.targets import FileTarget, SocketTarget, StreamTarget
from cilium_proxy.observe.writer import Target, Writer


class AccessLogService:
    """Receives entries on `path` and writes them as `config` says."""

    def __init__(self, path: Path, config: AccessLog, names: Names | None = None) -> None:
        self._config = config
        self._compact = CompactPrinter(names)
        self._writer: Writer | None = None
        self._receiver = Receiver(path, self._take)

    @property
    def names(self) -> Names:
        """What identities and endpoints are called. Set it when they change."""
        return self._compact.names

    @names.setter
    def names(self, names: Names) -> None:
        self._compact.names = names

    async def start(self) -> None:
        """Opens the destination, then listens. Raises OSError (ReceiverError among them) that names the path."""
        if self._config.kind != "none":
            self._writer = Writer(await asyncio.to_thread(self._target), self._form())
        try:
            await self._receiver.start()
        except OSError:
            await self.close()
            raise

    async def close(self) -> None:
        """Stops listening and writes what waits, at most for `writer.PATIENCE` seconds."""
        await self._receiver.close()
        if self._writer is not None:
            await asyncio.to_thread(self._writer.close)
            self._writer = None

    def reopen(self) -> None:
        """Opens a log file anew: for SIGHUP."""
        if self._writer is not None:
            self._writer.reopen()

    def statistics(self) -> dict[str, int]:
        """Counts since the start."""
        received, written = self._receiver.stats, self._writer.stats if self._writer else None
        return {
            "senders": self._receiver.senders,
            "received": received.received,
            "malformed": received.malformed,
            "truncated": received.truncated,
            "written": written.written if written else 0,
            "dropped": written.dropped if written else 0,
            "failed": written.failed if written else 0,
        }

    def _take(self, entry: Any, packet: bytes) -> None:
        if self._writer is not None:
            self._writer.put(entry, packet)

    def _target(self) -> Target:
        match self._config.kind, self._config.path:
            case "file", Path() as path:
                return FileTarget(path)
            case "socket", Path() as path:
                return SocketTarget(path)
            case _:
                return StreamTarget(sys.stdout.fileno())

    def _form(self) -> Callable[[Any, bytes], bytes]:
        if self._config.kind == "socket":
            return lambda _, packet: packet
        if self._config.format == "json":
            return lambda entry, _: print_line(entry).encode() + b"\n"
        return lambda entry, _: self._compact(entry).encode() + b"\n"
