"""One state-of-the-world xDS stream: every response holds the whole set."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cilium_proxy.api import messages
from cilium_proxy.relay.resources import WILDCARDS, ResourceCache, Subscription, clusters_first

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Watch:
    subscription: Subscription
    names: frozenset[str]
    wildcard: bool
    # What was sent last: nonce, the set's sequence number, the resources.
    nonce: str = ""
    sequence: int = 0
    sent: Mapping[str, bytes] | None = None
    due: bool = True


@dataclass(slots=True)
class SotwStream:
    """Answers the requests of one stream. `fixed_type` is set on streams that carry one type and may not name it."""

    cache: ResourceCache
    fixed_type: str | None = None
    _watches: dict[str, _Watch] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _nonce: int = 0

    async def run(self, requests: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
        """Yields responses until the requests end."""
        reading = asyncio.create_task(self._read(requests))
        try:
            while not reading.done():
                self._wake.clear()
                for url in sorted(self._watches, key=clusters_first):
                    response = await self._response(self._watches[url])
                    if response is not None:
                        yield response
                await self._wake.wait()
            await reading
        finally:
            reading.cancel()
            for watch in self._watches.values():
                await self.cache.unsubscribe(watch.subscription)

    async def _read(self, requests: AsyncIterator[Any]) -> None:
        try:
            async for request in requests:
                await self._request(request)
        finally:
            self._wake.set()

    async def _request(self, request: Any) -> None:
        url = request.type_url or self.fixed_type
        if not url:
            _log.warning("xDS: a request without type URL is ignored")
            return
        watch = self._watches.get(url)
        names = frozenset(request.resource_names)
        if watch is None:
            watch = _Watch(self.cache.subscribe(url, self._changed(url)), names, _is_wildcard(url, names))
            self._watches[url] = watch
            self.cache.want(watch.subscription, names)
            self._wake.set()
            return
        if request.response_nonce and request.response_nonce != watch.nonce:
            # An answer to a response that another has replaced meanwhile.
            return
        if request.response_nonce:
            if request.HasField("error_detail"):
                await self.cache.refuse(watch.subscription, watch.sequence, request.error_detail.message)
            else:
                await self.cache.acknowledge(watch.subscription, watch.sequence)
        if names != watch.names:
            watch.names, watch.wildcard = names, _is_wildcard(url, names)
            self.cache.want(watch.subscription, names)
            # Newly named resources are expected even when they are unchanged.
            watch.sent, watch.due = None, True
            self._wake.set()

    def _changed(self, url: str) -> Any:
        def changed() -> None:
            self._watches[url].due = True
            self._wake.set()

        return changed

    async def _response(self, watch: _Watch) -> Any | None:
        current = self.cache.current(watch.subscription.type_url)
        if not watch.due or current is None:
            return None
        watch.due = False
        if watch.wildcard:
            resources = current.resources
        else:
            resources = {name: current.resources[name] for name in sorted(watch.names) if name in current.resources}
            if resources == (watch.sent or {}):
                # Nothing this stream asked for has changed; an answer that is still due covers this set, too.
                settled = watch.sequence == watch.subscription.taken
                watch.sequence = current.sequence
                if settled:
                    await self.cache.acknowledge(watch.subscription, current.sequence)
                return None
        self._nonce += 1
        watch.nonce, watch.sequence, watch.sent = str(self._nonce), current.sequence, resources
        url = watch.subscription.type_url
        response = messages("envoy.service.discovery.v3.DiscoveryResponse")(
            type_url=url, version_info=current.version, nonce=watch.nonce
        )
        for value in resources.values():
            response.resources.add(type_url=url, value=value)
        return response


def _is_wildcard(url: str, names: frozenset[str]) -> bool:
    return (url in WILDCARDS and not names) or "*" in names
