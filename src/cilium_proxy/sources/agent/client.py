"""Keeps the streams to the agent open."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from cilium_proxy.api.services import SERVICES, method
from cilium_proxy.rewrite.cilium.bootstrap import Transport
from cilium_proxy.sources.agent.backoff import Jittered
from cilium_proxy.sources.agent.delta import QUIET, DeltaStream
from cilium_proxy.sources.agent.sotw import SotwStream
from cilium_proxy.sources.agent.stream import Lane, Stream, Subscription, UnreadableError, UnsupportedError
from cilium_proxy.sources.agent.update import Sink

_log = logging.getLogger(__name__)

# The whole state in one response, where the difference is the rule.
_WHOLE: dict[Transport, Transport] = {"delta-ads": "ads", "delta": "split"}
# What is tried next where the agent does not serve a way to speak.
_FALLBACK: dict[Transport, Transport] = {"delta-ads": "ads", "ads": "split", "delta": "split"}
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # The client has its own pauses.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),
)


class AgentClient:
    """An xDS client of the agent behind a Unix socket. Subscriptions last until `close`, whatever the agent does.

    `transport` is how the bootstrap has it; what the agent does not serve gives way to what every agent serves.
    With `whole`, whole states are asked for in place of differences until `resume`: an incremental stream says in any
    number of responses what there is, and nobody knows which is the last. `quiet`: see
    `cilium_proxy.sources.agent.delta`.
    """

    def __init__(
        self,
        socket: Path,
        node: Any,
        transport: Transport,
        sink: Sink,
        *,
        whole: bool = False,
        quiet: float = QUIET,
    ) -> None:
        self.socket = socket
        self.transport = transport
        self._whole = whole
        self.connected: dict[str, bool] = {}
        self._node = node
        self._sink = sink
        self._quiet = quiet
        self._subscriptions: dict[str, Subscription] = {}
        self._lanes: dict[str | None, Lane] = {}
        self._tasks: dict[str | None, asyncio.Task[None]] = {}
        self._channel: grpc.aio.Channel | None = None

    async def start(self) -> None:
        """Connects in the background."""
        self._channel = grpc.aio.insecure_channel(f"unix:{self.socket}", options=_OPTIONS)
        for subscription in tuple(self._subscriptions.values()):
            self._place(subscription)

    async def resume(self) -> None:
        """From now on speaks as the bootstrap has it: `whole` no longer holds."""
        if self._whole:
            self._whole = False
            if self.transport in _WHOLE:
                await self._end_streams()
                for subscription in tuple(self._subscriptions.values()):
                    self._place(subscription)

    async def close(self) -> None:
        """Ends all streams."""
        await self._end_streams()
        if self._channel is not None:
            await self._channel.close()

    async def _end_streams(self) -> None:
        tasks, self._tasks = tuple(self._tasks.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def subscribe(self, type_url: str, names: frozenset[str] = frozenset()) -> None:
        """Asks for resources of a type in place of those asked for before. No names: all of the type."""
        subscription = self._subscriptions.get(type_url)
        if subscription is None:
            subscription = self._subscriptions[type_url] = Subscription(type_url, names)
        elif subscription.names == names:
            return
        subscription.names = names
        if self._channel is not None:
            self._place(subscription)

    def _place(self, subscription: Subscription) -> None:
        """Puts a subscription on its stream; opens that if need be."""
        key = None if self.transport in ("ads", "delta-ads") else subscription.type_url
        if key is not None and key not in SERVICES:
            _log.warning("agent: type %s has no service of its own; the agent cannot be asked for it", key)
            return
        lane = self._lanes.setdefault(key, Lane())
        lane.subscriptions[subscription.type_url] = subscription
        lane.changed.set()
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._keep_open(key, lane))

    async def _keep_open(self, key: str | None, lane: Lane) -> None:
        backoff = Jittered()
        wanted = self.transport
        # How each new agent is spoken to.
        first = transport = _WHOLE.get(wanted, wanted) if self._whole else wanted
        what = "all types" if key is None else key.rpartition(".")[2]
        lost_at: float | None = None
        while True:
            stream = self._stream(transport, key, lane)
            reason = "the agent ended the stream"
            watching = asyncio.create_task(self._watch(stream, what, lost_at))
            try:
                await stream.run(self._open_channel(), method(key, "Delta" if "delta" in transport else "Stream"))
            except UnsupportedError as error:
                fallback = _FALLBACK.get(transport)
                if first != wanted:
                    first = fallback = wanted
                if fallback is not None:
                    _log.info("agent: %s for %s is not served (%s); using %s", transport, what, error, fallback)
                    if fallback == "split" and key is None:
                        self._leave_aggregated()
                        return
                    transport = fallback
                    continue
                reason = str(error)
            except UnreadableError as error:
                reason = str(error)
            except grpc.aio.AioRpcError as error:
                reason = f"{error.code().name}: {error.details()}"
                # The agent that comes back may be another one.
                transport = first
            finally:
                watching.cancel()
                self.connected[what] = False
            if stream.answered.is_set():
                backoff.reset()
            if stream.answered.is_set() or lost_at is None:
                lost_at = time.monotonic()
                _log.warning("agent: stream for %s: %s; connecting again, the last state stays enforced", what, reason)
            await asyncio.sleep(backoff.pause())

    async def _watch(self, stream: Stream, what: str, lost_at: float | None) -> None:
        """Reports that the agent answers again."""
        await stream.answered.wait()
        self.connected[what] = True
        away = "" if lost_at is None else f" again after {time.monotonic() - lost_at:.1f} s"
        _log.info("agent: stream for %s is up%s", what, away)

    def _stream(self, transport: Transport, key: str | None, lane: Lane) -> Stream:
        if "delta" in transport:
            return DeltaStream(lane, self._node, self._sink, key, quiet=self._quiet)
        return SotwStream(lane, self._node, self._sink, key)

    def _open_channel(self) -> grpc.aio.Channel:
        assert self._channel is not None  # noqa: S101
        return self._channel

    def _leave_aggregated(self) -> None:
        """The agent serves types on streams of their own only."""
        self.transport = "split"
        self._lanes.pop(None, None)
        self._tasks.pop(None, None)
        for subscription in tuple(self._subscriptions.values()):
            self._place(subscription)
