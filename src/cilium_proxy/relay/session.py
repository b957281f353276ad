"""One connected module."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from typing import Any

from cilium_proxy.api import messages
from cilium_proxy.relay import frames
from cilium_proxy.relay.state import Change, RejectedError, TypeState

_log = logging.getLogger(__name__)

# Bytes and resources after which a large transaction lets other tasks run.
_CHUNK = 256 << 10
_TURN = 1000
# In the place of a sequence number: the module holds nothing, or something that is not the accepted state.
_UNKNOWN = -1


class LostError(Exception):
    """The module's connection ended."""


class Session:
    """Gives a module its transactions and takes the results."""

    def __init__(self, writer: asyncio.StreamWriter, hello: Any, timeout: float) -> None:
        self.instance: str = hello.instance
        self.connected_at = time.time()
        self.lost = asyncio.Event()
        self._writer = writer
        self._timeout = timeout
        self._writing = asyncio.Lock()
        self._transactions = itertools.count(1)
        self._results: dict[int, asyncio.Future[Any]] = {}
        self._applied = {applied.type_url: applied for applied in hello.applied}
        self._held: dict[str, int] = {}
        self.versions: dict[str, str] = {}

    def greet(self, state: TypeState, epoch: int) -> None:
        """Compares what the module says it enforces with the accepted state."""
        applied = self._applied.get(state.type_url)
        self._held[state.type_url] = _UNKNOWN
        if applied is not None and applied.epoch == epoch and applied.digest in state.digests:
            self._held[state.type_url] = state.sequence
            self.versions[state.type_url] = applied.version

    def holds(self, state: TypeState) -> bool:
        """Whether the module enforces the accepted state; always, as long as there is none."""
        return state.sequence == 0 or self._held[state.type_url] == state.sequence

    async def replay(self, state: TypeState) -> None:
        """Gives the module the accepted state if it lacks it. Raises RejectedError, LostError."""
        if not self.holds(state):
            state.digests.add(await self._transact(state, state.whole()))
            self._held[state.type_url] = state.sequence

    async def offer(self, state: TypeState, change: Change) -> bytes:
        """Gives the module a change. Returns the digest of what it took. Raises RejectedError, LostError.

        Until `accepted` says that the change is the accepted state, the module counts as holding something else.
        """
        if not change.full and self._held[state.type_url] != state.sequence:
            # There is nothing on the module's side that a difference could be to.
            change = state.whole_after(change)
        return await self._transact(state, change)

    def accepted(self, state: TypeState) -> None:
        """The change offered last became the accepted state."""
        self._held[state.type_url] = state.sequence

    async def _transact(self, state: TypeState, change: Change) -> bytes:
        if self.lost.is_set():
            raise LostError(self.instance)
        held = self._held[state.type_url]
        # True until the result says otherwise.
        self._held[state.type_url] = _UNKNOWN
        txn = next(self._transactions)
        result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._results[txn] = result
        try:
            async with asyncio.timeout(self._timeout):
                digest = await self._send(txn, state, change)
                outcome = await result
        except TimeoutError:
            # The module says what it holds when it is back.
            self.close()
            raise RejectedError(f"module {self.instance} did not answer within {self._timeout:g} s") from None
        except ConnectionError as error:
            raise LostError(self.instance) from error
        finally:
            self._results.pop(txn, None)
        match outcome.WhichOneof("outcome"):
            case "accepted":
                self.versions[state.type_url] = change.version
                return digest
            case "rejected":
                self._held[state.type_url] = held
                raise RejectedError(outcome.rejected.detail)
            case "base_mismatch" if not change.full:
                return await self._transact(state, state.whole_after(change))
            case other:
                self.close()
                raise RejectedError(f"module {self.instance} answered a transaction with {other or 'nothing'}")

    async def _send(self, txn: int, state: TypeState, change: Change) -> bytes:
        digest = frames.Digest()
        buffer = bytearray()
        frame_class = messages("cilium_proxy.v1.Frame")
        async with self._writing:
            try:
                begin = {
                    "txn": txn,
                    "type_url": state.type_url,
                    "kind": "FULL" if change.full else "DELTA",
                    "base_version": "" if change.full else state.version,
                    "target_version": change.version,
                    "new_stream": change.new_stream,
                }
                buffer += frames.encode(begin=begin)
                for number, (name, resource) in enumerate(change.upserts.items()):
                    digest.upsert(name, resource)
                    frame = frame_class()
                    frame.upsert.name = name
                    frame.upsert.resource = resource
                    body = frame.SerializeToString()
                    buffer += len(body).to_bytes(4, "big") + body
                    if len(buffer) > _CHUNK or number % _TURN == _TURN - 1:
                        await self._flush(buffer)
                for name in change.removed:
                    digest.remove(name)
                    buffer += frames.encode(remove={"name": name})
                    if len(buffer) > _CHUNK:
                        await self._flush(buffer)
                buffer += frames.encode(commit={"txn": txn, "count": digest.count, "digest": digest.digest()})
                await self._flush(buffer)
            except asyncio.CancelledError:
                # Half a transaction is on the wire: the connection cannot be used any more.
                self.close()
                raise
        return digest.digest()

    async def _flush(self, buffer: bytearray) -> None:
        self._writer.write(bytes(buffer))
        buffer.clear()
        await self._writer.drain()
        await asyncio.sleep(0)

    async def receive(self, reader: asyncio.StreamReader) -> None:
        """Takes results until the connection ends. Raises frames.FrameError."""
        try:
            while (frame := await frames.read(reader)) is not None:
                if frame.WhichOneof("kind") != "result":
                    raise frames.FrameError(f"a {frame.WhichOneof('kind')} frame where only results are expected")
                waiting = self._results.get(frame.result.txn)
                if waiting is not None and not waiting.done():
                    waiting.set_result(frame.result)
        except ConnectionError as error:
            _log.debug("module %s: %s", self.instance, error)
        finally:
            self.close()

    def close(self) -> None:
        """Ends the connection; waiting transactions end with LostError."""
        self.lost.set()
        self._writer.close()
        for waiting in self._results.values():
            if not waiting.done():
                waiting.set_exception(ConnectionResetError(f"module {self.instance} is gone"))
