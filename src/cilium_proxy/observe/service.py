"""From Envoy's socket to where the configuration wants the access log."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cilium_proxy.config import AccessLog
from cilium_proxy.observe.compact import CompactPrinter
from cilium_proxy.observe.json_lines import print_line
from cilium_proxy.observe.names import Names
from cilium_proxy.observe.receiver import Receiver
from cilium_proxy.observe.targets import FileTarget, SocketTarget, StreamTarget
from cilium_proxy.observe.writer import Target, Writer, WriterStats


@dataclass(frozen=True, slots=True)
class Destination:
    """Where entries go, opened; without a writer nowhere."""

    writer: Writer | None

    async def close(self) -> None:
        """Writes what waits, at most for `writer.PATIENCE` seconds."""
        if self.writer is not None:
            await asyncio.to_thread(self.writer.close)


class AccessLogService:
    """Receives entries on `path` and writes them as `config` says."""

    def __init__(self, path: Path, config: AccessLog, names: Names | None = None) -> None:
        self._config = config
        self._compact = CompactPrinter(names)
        self._destination = Destination(None)
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
        self._destination = await self.open(self._config)
        try:
            await self._receiver.start()
        except OSError:
            await self.close()
            raise

    async def close(self) -> None:
        """Stops listening and writes what waits."""
        await self._receiver.close()
        await self.use(Destination(None))

    async def open(self, config: AccessLog) -> Destination:
        """Opens what another configuration names. Raises OSError that names the path."""
        if config.kind == "none":
            return Destination(None)
        return Destination(Writer(await asyncio.to_thread(_target, config), self._form(config)))

    async def use(self, destination: Destination) -> None:
        """Entries go there from now on; the destination before is closed."""
        before, self._destination = self._destination, destination
        await before.close()

    def reopen(self) -> None:
        """Opens a log file anew: for SIGHUP."""
        if self._destination.writer is not None:
            self._destination.writer.reopen()

    def statistics(self) -> dict[str, int]:
        """Counts since the start, of what was written since the destination was opened."""
        received, writer = self._receiver.stats, self._destination.writer
        written = writer.stats if writer else WriterStats()
        return {
            "senders": self._receiver.senders,
            "received": received.received,
            "malformed": received.malformed,
            "truncated": received.truncated,
            "written": written.written,
            "dropped": written.dropped,
            "failed": written.failed,
        }

    def _take(self, entry: Any, packet: bytes) -> None:
        if self._destination.writer is not None:
            self._destination.writer.put(entry, packet)

    def _form(self, config: AccessLog) -> Callable[[Any, bytes], bytes]:
        if config.kind == "socket":
            return lambda _, packet: packet
        if config.format == "json":
            return lambda entry, _: print_line(entry).encode() + b"\n"
        return lambda entry, _: self._compact(entry).encode() + b"\n"


def _target(config: AccessLog) -> Target:
    match config.kind, config.path:
        case "file", Path() as path:
            return FileTarget(path)
        case "socket", Path() as path:
            return SocketTarget(path)
        case _:
            return StreamTarget(sys.stdout.fileno())
