"""A Cilium agent's xDS server for tests: real gRPC over a Unix socket, behaviour as the test says."""

import asyncio
import contextlib
import math
import time
from dataclasses import dataclass, field

import grpc
import grpc.aio

from cilium_proxy import api
from cilium_proxy.api.services import AGGREGATED, SERVICES
from cilium_proxy.relay import sockets

LIMIT = 30.0
POLICIES = api.type_url("cilium.NetworkPolicy")
HOSTS = api.type_url("cilium.NetworkPolicyHosts")
LISTENERS = api.type_url("envoy.config.listener.v3.Listener")
CLUSTERS = api.type_url("envoy.config.cluster.v3.Cluster")
ROUTES = api.type_url("envoy.config.route.v3.RouteConfiguration")
ENDPOINTS = api.type_url("envoy.config.endpoint.v3.ClusterLoadAssignment")
SECRETS = api.type_url("envoy.extensions.transport_sockets.tls.v3.Secret")

_WHOLE = (POLICIES, HOSTS, LISTENERS, CLUSTERS)
_DISCOVERY = "envoy.service.discovery.v3.{}"


@dataclass
class Answer:
    """What the proxy said to a version of a type; no error: an ACK."""

    type_url: str
    version: str
    error: str | None
    seconds: float
    """From when the response began to be sent."""


@dataclass
class Kind:
    """All resources of a type, as serialised messages by name."""

    version: int = 0
    resources: dict = field(default_factory=dict)
    versions: dict = field(default_factory=dict)


class AgentDouble:
    """`serves`: which of split, delta, ads, delta-ads. Listeners wait for the first ACK of clusters, as with Cilium."""

    def __init__(self, path, serves=("split",)):
        self.path = path
        self.serves = set(serves)
        self.kinds = {}
        self.answers = []
        self.nodes = []
        # One per request of a type, with the names it asked for.
        self.asked = []
        self.streams = []
        # Which of those that it serves each stream was.
        self.spoken = []
        self.delay = 0.0
        # Resources in an incremental response; a large change comes in several.
        self.most = 1 << 30
        # Whether incremental streams hear what the client says it holds.
        self.hears = True
        # Type to bytes that are sent once in the place of a response.
        self.wrong = {}
        self._changed = asyncio.Condition()
        self._clusters_taken = False
        self._server = None

    async def start(self):
        sockets.release(self.path)
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((_Handler(self),))
        self._server.add_insecure_port(f"unix:{self.path}")
        await self._server.start()

    async def stop(self):
        if self._server is not None:
            await self._server.stop(grace=None)
            self._server = None

    async def restart(self):
        """As a new process: versions start anew, resources are those it is told again."""
        await self.stop()
        self.kinds, self.answers, self._clusters_taken = {}, [], False
        await self.start()

    async def set(self, url, resources, version=None):
        """Makes messages, or bytes, by name the resources of a type; returns their version."""
        async with self._changed:
            kind = self.kinds.setdefault(url, Kind())
            kind.version = version or kind.version + 1
            values = {name: one if isinstance(one, bytes) else api.serialise(one) for name, one in resources.items()}
            for name, value in values.items():
                if kind.resources.get(name) != value:
                    kind.versions[name] = str(kind.version)
            kind.resources = values
            self._changed.notify_all()
            return str(kind.version)

    async def change(self, url, resources, removed=()):
        """Changes some of the resources of a type; returns their version."""
        async with self._changed:
            kind = self.kinds[url]
            kind.version += 1
            for name in removed:
                del kind.resources[name]
            for name, one in resources.items():
                kind.resources[name] = one if isinstance(one, bytes) else api.serialise(one)
                kind.versions[name] = str(kind.version)
            self._changed.notify_all()
            return str(kind.version)

    async def answered(self, url, version=None, limit=LIMIT):
        """Waits for the answer to a version, by default the current one."""
        wanted = version or str(self.kinds[url].version)

        def found():
            return [one for one in self.answers if one.type_url == url and one.version == wanted]

        async with asyncio.timeout(limit), self._changed:
            await self._changed.wait_for(found)
        return found()[-1]

    async def until(self, condition):
        """Waits until something the proxy sends makes the condition true."""
        async with asyncio.timeout(LIMIT), self._changed:
            await self._changed.wait_for(condition)

    async def push(self, url, resources):
        """Sets resources and waits for the answer."""
        return await self.answered(url, await self.set(url, resources))

    # Streams.

    async def sotw(self, requests, fixed):
        """One state-of-the-world stream."""
        watches = {}
        reading = asyncio.create_task(self._read_sotw(requests, fixed, watches))
        response_type = api.messages(_DISCOVERY.format("DiscoveryResponse"))
        nonce = 0
        try:
            while not reading.done():
                async with self._changed:
                    await self._changed.wait_for(lambda: reading.done() or self._due(watches))
                for url in self._due(watches):
                    watch, kind = watches[url], self.kinds[url]
                    await asyncio.sleep(self.delay)
                    nonce += 1
                    watch["sent"], watch["nonce"], watch["pending"] = kind.version, str(nonce), True
                    watch["seen"] = watch["names"]
                    if url in self.wrong:
                        yield self.wrong.pop(url)
                        continue
                    response = response_type(version_info=str(kind.version), type_url=url, nonce=str(nonce))
                    for name, value in kind.resources.items():
                        if not watch["names"] or name in watch["names"]:
                            response.resources.add(type_url=url, value=value)
                    raw = response.SerializeToString()
                    watch["at"] = time.monotonic()
                    yield raw
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    def _due(self, watches):
        found = []
        for url, watch in sorted(watches.items(), key=lambda one: one[0] != CLUSTERS):
            kind = self.kinds.get(url)
            if kind is None or watch["pending"] or (url == LISTENERS and not self._clusters_taken):
                continue
            if url not in _WHOLE and not watch["names"] & kind.resources.keys():
                continue
            if watch["sent"] != kind.version or watch["seen"] != watch["names"]:
                found.append(url)
        return found

    async def _read_sotw(self, requests, fixed, watches):
        request_type = api.messages(_DISCOVERY.format("DiscoveryRequest"))
        self.streams.append(fixed)
        try:
            async for raw in requests:
                request = request_type.FromString(raw)
                url = request.type_url or fixed
                async with self._changed:
                    if request.HasField("node"):
                        self.nodes.append(request.node.id)
                    names = frozenset(request.resource_names)
                    self.asked.append((url, names))
                    watch = watches.setdefault(
                        url, {"sent": None, "nonce": "", "pending": False, "names": names, "seen": names}
                    )
                    watch["names"] = names
                    if request.response_nonce and request.response_nonce == watch["nonce"] and watch["pending"]:
                        watch["pending"] = False
                        error = request.error_detail.message if request.HasField("error_detail") else None
                        self._note(url, watch, error)
                    self._changed.notify_all()
        finally:
            async with self._changed:
                self._changed.notify_all()

    async def delta(self, requests, fixed):
        """One incremental stream."""
        watches = {}
        reading = asyncio.create_task(self._read_delta(requests, fixed, watches))
        response_type = api.messages(_DISCOVERY.format("DeltaDiscoveryResponse"))
        nonce = 0
        try:
            while not reading.done():
                async with self._changed:
                    await self._changed.wait_for(lambda: reading.done() or self._due(watches))
                for url in self._due(watches):
                    watch, kind = watches[url], self.kinds[url]
                    await asyncio.sleep(self.delay)
                    nonce += 1
                    response = response_type(system_version_info=str(kind.version), type_url=url, nonce=str(nonce))
                    changed = [
                        name
                        for name in kind.resources
                        if (not watch["names"] or name in watch["names"])
                        and watch["client"].get(name) != kind.versions[name]
                    ]
                    for name in changed[: self.most]:
                        watch["client"][name] = kind.versions[name]
                        resource = response.resources.add(name=name, version=kind.versions[name])
                        resource.resource.type_url, resource.resource.value = url, kind.resources[name]
                    for name in [name for name in watch["client"] if name not in kind.resources]:
                        del watch["client"][name]
                        response.removed_resources.append(name)
                    watch["sent"] = kind.version if len(changed) <= self.most else None
                    watch["nonce"], watch["pending"], watch["seen"] = str(nonce), True, watch["names"]
                    raw = response.SerializeToString()
                    watch["at"] = time.monotonic()
                    yield raw
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read_delta(self, requests, fixed, watches):
        request_type = api.messages(_DISCOVERY.format("DeltaDiscoveryRequest"))
        self.streams.append(fixed)
        try:
            async for raw in requests:
                request = request_type.FromString(raw)
                url = request.type_url or fixed
                async with self._changed:
                    if request.HasField("node"):
                        self.nodes.append(request.node.id)
                    watch = watches.setdefault(
                        url,
                        {"sent": None, "nonce": "", "pending": False, "names": frozenset(), "seen": None, "client": {}},
                    )
                    if self.hears:
                        watch["client"].update(request.initial_resource_versions)
                    names = watch["names"] | set(request.resource_names_subscribe)
                    watch["names"] = frozenset(names - set(request.resource_names_unsubscribe))
                    self.asked.append((url, watch["names"]))
                    if request.response_nonce and request.response_nonce == watch["nonce"]:
                        watch["pending"] = False
                        error = request.error_detail.message if request.HasField("error_detail") else None
                        self._note(url, watch, error)
                    self._changed.notify_all()
        finally:
            async with self._changed:
                self._changed.notify_all()

    def _note(self, url, watch, error):
        seconds = time.monotonic() - watch.get("at", math.inf)
        self.answers.append(Answer(url, str(watch["sent"]), error, seconds))
        if url == CLUSTERS and error is None:
            self._clusters_taken = True


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, agent):
        self._agent = agent

    def service(self, details):
        _, service, method = details.method.split("/")
        aggregated = service == AGGREGATED[0]
        delta = method.startswith("Delta")
        kind = ("delta-ads" if delta else "ads") if aggregated else ("delta" if delta else "split")
        types = {name: url for url, (name, _) in SERVICES.items()}
        if kind not in self._agent.serves or not (aggregated or service in types):
            return None
        fixed = None if aggregated else types[service]
        self._agent.spoken.append(kind)

        async def serve(requests, _context):
            run = self._agent.delta if delta else self._agent.sotw
            async with contextlib.aclosing(run(requests, fixed)) as responses:
                async for response in responses:
                    yield response

        return grpc.stream_stream_rpc_method_handler(serve)
