"""An incremental stream to the agent.

A new stream says which resources are held, so that the agent names those that are gone: the whole state may come in
several responses, and what is missing in one of them may be in the next. No versions are said, or rather one that no
resource has: those of an agent that restarted may mean something else. Nor is the agent relied on: what a stream has
not spoken of when nothing has come for a while is removed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from cilium_proxy.api import messages
from cilium_proxy.sources.agent.stream import Stream, UnreadableError
from cilium_proxy.sources.agent.update import RefusedError, Update

_log = logging.getLogger(__name__)

QUIET = 30.0
"""Seconds without a response after which a stream has said all it has to say of a type."""

_UNKNOWN_VERSION = "0"
# Servers take requests of 4 MiB. Where the names held need more than this, they are left to QUIET.
_NAMES_LIMIT = 3 << 20
_NAME_OVERHEAD = 12
_REQUEST = "envoy.service.discovery.v3.DeltaDiscoveryRequest"
_RESPONSE = "envoy.service.discovery.v3.DeltaDiscoveryResponse"
_INVALID_ARGUMENT = 3


@dataclass(slots=True)
class _Exchange:
    """Where the exchange of one type stands on this stream. Answers: nonce, why it is refused."""

    asked: frozenset[str] | None = None
    answers: list[tuple[str, str | None]] = field(default_factory=list)
    responses: int = 0
    # Names held from before the stream that it has not spoken of.
    unconfirmed: set[str] = field(default_factory=set)
    version: str = ""
    quiet: asyncio.TimerHandle | None = None


class DeltaStream(Stream):
    """Every response holds what changed."""

    def __init__(self, *arguments: Any, quiet: float = QUIET) -> None:
        super().__init__(*arguments)
        self._quiet = quiet
        self._exchanges: dict[str, _Exchange] = {}

    async def run(self, channel: grpc.aio.Channel, method: str) -> None:
        """See Stream."""
        try:
            await super().run(channel, method)
        finally:
            for exchange in self._exchanges.values():
                if exchange.quiet is not None:
                    exchange.quiet.cancel()

    def _requests(self) -> Iterator[Any]:
        for url, subscription in tuple(self.lane.subscriptions.items()):
            exchange = self._exchanges.setdefault(url, _Exchange())
            request_type = messages(_REQUEST)
            if exchange.asked != subscription.names:
                before = exchange.asked or frozenset()
                request = request_type(
                    type_url=url,
                    resource_names_subscribe=sorted(subscription.names - before),
                    resource_names_unsubscribe=sorted(before - subscription.names),
                )
                if exchange.asked is None:
                    self._tell_held(request, exchange, subscription.names)
                exchange.asked = subscription.names
                yield request
            answers, exchange.answers = exchange.answers, []
            for nonce, error in answers:
                request = request_type(type_url=url, response_nonce=nonce)
                if error is not None:
                    request.error_detail.code, request.error_detail.message = _INVALID_ARGUMENT, error
                yield request

    def _tell_held(self, request: Any, exchange: _Exchange, names: frozenset[str]) -> None:
        held = self.sink.held(request.type_url)
        exchange.unconfirmed = set(names.intersection(held) if names and "*" not in names else held)
        if sum(len(name.encode()) + _NAME_OVERHEAD for name in exchange.unconfirmed) <= _NAMES_LIMIT:
            request.initial_resource_versions.update(dict.fromkeys(exchange.unconfirmed, _UNKNOWN_VERSION))

    def _read(self, raw: bytes) -> tuple[Any, Update | None]:
        try:
            response = messages(_RESPONSE).FromString(raw)
        except DecodeError as error:
            raise UnreadableError(str(error)) from error
        url = self._type(response)
        if url is None:
            return response, None
        exchange = self._exchanges[url]
        resources: dict[str, bytes] = {}
        for resource in response.resources:
            if resource.name in resources:
                raise UnreadableError(f"two resources are called {resource.name}", response)
            if resource.resource.type_url != url:
                raise UnreadableError(
                    f"{resource.name} is a {resource.resource.type_url or 'nothing'}, not a {url}", response
                )
            resources[resource.name] = resource.resource.value
        exchange.responses += 1
        exchange.version = response.system_version_info or response.nonce
        return response, Update(
            type_url=url,
            version=exchange.version,
            resources=resources,
            removed=tuple(response.removed_resources),
            delta=True,
            first=exchange.responses == 1,
        )

    def _taken(self, update: Update) -> None:
        exchange = self._exchanges[update.type_url]
        exchange.unconfirmed.difference_update(update.resources, update.removed)
        self._await_quiet(update.type_url, exchange)

    def _await_quiet(self, url: str, exchange: _Exchange) -> None:
        if exchange.quiet is not None:
            exchange.quiet.cancel()
            exchange.quiet = None
        if exchange.unconfirmed:
            exchange.quiet = asyncio.get_running_loop().call_later(self._quiet, self._give_up, url, exchange)

    def _give_up(self, url: str, exchange: _Exchange) -> None:
        """Removes what the stream has not spoken of."""
        if self.reading:
            self._await_quiet(url, exchange)
            return
        gone, exchange.unconfirmed, exchange.quiet = tuple(sorted(exchange.unconfirmed)), set(), None
        kind = url.rpartition(".")[2]
        _log.warning("agent: %d of %s that the agent does not speak of any more are removed", len(gone), kind)
        update = Update(type_url=url, version=exchange.version, resources={}, removed=gone, delta=True)

        async def remove() -> None:
            try:
                await (await self.sink.stage(update))
            except RefusedError as error:
                _log.error("agent: %s: the removal is refused: %s", kind, error)

        self._keep(remove())

    def _answer(self, response: Any, error: str | None) -> None:
        self._exchanges[response.type_url or self.fixed_type or ""].answers.append((response.nonce, error))
