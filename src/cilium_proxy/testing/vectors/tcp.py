"""Kind `tcp`: bytes through a real Envoy with `cilium.network` and a TCP proxy, step by step.

Cases with TLS have the reference's `cilium.tls_wrapper` sockets; all of their resources come as an agent's do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import operator
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cilium_proxy.api import from_dict, messages, pack, serialise, unpack
from cilium_proxy.testing.vectors import http_proxy, relayed_proxy
from cilium_proxy.testing.vectors.http import PORT, SOURCE_INGRESS, http_message
from cilium_proxy.testing.vectors.http_listener import chain, connection_manager, listener, tcp_proxy
from cilium_proxy.testing.vectors.http_proxy import HOSTS, IPV4, PATIENCE, POLICIES, VectorProxy, families, with_ipv4
from cilium_proxy.testing.vectors.result import Failure, Result, cases_of
from cilium_proxy.testing.vectors.tcp_certificates import NAME, Certificates
from cilium_proxy.testing.vectors.tcp_peer import Peer
from cilium_proxy.testing.vectors.tcp_tls_peer import TlsPeer

Json = dict[str, Any]

_INSPECTOR = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_COMPARE: dict[str, Callable[[int, int], bool]] = {"eq": operator.eq, "ge": operator.ge, "gt": operator.gt}


def run(document: Any) -> Iterator[Result]:
    """Runs the cases of a document, each with an Envoy of its own."""
    document = with_ipv4(document)
    for case in cases_of(document, "cases"):
        result = Result.of(case)
        with result.running():
            for ip in families(result):
                run_case(document, case, result, ip)
        yield result


def run_case(document: Json, case: Any, result: Result, ip: str) -> None:
    """Runs a case with all ends at one loopback address."""
    made = {"tcp": TcpCase, "tls_http": TlsHttpCase}.get(case.get("kind", "tcp"), TlsCase)
    with tempfile.TemporaryDirectory(prefix="cv-") as directory:
        asyncio.run(made(document, case, result, Path(directory), ip).run())


class TcpCase:
    """One case: a proxy, a client and an upstream."""

    cluster = "cluster1"

    def __init__(self, document: Json, case: Json, result: Result, directory: Path, ip: str = IPV4) -> None:
        self.result = result
        self.directory = directory
        self.ip = ip
        self.server = listening(ip)
        self.server.setblocking(False)
        self.upstream_port = self.server.getsockname()[1]
        with listening(ip) as probe:
            self.port = probe.getsockname()[1]
        self.case = case
        self.peers: dict[str, Peer] = {}
        policies = json.dumps(document["policies"][case["policy"]]["resources"])
        policies = policies.replace(PORT, str(self.upstream_port)).replace(f'{IPV4}"', f'{ip}"')
        self.policies = json.loads(self._prepare(policies))

    def _prepare(self, policies: str) -> str:
        return policies

    async def run(self) -> None:
        """Starts the proxy and runs the steps until one fails: the others build on it."""
        try:
            async with self._proxy() as proxy:
                hosts = [{"policy": SOURCE_INGRESS, "host_addresses": [self.ip]}]
                await proxy.publish(HOSTS, http_proxy.hosts(hosts))
                refused = await proxy.publish(POLICIES, http_proxy.policies(self.policies)) or await self._rest(proxy)
                if refused is not None:
                    self.result.failures.append(Failure(0, "policy", "accept", refused))
                    return
                await proxy.ready()
                for number, step in enumerate(self.case["steps"], start=1):
                    try:
                        difference = await self._step(proxy, step)
                    except OSError as error:
                        difference = "a connection", error.strerror or str(error)
                    if difference is not None:
                        what = str(step.get("do") or step.get("expect"))
                        self.result.failures.append(Failure(number, what, *difference))
                        return
        finally:
            for peer in self.peers.values():
                await peer.close()
            self.server.close()

    def _proxy(self) -> contextlib.AbstractAsyncContextManager[VectorProxy]:
        return http_proxy.start(lambda log: [self._listener(log)], lambda _log: [self._cluster()])

    async def _rest(self, _proxy: VectorProxy) -> str | None:
        """Brings what the proxy needs beside hosts and policies; why it is refused."""
        return None

    def _listener(self, log: Path) -> Any:
        ingress = bool(self.case.get("is_ingress"))
        local = {"endpoint_ip": self.ip, "port": self.upstream_port} | ({} if ingress else {"destination_ip": self.ip})
        metadata = {"is_ingress": ingress, "use_nphds": True, "local_endpoint": local}
        made = listener((self.ip, self.port), metadata, chain(self._last(log), log))
        if self._limits:
            made.per_connection_buffer_limit_bytes.value = self._limits["downstream"]
        return made

    @property
    def _limits(self) -> Json:
        """Sizes of buffers, if the case gives any."""
        return self.case.get("connection_buffer_limits") or {}

    def _last(self, _log: Path) -> Any:
        return tcp_proxy(self.cluster)

    def _cluster(self, **options: Any) -> Json:
        if self._limits:
            options["per_connection_buffer_limit_bytes"] = self._limits["upstream"]
        return http_proxy.cluster(self.cluster, (self.ip, self.upstream_port), **options)

    def _upstream(self, connection: socket.socket) -> Peer:
        return Peer(connection)

    async def _step(self, proxy: VectorProxy, step: Json) -> tuple[str, str] | None:
        if "do" in step:
            await self._do(proxy, step)
            return None
        return await self._expect(proxy, step)

    async def _do(self, proxy: VectorProxy, step: Json) -> None:
        action = step["do"]
        who, _, verb = action.partition("_")
        match verb:
            case "connect":
                self.peers["client"] = Peer(await self._connect())
            case "send":
                self.peers[who].send(payload(step["data"]), bool(step.get("fin")))
            case "read_disable":
                self.peers[who].hold(step["value"])
            case "close":
                # What a side sent before it closes is to arrive; a side that the proxy has closed sends no more.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.peers[who].sent(), timeout=1)
                await self.peers[who].close()
            case "ms":
                await asyncio.sleep(step["value"] / 1000)
            case "shutdown":
                with contextlib.suppress(http_proxy.AdminError):
                    await proxy.admin.request("POST", "/quitquitquit")
            case _:
                raise KeyError(action)

    async def _connect(self) -> socket.socket:
        connection = socket.socket(self.server.family)
        connection.setblocking(False)
        # A connection that the proxy refuses may be reset before connecting returns; to the peer it has ended.
        with contextlib.suppress(ConnectionResetError):
            await asyncio.get_running_loop().sock_connect(connection, (self.ip, self.port))
        return connection

    async def _expect(self, proxy: VectorProxy, step: Json) -> tuple[str, str] | None:
        wanted = step["expect"]
        if wanted == "upstream_connected":
            return await self._accept()
        if wanted == "stat":
            return await self._statistic(proxy, step)
        who, _, what = wanted.partition("_")
        peer = self.peers[who]
        match what:
            case "total":
                wanted, got = payload(step["data"]), bytes(peer.received)
                return None if got == wanted else (repr(wanted[:80]), repr(got[:200]))
            case "received":
                return await self._received(peer, step)
            case "half_close" | "disconnect":
                ended = await http_proxy.eventually(lambda: peer.ended, PATIENCE * 3)
                return None if ended else ("the end", f"{len(peer.received)} bytes")
            case "still_open":
                return None
            case "tls_handshake" if isinstance(peer, TlsPeer):
                shaken = await http_proxy.eventually(peer.shaken.is_set)
                return None if shaken else ("a handshake", "none")
        raise KeyError(wanted)

    async def _accept(self) -> tuple[str, str] | None:
        try:
            async with asyncio.timeout(PATIENCE):
                connection, _ = await asyncio.get_running_loop().sock_accept(self.server)
        except TimeoutError:
            return "a connection", "none"
        self.peers["upstream"] = self._upstream(connection)
        return None

    @staticmethod
    async def _received(peer: Peer, step: Json) -> tuple[str, str] | None:
        if "total_bytes" in step:
            total = step["total_bytes"]
            await http_proxy.eventually(lambda: len(peer.received) >= total)
            return None if len(peer.received) == total else (f"{total} bytes", f"{len(peer.received)} bytes")
        data = payload(step["data"])
        if step.get("match") == "not_contains":
            return None if data not in peer.received else (f"no {data[:80]!r}", repr(bytes(peer.received[:200])))
        if step.get("match") == "contains":
            seen = await http_proxy.eventually(lambda: data in peer.received)
        else:
            await http_proxy.eventually(lambda: len(peer.received) >= len(data), PATIENCE * 3)
            # More may have come to a client by now.
            seen = peer.received.startswith(data) if step["expect"].startswith("client") else peer.received == data
        return None if seen else (repr(data[:80]), f"{len(peer.received)} bytes: {bytes(peer.received[:200])!r}")

    async def _statistic(self, proxy: VectorProxy, step: Json) -> tuple[str, str] | None:
        compare = _COMPARE[step["cmp"]]
        deadline = asyncio.get_running_loop().time() + (PATIENCE if step.get("wait") else 0)
        while True:
            got = await proxy.stat(step["name"])
            value = step["value"]
            if isinstance(value, dict):
                value = await proxy.stat(value["stat"])
            if got is None or value is None or compare(got, value):
                return None
            if asyncio.get_running_loop().time() >= deadline:
                return f"{step['name']} {step['cmp']} {value}", str(got)


class TlsCase(TcpCase):
    """A case with TLS of the policy's: towards the upstream, and towards a client that speaks it."""

    cluster = "tls-cluster"

    def _prepare(self, policies: str) -> str:
        self.certificates = Certificates(self.directory)
        return self.certificates.replaced(policies)

    def _proxy(self) -> contextlib.AbstractAsyncContextManager[VectorProxy]:
        return relayed_proxy.start()

    async def _rest(self, proxy: VectorProxy) -> str | None:
        cluster = from_dict("envoy.config.cluster.v3.Cluster", self._cluster())
        listener = self._listener(proxy.directory / http_proxy.LOG)
        for url, resources in (
            (relayed_proxy.SECRETS, self._secrets()),
            (relayed_proxy.CLUSTERS, {cluster.name: serialise(cluster)}),
            (relayed_proxy.LISTENERS, {listener.name: serialise(listener)}),
        ):
            refused = await proxy.publish(url, resources)
            if refused is not None:
                return refused
        return None

    def _secrets(self) -> dict[str, bytes]:
        pem = self.certificates.pem
        certificate = {
            "certificate_chain": {"inline_string": pem("proxy.pem")},
            "private_key": {"inline_string": pem("proxy.key")},
        }
        made = {
            "tls-certs": {"tls_certificate": certificate},
            "ca-certs": {"validation_context": {"trusted_ca": {"inline_string": pem("ca.pem")}}},
        }
        return {name: http_proxy.secret(name, **secret) for name, secret in made.items()}

    def _listener(self, log: Path) -> Any:
        made = super()._listener(log)
        # As an agent's: the wrapper is the socket of connections in which the inspector found TLS.
        carried: Any = unpack(made.listener_filters[0].typed_config)
        value: Any = unpack(carried.filter_config)
        own = messages("cilium.BpfMetadata").FromString(value.value)
        made.listener_filters[0].typed_config.CopyFrom(pack(own))
        if self.case["kind"] != "tls_origination":
            self._inspect(made)
        made.filter_chains.add().CopyFrom(made.filter_chains[0])
        raw, tls = made.filter_chains
        raw.filter_chain_match.transport_protocol = "raw_buffer"
        tls.filter_chain_match.transport_protocol = "tls"
        tls.transport_socket.name = "cilium.tls_wrapper"
        tls.transport_socket.typed_config.CopyFrom(pack(messages("cilium.DownstreamTlsWrapperContext")()))
        return made

    @staticmethod
    def _inspect(made: Any) -> None:
        # A plain client may be silent, which the inspector would wait for.
        inspector = {"name": "tls_inspector", "typed_config": {"@type": f"type.googleapis.com/{_INSPECTOR}"}}
        made.listener_filters.insert(0, from_dict("envoy.config.listener.v3.ListenerFilter", inspector))

    def _cluster(self, **options: Any) -> Json:
        wrapper = {"@type": "type.googleapis.com/cilium.UpstreamTlsWrapperContext"}
        return super()._cluster(transport_socket={"name": "cilium.tls_wrapper", "typed_config": wrapper}, **options)

    def _upstream(self, connection: socket.socket) -> Peer:
        return TlsPeer(connection, self.certificates.server("upstream"))

    async def _do(self, proxy: VectorProxy, step: Json) -> None:
        if step["do"] == "client_connect_tls":
            self.peers["client"] = TlsPeer(await self._connect(), self.certificates.client(), NAME)
        else:
            await super()._do(proxy, step)


class TlsHttpCase(TlsCase):
    """A case whose client speaks HTTP over TLS; the upstream answers 200 without a body."""

    def _last(self, log: Path) -> Any:
        made = connection_manager(log)
        made.stat_prefix = "config_test"
        made.route_config.virtual_hosts[0].require_tls = type(made.route_config.virtual_hosts[0]).ALL
        made.route_config.virtual_hosts[0].routes[0].route.cluster = self.cluster
        return made

    def _cluster(self, **options: Any) -> Json:
        http = {
            "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
            "upstream_http_protocol_options": {"auto_sni": True, "auto_san_validation": True},
            "explicit_http_config": {"http_protocol_options": {}},
        }
        return super()._cluster(typed_extension_protocol_options={_HTTP_OPTIONS: http}, **options)

    async def _step(self, proxy: VectorProxy, step: Json) -> tuple[str, str] | None:
        if step.get("do") == "http_request":
            return await self._request(step)
        return await super()._step(proxy, step)

    async def _request(self, step: Json) -> tuple[str, str] | None:
        expect = step["expect"]
        answering = asyncio.create_task(self._answer())
        client = self.peers["client"]
        client.send(http_message(step["headers"]))
        status_line = await http_proxy.eventually(lambda: b"\r\n\r\n" in client.received)
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        got = {
            "status": int(bytes(client.received).split(b" ", 2)[1]) if status_line else None,
            "reached_upstream": bool("upstream" in self.peers and self.peers["upstream"].received),
        }
        got["upstream_tls"] = got["reached_upstream"]
        wrong = [name for name in got if name in expect and expect[name] != got[name]]
        return (
            (str({name: expect[name] for name in wrong}), str({name: got[name] for name in wrong})) if wrong else None
        )

    async def _answer(self) -> None:
        connection, _ = await asyncio.get_running_loop().sock_accept(self.server)
        peer = self.peers["upstream"] = self._upstream(connection)
        await http_proxy.eventually(lambda: b"\r\n\r\n" in peer.received)
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await asyncio.Event().wait()


def listening(ip: str, port: int = 0) -> socket.socket:
    """A socket that listens at an address of either family."""
    return socket.create_server((ip, port), family=socket.AF_INET6 if ":" in ip else socket.AF_INET)


def payload(data: Json) -> bytes:
    """Bytes as a file has them: in hex, as text, or one byte many times."""
    if "repeat_byte_hex" in data:
        return bytes.fromhex(data["repeat_byte_hex"]) * int(data["count"])
    return bytes.fromhex(data["hex"]) if "hex" in data else str(data["text"]).encode("latin-1")
