"""A state-of-the-world stream to the agent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError

from cilium_proxy.api import messages
from cilium_proxy.sources.agent.names import UnnamedError, name_and_value
from cilium_proxy.sources.agent.stream import Stream, UnreadableError
from cilium_proxy.sources.agent.update import Update

_REQUEST = "envoy.service.discovery.v3.DiscoveryRequest"
_RESPONSE = "envoy.service.discovery.v3.DiscoveryResponse"
_INVALID_ARGUMENT = 3


@dataclass(slots=True)
class _Exchange:
    """Where the exchange of one type stands on this stream."""

    asked: frozenset[str] | None = None
    version: str = ""
    # Of the response received last, and of the one answered last.
    received: str = ""
    nonce: str = ""
    error: str | None = None
    answer_due: bool = False
    responses: int = 0
    # Names of the resources of the response before, by their bytes.
    names: dict[bytes, str] = field(default_factory=dict)


class SotwStream(Stream):
    """Every response holds the whole set. A new stream asks without version: the agent may count anew."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._exchanges: dict[str, _Exchange] = {}

    def _requests(self) -> Iterator[Any]:
        for url, subscription in tuple(self.lane.subscriptions.items()):
            exchange = self._exchanges.setdefault(url, _Exchange())
            if exchange.answer_due:
                exchange.answer_due = False
            elif exchange.asked == subscription.names or exchange.received != exchange.nonce:
                # A request while a response waits for its answer would be taken for the answer.
                continue
            exchange.asked = subscription.names
            request = messages(_REQUEST)(
                type_url=url,
                resource_names=sorted(subscription.names),
                version_info=exchange.version,
                response_nonce=exchange.nonce,
            )
            if exchange.error is not None:
                request.error_detail.code, request.error_detail.message = _INVALID_ARGUMENT, exchange.error
                exchange.error = None
            yield request

    def _read(self, raw: bytes) -> tuple[Any, Update | None]:
        try:
            response = messages(_RESPONSE).FromString(raw)
        except DecodeError as error:
            raise UnreadableError(str(error)) from error
        url = self._type(response)
        if url is None:
            return response, None
        exchange = self._exchanges[url]
        exchange.received = response.nonce
        resources: dict[str, bytes] = {}
        try:
            for envelope in response.resources:
                name, value = name_and_value(envelope, url, exchange.names)
                if name in resources:
                    raise UnnamedError(f"two resources are called {name}")
                resources[name] = value
        except UnnamedError as error:
            raise UnreadableError(str(error), response) from error
        exchange.names = {value: name for name, value in resources.items()}
        exchange.responses += 1
        first = exchange.responses == 1
        return response, Update(type_url=url, version=response.version_info, resources=resources, first=first)

    def _taken(self, update: Update) -> None:
        # It holds everything; there is nothing to wait for.
        return

    def _answer(self, response: Any, error: str | None) -> None:
        exchange = self._exchanges[response.type_url or self.fixed_type or ""]
        if response.nonce != exchange.received:
            # Another response has replaced it; the answer to that one counts.
            return
        exchange.nonce, exchange.error, exchange.answer_due = response.nonce, error, True
        if error is None:
            exchange.version = response.version_info
