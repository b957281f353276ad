"""Kind `health_check_sink`: health-check events on their way to Unix sockets; a list in websocket vectors.

What a case logs is written to the sink's FIFO, where Envoy writes its events.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cilium_proxy.api import from_dict, messages, pack
from cilium_proxy.rewrite.cilium.health_check import replace_sinks
from cilium_proxy.supervisor.health_events import HealthEvents
from cilium_proxy.testing.vectors.http_proxy import PATIENCE
from cilium_proxy.testing.vectors.result import Failure, Result, cases_of

Json = dict[str, Any]

LIST = "health_check_sink"
"""Where a document has the cases."""

_CONFIG = "cilium.HealthCheckEventPipeSink"
_EVENT = "envoy.data.core.v3.HealthCheckEvent"
_NAME = "cilium.health_check.event_sink.pipe"
_LONGEST = 1 << 16


def run(document: Any) -> Iterator[Result]:
    """Runs the cases of a document."""
    for case in cases_of(document, LIST):
        result = Result.of(case)
        with result.running():
            if "steps" in case:
                asyncio.run(EventsCase(case, result).run())
            else:
                configuration_case(case, result)
        yield result


def configuration_case(case: Json, result: Result) -> None:
    """The name of the sink, its configuration when nothing is set, and whether a configuration makes one."""
    expect: Json = case.get("expect", {})
    if expect.get("factory", _NAME) != _NAME:
        result.failures.append(Failure(1, "factory", str(expect["factory"]), _NAME))
    for name, value in expect.get("empty_config", {}).items():
        default = getattr(messages(_CONFIG)(), name)
        if default != value:
            result.failures.append(Failure(1, f"empty_config.{name}", repr(value), repr(default)))
    if "config" in case:
        with tempfile.TemporaryDirectory(prefix="cv-") as directory:
            _fifo(HealthEvents(Path(directory)), Path(directory), case["config"])


class EventsCase:
    """One case: servers, sinks and the events between them. Relative paths are those of a directory of its own."""

    def __init__(self, case: Json, result: Result) -> None:
        self.case = case
        self.result = result
        self.fifos: dict[str, Path] = {}
        self.servers: dict[str, Server] = {}

    async def run(self) -> None:
        """Runs the steps in order."""
        with tempfile.TemporaryDirectory(prefix="cv-") as name:
            directory = Path(name)
            events = HealthEvents(directory)
            await events.start()
            try:
                for number, step in enumerate(self.case["steps"], start=1):
                    await self._step(events, directory, number, step)
            finally:
                await events.close()
                for server in self.servers.values():
                    server.close()

    async def _step(self, events: HealthEvents, directory: Path, number: int, step: Json) -> None:
        match step.get("do") or step["expect"]:
            case "listen":
                self.servers[step["server"]] = Server(_placed(directory, step["path"]))
            case "create_sink":
                self.fifos[step["sink"]] = _fifo(events, directory, step["config"])
            case "log":
                # As Envoy does, one line.
                await asyncio.to_thread(_write, self.fifos[step["sink"]], json.dumps(step["event"]) + "\n")
            case "server_receives":
                wanted = from_dict(_EVENT, step["event"])
                got = messages(_EVENT)()
                got.ParseFromString(await self.servers[step["server"]].receive())
                if got != wanted:
                    self.result.failures.append(Failure(number, "server_receives", str(wanted), str(got)))
            case other:
                self.result.unusable = f"step {number}: unknown step {other!r}"


class Server:
    """A receiver of events."""

    def __init__(self, path: str) -> None:
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.bind("\0" + path[1:] if path.startswith("@") else path)
        self._listening.listen()
        self._listening.setblocking(False)
        self._peer: socket.socket | None = None

    async def receive(self) -> bytes:
        """The next packet; empty when none comes."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                if self._peer is None:
                    self._peer, _ = await loop.sock_accept(self._listening)
                    self._peer.setblocking(False)
                return await loop.sock_recv(self._peer, _LONGEST)
        return b""

    def close(self) -> None:
        """Ends."""
        self._listening.close()
        if self._peer is not None:
            self._peer.close()


def _fifo(events: HealthEvents, directory: Path, config: Json) -> Path:
    """Where Envoy writes the events of a sink, once its configuration is that of a stock Envoy."""
    sink = from_dict(_CONFIG, {**config, "path": _placed(directory, config["path"])})
    health_check = messages("envoy.config.core.v3.HealthCheck")()
    health_check.event_logger.add(name=_NAME).typed_config.CopyFrom(pack(sink))
    replace_sinks(health_check, events, (), [])
    stock = messages("envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink")()
    health_check.event_logger[0].typed_config.Unpack(stock)
    return Path(stock.event_log_path)


def _placed(directory: Path, path: str) -> str:
    return path if path.startswith(("@", "/")) else str(directory / path)


def _write(fifo: Path, line: str) -> None:
    with fifo.open("a") as file:
        file.write(line)


__all__ = ["run"]
