"""Client of Envoy's admin interface."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
from pathlib import Path

from cilium_proxy.config import Address

_TIMEOUT = 5.0
_CONNECTIONS = re.compile(r"^listener\.(?!admin\.).*\.downstream_cx_active: (\d+)$", re.MULTILINE)


class AdminError(Exception):
    """The admin interface did not answer, or not with success."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Admin:
    """Envoy's admin interface on an address or a Unix socket."""

    def __init__(self, where: Address | Path) -> None:
        self._where = where

    async def request(self, method: str, path: str) -> str:
        """The body of the answer. Raises AdminError."""
        return await asyncio.to_thread(self._request, method, path)

    async def is_ready(self, epoch: int | None = None) -> bool:
        """Whether Envoy has all it needs and takes connections; with `epoch`, whether the one of that epoch does."""
        try:
            if epoch is None:
                return (await self.request("GET", "/ready")).startswith("LIVE")
            info = json.loads(await self.request("GET", "/server_info"))
            return bool(info["state"] == "LIVE" and info["command_line_options"]["restart_epoch"] == epoch)
        except (AdminError, ValueError, KeyError):
            return False

    async def drain(self) -> None:
        """Asks clients to go; connections stay open meanwhile. Raises AdminError."""
        await self.request("POST", "/drain_listeners?graceful&skip_exit")

    async def connections(self) -> int:
        """Connections open on all listeners. Raises AdminError."""
        stats = await self.request("GET", "/stats?filter=downstream_cx_active")
        return sum(map(int, _CONNECTIONS.findall(stats)))

    def _request(self, method: str, path: str) -> str:
        connection: http.client.HTTPConnection
        if isinstance(self._where, Path):
            connection = _UnixConnection(self._where)
        else:
            connection = http.client.HTTPConnection(self._where.host, self._where.port, timeout=_TIMEOUT)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise AdminError(f"Envoy's admin interface ({self._where}): {error}") from error
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise AdminError(
                f"Envoy's admin interface ({self._where}): {method} {path}: {response.status} {body[:200]}"
            )
        return body
