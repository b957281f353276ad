"""Kind `tcp`: bytes through a real Envoy with `cilium.network` and a TCP proxy, step by step."""

from __future__ import annotations

import asyncio
import contextlib
import json
import operator
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cilium_proxy.testing.vectors import http_proxy
from cilium_proxy.testing.vectors.http import PORT, SOURCE_INGRESS
from cilium_proxy.testing.vectors.http_listener import chain, listener, tcp_proxy
from cilium_proxy.testing.vectors.http_proxy import HOSTS, PATIENCE, POLICIES, VectorProxy, VectorProxyError
from cilium_proxy.testing.vectors.result import Failure, Result, UnusableError
from cilium_proxy.testing.vectors.tcp_peer import Peer

Json = dict[str, Any]

IP = "127.0.0.1"
_COMPARE: dict[str, Callable[[int, int], bool]] = {"eq": operator.eq, "ge": operator.ge, "gt": operator.gt}


def run(document: Any) -> Iterator[Result]:
    """Runs the cases of a document, each with an Envoy of its own."""
    if not isinstance(document, dict) or not isinstance(document.get("cases"), list):
        raise UnusableError("a tcp vector file has policies and cases")
    for case in document["cases"]:
        result = Result(str(case.get("name", "unnamed")))
        if case.get("kind", "tcp") != "tcp":
            result.unusable = f"cases of kind {case['kind']!r} need TLS by policy"
            yield result
            continue
        try:
            asyncio.run(TcpCase(document, case, result).run())
        except KeyError as error:
            result.unusable = f"{error} is missing"
        except VectorProxyError as error:
            result.unusable = f"Envoy: {error}"
        except TimeoutError:
            result.unusable = "Envoy is not ready in time"
        yield result


class TcpCase:
    """One case: a proxy, a client and an upstream."""

    def __init__(self, document: Json, case: Json, result: Result) -> None:
        self.result = result
        self.server = socket.create_server((IP, 0))
        self.server.setblocking(False)
        self.upstream_port = self.server.getsockname()[1]
        with socket.create_server((IP, 0)) as probe:
            self.port = probe.getsockname()[1]
        policies = json.dumps(document["policies"][case["policy"]]["resources"])
        self.policies = json.loads(policies.replace(PORT, str(self.upstream_port)))
        self.case = case
        self.peers: dict[str, Peer] = {}

    async def run(self) -> None:
        """Starts the proxy and runs the steps until one fails: the others build on it."""
        limits = self.case.get("connection_buffer_limits", {})
        options = {"per_connection_buffer_limit_bytes": limits["upstream"]} if limits else {}
        try:
            async with http_proxy.start(
                lambda log: [self._listener(log, limits.get("downstream"))],
                lambda _log: [http_proxy.cluster("cluster1", (IP, self.upstream_port), **options)],
            ) as proxy:
                hosts = [{"policy": SOURCE_INGRESS, "host_addresses": [IP]}]
                await proxy.publish(HOSTS, http_proxy.hosts(hosts))
                refused = await proxy.publish(POLICIES, http_proxy.policies(self.policies))
                if refused is not None:
                    self.result.failures.append(Failure(0, "policy", "accept", refused))
                    return
                await proxy.ready()
                for number, step in enumerate(self.case["steps"], start=1):
                    difference = await self._step(proxy, step)
                    if difference is not None:
                        what = str(step.get("do") or step.get("expect"))
                        self.result.failures.append(Failure(number, what, *difference))
                        return
        finally:
            for peer in self.peers.values():
                await peer.close()
            self.server.close()

    def _listener(self, log: Path, limit: int | None) -> Any:
        ingress = bool(self.case.get("is_ingress"))
        local = {"endpoint_ip": IP, "port": self.upstream_port} | ({} if ingress else {"destination_ip": IP})
        metadata = {"is_ingress": ingress, "use_nphds": True, "local_endpoint": local}
        made = listener((IP, self.port), metadata, chain(tcp_proxy("cluster1"), log))
        if limit:
            made.per_connection_buffer_limit_bytes.value = limit
        return made

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
                connection = socket.socket()
                connection.setblocking(False)
                await asyncio.get_running_loop().sock_connect(connection, (IP, self.port))
                self.peers["client"] = Peer(connection)
            case "send":
                self.peers[who].send(_data(step["data"]), bool(step.get("fin")))
            case "read_disable":
                self.peers[who].hold(step["value"])
            case "close":
                await self.peers[who].close()
            case "ms":
                await asyncio.sleep(step["value"] / 1000)
            case "shutdown":
                with contextlib.suppress(http_proxy.AdminError):
                    await proxy.admin.request("POST", "/quitquitquit")
            case _:
                raise KeyError(action)

    async def _expect(self, proxy: VectorProxy, step: Json) -> tuple[str, str] | None:
        wanted = step["expect"]
        if wanted == "upstream_connected":
            return await self._accept()
        if wanted == "stat":
            return await self._statistic(proxy, step)
        who, _, what = wanted.partition("_")
        peer = self.peers[who]
        match what:
            case "received":
                return await self._received(peer, step)
            case "half_close" | "disconnect":
                ended = await http_proxy.eventually(lambda: peer.ended, PATIENCE * 3)
                return None if ended else ("the end", f"{len(peer.received)} bytes")
            case "still_open":
                return None
        raise KeyError(wanted)

    async def _accept(self) -> tuple[str, str] | None:
        try:
            async with asyncio.timeout(PATIENCE):
                connection, _ = await asyncio.get_running_loop().sock_accept(self.server)
        except TimeoutError:
            return "a connection", "none"
        self.peers["upstream"] = Peer(connection)
        return None

    @staticmethod
    async def _received(peer: Peer, step: Json) -> tuple[str, str] | None:
        if "total_bytes" in step:
            total = step["total_bytes"]
            await http_proxy.eventually(lambda: len(peer.received) >= total)
            return None if len(peer.received) == total else (f"{total} bytes", f"{len(peer.received)} bytes")
        data = _data(step["data"])
        if step.get("match") == "not_contains":
            return None if data not in peer.received else (f"no {data[:80]!r}", repr(bytes(peer.received[:200])))
        if step.get("match") == "contains":
            seen = await http_proxy.eventually(lambda: data in peer.received)
        else:
            await http_proxy.eventually(lambda: len(peer.received) >= len(data), PATIENCE * 3)
            seen = peer.received == data
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


def _data(data: Json) -> bytes:
    if "repeat_byte_hex" in data:
        return bytes.fromhex(data["repeat_byte_hex"]) * int(data["count"])
    return bytes.fromhex(data["hex"])
