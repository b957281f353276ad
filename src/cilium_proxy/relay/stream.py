"""One xDS stream of an Envoy: requests in, responses out."""

from __future__ import annotations

import abc
import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cilium_proxy.relay.resources import ResourceCache, Subscription, clusters_first
from cilium_proxy.rewrite.instance import instance_of

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Watch:
    """Where the exchange of one type stands."""

    subscription: Subscription
    due: bool = True


W = TypeVar("W", bound=Watch)


class EnvoyStream(abc.ABC, Generic[W]):
    """Answers the requests of one stream. `fixed_type` is set on streams that carry one type and may not name it.

    The kinds differ in what requests and responses look like.
    """

    def __init__(self, cache: ResourceCache, fixed_type: str | None = None) -> None:
        self.cache = cache
        self.fixed_type = fixed_type
        self._watches: dict[str, W] = {}
        self._wake = asyncio.Event()
        self._instance: str | None = None
        self._nonce = 0

    async def run(self, requests: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
        """Yields responses until the requests end."""
        reading = asyncio.create_task(self._read(requests))
        try:
            while not reading.done():
                self._wake.clear()
                for url in sorted(self._watches, key=clusters_first):
                    response = self._response(self._watches[url])
                    if response is not None:
                        yield response
                await self._wake.wait()
            await reading
        finally:
            reading.cancel()
            for watch in self._watches.values():
                self.cache.unsubscribe(watch.subscription)

    async def _read(self, requests: AsyncIterator[Any]) -> None:
        try:
            async for request in requests:
                if self._instance is None:
                    # Later requests need not say it again.
                    self._instance = instance_of(request.node)
                url = request.type_url or self.fixed_type
                if url:
                    self._request(url, request)
                else:
                    _log.warning("xDS: a request without type URL is ignored")
        finally:
            self._wake.set()

    def _subscribe(self, url: str) -> Subscription:
        return self.cache.subscribe(url, lambda: self._make_due(self._watches[url]), self._instance or "")

    def _make_due(self, watch: W) -> None:
        watch.due = True
        self._wake.set()

    def _next_nonce(self) -> str:
        self._nonce += 1
        return str(self._nonce)

    @abc.abstractmethod
    def _request(self, url: str, request: Any) -> None:
        """Takes a request."""

    @abc.abstractmethod
    def _response(self, watch: W) -> Any | None:
        """The response that is due, if there is one."""
