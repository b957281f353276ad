"""From Envoy's socket to where the configuration wants the access log."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from cilium_proxy import _core
from cilium_proxy.config import AccessLog
from cilium_proxy.observe.names import Names

PATIENCE = 2.0
"""Seconds that a destination has for what waits when it is closed."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where entries go, opened; without a native one nowhere."""

    native: _core.LogDestination | None

    async def close(self) -> None:
        """Writes what waits, at most for `PATIENCE` seconds."""
        if self.native is not None:
            await asyncio.to_thread(self.native.close, PATIENCE)


class AccessLogService:
    """Receives entries on `path` and writes them as `config` says, in native threads.

    With `stream`, senders write to a `SOCK_STREAM` socket, each entry behind its length as a protobuf varint; otherwise
    to a `SOCK_SEQPACKET` socket, an entry per packet.
    """

    def __init__(self, path: Path, config: AccessLog, names: Names | None = None, *, stream: bool = False) -> None:
        self._path = path
        self._config = config
        self._names = names or Names()
        self._stream = stream
        self._destination = Destination(None)
        self._receiver: _core.LogReceiver | None = None

    @property
    def names(self) -> Names:
        """What identities and endpoints are called. Set it when they change."""
        return self._names

    @names.setter
    def names(self, names: Names) -> None:
        self._names = names
        if self._destination.native is not None:
            self._destination.native.set_names(names.native())

    async def start(self) -> None:
        """Opens the destination, then listens. Raises OSError (ReceiverError among them) that names the path."""
        self._destination = await self.open(self._config)
        try:
            self._receiver = _core.LogReceiver(str(self._path), self._stream, self._destination.native)
        except OSError:
            await self.close()
            raise

    async def close(self) -> None:
        """Stops listening and writes what waits."""
        if self._receiver is not None:
            await asyncio.to_thread(self._receiver.close)
        await self._destination.close()

    async def open(self, config: AccessLog) -> Destination:
        """Opens what another configuration names. Raises OSError that names the path."""
        if config.kind == "none":
            return Destination(None)
        path = None if config.path is None else str(config.path)
        # In a thread: a named pipe is opened when somebody reads it.
        native = _core.LogDestination
        return Destination(await asyncio.to_thread(native, config.kind, config.format, path, self._names.native()))

    async def use(self, destination: Destination) -> None:
        """Entries go there from now on; the destination before is closed."""
        before, self._destination = self._destination, destination
        self.names = self._names
        if self._receiver is not None:
            self._receiver.redirect(destination.native)
        await before.close()

    def reopen(self) -> None:
        """Opens a log file anew: for SIGHUP."""
        if self._destination.native is not None:
            self._destination.native.reopen()

    def statistics(self) -> dict[str, int]:
        """Counts since the start, of what was written since the destination was opened."""
        counts = dict.fromkeys(("senders", "received", "malformed", "truncated", "written", "dropped", "failed"), 0)
        for native in (self._receiver, self._destination.native):
            for name, count in native.statistics().items() if native is not None else ():
                counts[name] += count
        return counts
