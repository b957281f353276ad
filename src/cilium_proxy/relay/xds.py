"""xDS server for Envoy: aggregated and per-type streams, state of the world and incremental, over a Unix socket."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from cilium_proxy.api import messages
from cilium_proxy.api.services import AGGREGATED, SERVICES
from cilium_proxy.relay import sockets
from cilium_proxy.relay.delta import DeltaStream
from cilium_proxy.relay.resources import ResourceCache
from cilium_proxy.relay.sotw import SotwStream

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
)


class XdsServer:
    """Serves what is in `cache`."""

    def __init__(self, path: Path, cache: ResourceCache) -> None:
        self.path = path
        self.cache = cache
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listens. Raises sockets.SocketError."""
        sockets.release(self.path)
        self._server = grpc.aio.server(options=_OPTIONS)
        for service, resources, url in ((*AGGREGATED, None), *((*each, url) for url, each in SERVICES.items())):
            self._server.add_generic_rpc_handlers((self._handlers(service, resources, url),))
        with sockets.private_names():
            try:
                self._server.add_insecure_port(f"unix:{self.path}")
            except RuntimeError as error:
                raise sockets.SocketError(f"cannot listen on {self.path}: {error}") from error
        await self._server.start()

    async def close(self) -> None:
        """Ends all streams. Envoy goes on with what it has."""
        if self._server is not None:
            await self._server.stop(grace=None)
        self.path.unlink(missing_ok=True)

    def _handlers(self, service: str, resources: str, url: str | None) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            service,
            {
                f"Stream{resources}": _method("Discovery", lambda: SotwStream(self.cache, url)),
                f"Delta{resources}": _method("DeltaDiscovery", lambda: DeltaStream(self.cache, url)),
            },
        )


def _method(prefix: str, make: Callable[[], SotwStream | DeltaStream]) -> grpc.RpcMethodHandler[Any, Any]:
    async def respond(requests: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
        async with contextlib.aclosing(make().run(requests)) as responses:
            async for response in responses:
                yield response

    request = messages(f"envoy.service.discovery.v3.{prefix}Request")
    response = messages(f"envoy.service.discovery.v3.{prefix}Response")
    return grpc.stream_stream_rpc_method_handler(
        respond, request_deserializer=request.FromString, response_serializer=response.SerializeToString
    )
