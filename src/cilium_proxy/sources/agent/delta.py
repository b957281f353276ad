"""An incremental stream to the agent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError

from cilium_proxy.api import messages
from cilium_proxy.sources.agent.stream import Stream, UnreadableError
from cilium_proxy.sources.agent.update import Update

_REQUEST = "envoy.service.discovery.v3.DeltaDiscoveryRequest"
_RESPONSE = "envoy.service.discovery.v3.DeltaDiscoveryResponse"
_INVALID_ARGUMENT = 3


@dataclass(slots=True)
class _Exchange:
    """Where the exchange of one type stands on this stream. Answers: nonce, why it is refused."""

    asked: frozenset[str] | None = None
    answers: list[tuple[str, str | None]] = field(default_factory=list)
    responses: int = 0


class DeltaStream(Stream):
    """Every response holds what changed.

    A new stream does not say which versions are held: those of an agent that restarted may mean something else. The
    first response to it is the whole state.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._exchanges: dict[str, _Exchange] = {}

    def _requests(self) -> Iterator[Any]:
        for url, subscription in tuple(self.lane.subscriptions.items()):
            exchange = self._exchanges.setdefault(url, _Exchange())
            request_type = messages(_REQUEST)
            if exchange.asked != subscription.names:
                before = exchange.asked or frozenset()
                exchange.asked = subscription.names
                yield request_type(
                    type_url=url,
                    resource_names_subscribe=sorted(subscription.names - before),
                    resource_names_unsubscribe=sorted(before - subscription.names),
                )
            answers, exchange.answers = exchange.answers, []
            for nonce, error in answers:
                request = request_type(type_url=url, response_nonce=nonce)
                if error is not None:
                    request.error_detail.code, request.error_detail.message = _INVALID_ARGUMENT, error
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
        return response, Update(
            type_url=url,
            version=response.system_version_info or response.nonce,
            resources=resources,
            removed=tuple(response.removed_resources),
            delta=True,
            first=exchange.responses == 1,
        )

    def _answer(self, response: Any, error: str | None) -> None:
        self._exchanges[response.type_url or self.fixed_type or ""].answers.append((response.nonce, error))
