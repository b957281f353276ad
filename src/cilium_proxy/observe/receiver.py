"""Entries from a socket, for whoever looks at them in Python."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from cilium_proxy import _core
from cilium_proxy.api import messages


class ReceiverError(OSError):
    """The socket cannot be listened on; the text says why and what to do."""


class Receiver:
    """Listens on a `SOCK_SEQPACKET` Unix socket; hands each `cilium.LogEntry` of any number of senders to `consumer`.

    A native thread receives, so that no sender waits for the event loop. Up to 8 MiB wait for it; what finds no room,
    or is no entry, is left out.
    """

    def __init__(self, path: Path, consumer: Callable[[Any], None]) -> None:
        self.path = path
        self._consumer = consumer
        self._entry = messages("cilium.LogEntry")
        self._queue = _core.LogQueue()
        self._native: _core.LogReceiver | None = None

    async def start(self) -> None:
        """Listens. Replaces a socket that nobody listens on. Raises ReceiverError."""
        self._native = _core.LogReceiver(str(self.path), stream=False, outlet=self._queue)
        asyncio.get_running_loop().add_reader(self._queue, self._take)

    async def close(self) -> None:
        """Takes what has arrived, ends all connections and removes the socket."""
        if self._native is None:
            return
        native, self._native = self._native, None
        asyncio.get_running_loop().remove_reader(self._queue)
        native.close()
        self._take()

    def _take(self) -> None:
        for packet in self._queue.take():
            try:
                entry = self._entry.FromString(packet)
            except DecodeError:
                continue
            self._consumer(entry)
