"""Questions to a running proxy over its Unix socket: one line of JSON each way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from cilium_proxy.relay import sockets

_TIMEOUT = 10.0
_TURNS = 5

Answer = Callable[[], Awaitable[dict[str, Any]]]


class UnreachableError(Exception):
    """No proxy answers on the socket; the text says what to do."""


class ControlServer:
    """Answers by the question's name."""

    def __init__(self, path: Path, answers: Mapping[str, Answer]) -> None:
        self.path = path
        self._answers = answers
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listens. Raises sockets.SocketError."""
        self._server = await asyncio.start_unix_server(self._serve, sock=sockets.listen(self.path))

    async def close(self) -> None:
        """Stops listening, and ends when those who asked have their answers."""
        if self._server is not None:
            # A connection accepted just now is served some turns of the loop later; a closed server would leak it.
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            self._server.close()
            self.path.unlink(missing_ok=True)
            await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        self._serving.add(task)
        try:
            async with asyncio.timeout(_TIMEOUT):
                question = (await reader.readline()).decode(errors="replace").strip()
            answer = self._answers.get(question)
            reply = await answer() if answer else {"error": f"no such question: {question[:100]}"}
            async with asyncio.timeout(_TIMEOUT):
                writer.write(json.dumps(reply).encode() + b"\n")
                await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            return
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            self._serving.discard(task)


def ask(path: Path, question: str, patience: float = _TIMEOUT) -> dict[str, Any]:
    """The running proxy's answer, for which it may take `patience` seconds. Raises UnreachableError."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(patience)
            connection.connect(str(path))
            connection.sendall(question.encode() + b"\n")
            with connection.makefile("rb") as reply:
                line = reply.readline()
        answer: dict[str, Any] = json.loads(line)
    except (OSError, ValueError) as error:
        raise UnreachableError(f"no proxy answers on {path}: {error}") from error
    return answer
