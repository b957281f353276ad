"""One xDS stream to the agent: requests out, responses to the sink, answers back."""

from __future__ import annotations

import abc
import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from cilium_proxy.sources.agent.update import RefusedError, Sink, Update

_log = logging.getLogger(__name__)

# Bytes from which a response is read in a thread.
_LARGE = 256 << 10


class UnsupportedError(Exception):
    """The agent does not serve the method."""


class UnreadableError(Exception):
    """A response does not parse. `response` is what did; None: not even its nonce is known, the stream is useless."""

    def __init__(self, text: str, response: Any = None) -> None:
        super().__init__(text)
        self.response = response


@dataclass(slots=True)
class Subscription:
    """What is wanted of one type. No names: all, for types that have such a subscription."""

    type_url: str
    names: frozenset[str] = frozenset()


@dataclass(slots=True)
class Lane:
    """The subscriptions that share a stream. `changed` is set when there is something to tell the agent."""

    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Stream(abc.ABC):
    """Runs until the agent ends it. The kinds differ in what requests and responses look like."""

    def __init__(self, lane: Lane, node: Any, sink: Sink, fixed_type: str | None) -> None:
        self.lane = lane
        self.node = node
        self.sink = sink
        self.fixed_type = fixed_type
        # Set with the first response.
        self.answered = asyncio.Event()
        # A response is being read.
        self.reading = False
        self._node_sent = False
        self._settling: set[asyncio.Task[None]] = set()

    async def run(self, channel: grpc.aio.Channel, method: str) -> None:
        """Returns when the agent ended the stream. Raises UnsupportedError, UnreadableError, AioRpcError."""
        call: Any = channel.stream_stream(method, request_serializer=None, response_deserializer=None)()
        writing = asyncio.create_task(self._write(call))
        try:
            async for raw in call:
                self.answered.set()
                await self._receive(raw)
            _check(await call.code(), await call.details(), self.answered.is_set())
        except grpc.aio.AioRpcError as error:
            _check(error.code(), error.details(), self.answered.is_set())
            raise
        finally:
            call.cancel()
            writing.cancel()
            # What is staged already stays in force; nobody is there to hear of it.
            for task in self._settling:
                task.cancel()
            await asyncio.gather(writing, *self._settling, return_exceptions=True)

    async def _write(self, call: Any) -> None:
        try:
            while True:
                self.lane.changed.clear()
                for request in self._requests():
                    if not self._node_sent:
                        # Once per stream, as the protocol has it.
                        request.node.CopyFrom(self.node)
                        self._node_sent = True
                    await call.write(request.SerializeToString())
                await self.lane.changed.wait()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The reader learns why the stream ended.
            return

    async def _receive(self, raw: bytes) -> None:
        try:
            response, update = await self._parse(raw)
        except UnreadableError as error:
            if error.response is None:
                raise
            response, outcome = error.response, str(error)
        else:
            if update is None:
                return
            self._taken(update)
            try:
                settled = await self.sink.stage(update)
            except RefusedError as error:
                outcome = str(error)
            else:
                self._await(response, settled)
                return
        self._answer(response, outcome)
        self.lane.changed.set()

    async def _parse(self, raw: bytes) -> tuple[Any, Update | None]:
        self.reading = True
        try:
            return await asyncio.to_thread(self._read, raw) if len(raw) > _LARGE else self._read(raw)
        finally:
            self.reading = False

    def _await(self, response: Any, settled: Awaitable[None]) -> None:
        async def settle() -> None:
            try:
                await settled
            except RefusedError as error:
                self._answer(response, str(error))
            else:
                self._answer(response, None)
            self.lane.changed.set()

        self._keep(settle())

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Does this as long as the stream lasts."""
        task = asyncio.create_task(work)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    def _type(self, response: Any) -> str | None:
        """The type of a response, None when nobody asked for it."""
        url: str = response.type_url or self.fixed_type or ""
        if url in self.lane.subscriptions:
            return url
        _log.warning("agent: a response of type %s, which was not asked for, is ignored", url or "none")
        return None

    @abc.abstractmethod
    def _requests(self) -> Iterable[Any]:
        """The requests that are due."""

    @abc.abstractmethod
    def _read(self, raw: bytes) -> tuple[Any, Update | None]:
        """Parses a response; no update: it is to be ignored. Raises UnreadableError. May run in a thread."""

    @abc.abstractmethod
    def _taken(self, update: Update) -> None:
        """An update goes to the sink."""

    @abc.abstractmethod
    def _answer(self, response: Any, error: str | None) -> None:
        """Makes the answer to a response due."""


def _check(code: grpc.StatusCode, details: str | None, answered: bool) -> None:
    # gRPC servers reject unknown methods while the first request is being written.
    if not answered and code in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL):
        raise UnsupportedError(details or code.name)
