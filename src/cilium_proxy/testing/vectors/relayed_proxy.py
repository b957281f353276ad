"""As `http_proxy`, with all resources on their way from a Cilium agent: rewritten, and offered to Envoy over xDS."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from cilium_proxy.relay.forward import Forwarder
from cilium_proxy.relay.resources import CLUSTERS, LISTENERS, SECRETS, ResourceCache
from cilium_proxy.relay.xds import XdsServer
from cilium_proxy.rewrite.cilium import Options
from cilium_proxy.rewrite.cilium.bootstrap import AGENT_CLUSTER
from cilium_proxy.rewrite.standalone.bootstrap import xds_cluster
from cilium_proxy.sources.agent.update import RefusedError, Update
from cilium_proxy.testing.vectors import http_proxy
from cilium_proxy.testing.vectors.http_proxy import HOSTS, POLICIES, START, Json, VectorProxy

__all__ = ["CLUSTERS", "LISTENERS", "SECRETS", "RelayedProxy", "start"]


@dataclass(slots=True, kw_only=True)
class RelayedProxy(VectorProxy):
    """Envoy behind the relay of agent mode."""

    forwarder: Forwarder
    _streams: set[str] = field(default_factory=set)

    async def publish(self, url: str, resources: Mapping[str, bytes], *, new_stream: bool = False) -> str | None:
        """As the agent's update; the reason when it is refused."""
        self.version += 1
        first = new_stream or url not in self._streams
        self._streams.add(url)
        update = Update(type_url=url, version=str(self.version), resources=dict(resources), first=first)
        try:
            async with asyncio.timeout(START):
                await (await self.forwarder.stage(update))
        except RefusedError as error:
            return str(error)
        return None


@contextlib.asynccontextmanager
async def start() -> AsyncIterator[RelayedProxy]:
    """Starts Envoy without any resource; it is stopped at the end."""
    async with http_proxy.surroundings((HOSTS, POLICIES)) as (directory, channel, entries):
        cache = ResourceCache()
        xds = XdsServer(directory / "xds.sock", cache)
        forwarder = Forwarder(channel, cache, Options(privileged_sockets=False), {})
        config = http_proxy.bootstrap(directory, (), (xds_cluster(AGENT_CLUSTER, directory / "xds.sock"),))
        source = {"resource_api_version": "V3", "api_config_source": _SOURCE}
        config["dynamic_resources"] = {"lds_config": source, "cds_config": source}
        config["node"] = {"id": "vectors", "cluster": "vectors"}
        await xds.start()
        try:
            async with http_proxy.envoy(directory, config) as process:
                yield RelayedProxy(directory, channel, process, entries, forwarder=forwarder)
        finally:
            await forwarder.close()
            await xds.close()


_SOURCE: Json = {
    "api_type": "GRPC",
    "transport_api_version": "V3",
    "grpc_services": [{"envoy_grpc": {"cluster_name": AGENT_CLUSTER}}],
}
