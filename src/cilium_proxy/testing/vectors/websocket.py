"""Kind `websocket`: bytes through a real Envoy with the websocket filters, step by step.

Cases are of the kinds that the topology tells apart: `codec` (client and server in one filter chain), `encap` (a client
whose upstream is a raw socket), `decap` (a server) and `policy` (client, HTTP with policy, server, one listener each).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cilium_proxy.testing.vectors import http_proxy
from cilium_proxy.testing.vectors.http import PORT, SOURCE_INGRESS, exchange
from cilium_proxy.testing.vectors.http_proxy import HOSTS, PATIENCE, POLICIES, VectorProxy, VectorProxyError
from cilium_proxy.testing.vectors.result import Failure, Result, UnusableError
from cilium_proxy.testing.vectors.tcp import IP, TcpCase
from cilium_proxy.testing.vectors.tcp_peer import Peer
from cilium_proxy.testing.vectors.websocket_frames import Frame, read_frame
from cilium_proxy.testing.vectors.websocket_listeners import Topology

Json = dict[str, Any]

KINDS = ("codec", "encap", "decap", "policy")
_HEAD_END = b"\r\n\r\n"
_UUID = "[0-9a-f-]{36}"


def run(document: Any) -> Iterator[Result]:
    """Runs the cases of a document, each with an Envoy of its own."""
    if not isinstance(document, dict) or not isinstance(document.get("websocket"), list):
        raise UnusableError("a websocket vector file has policies and websocket, a list of cases")
    for case in document["websocket"]:
        result = Result(str(case.get("name", "unnamed")))
        try:
            if case["kind"] not in KINDS:
                raise KeyError(f"kind {case['kind']}")
            asyncio.run(WebsocketCase(document, case, result).run())
        except KeyError as error:
            result.unusable = f"{error} is missing"
        except VectorProxyError as error:
            result.unusable = f"Envoy: {error}"
        except TimeoutError:
            result.unusable = "Envoy is not ready in time"
        yield result


class WebsocketCase(TcpCase):
    """One case. The upstream's bytes are those after the handshake and frames that earlier steps have read."""

    def __init__(self, document: Json, case: Json, result: Result) -> None:
        # Nothing here needs files.
        super().__init__(document, case, result, Path())
        self.ports = [self.port, *_free_ports(2)]
        self.at = 0
        """Bytes of the upstream that steps have read."""

    async def run(self) -> None:
        """Starts the proxy and runs the steps until one fails: the others build on it."""
        topology = Topology(self.case, self.ports, self.upstream_port)
        try:
            async with http_proxy.start(topology.listeners, topology.clusters) as proxy:
                known = self.case.get("host_map") or [{"policy": SOURCE_INGRESS, "host_addresses": [IP]}]
                hosts = [
                    {**entry, "host_addresses": [a for a in entry["host_addresses"] if a != "::/104"]}
                    for entry in known
                ]
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

    async def _step(self, proxy: VectorProxy, step: Json) -> tuple[str, str] | None:
        if step.get("do") == "http_request":
            status, _ = await exchange((IP, self.port), step["headers"])
            wanted = step["expect"]["status"]
            return None if status == wanted else (str(wanted), str(status))
        if str(step.get("do")).endswith("_close"):
            # What a side sent before it closes is to arrive; a side that the proxy has closed sends no more.
            peer = self.peers[step["do"].removesuffix("_close")]
            if isinstance(peer, Peer):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(peer.sent(), timeout=1)
        try:
            return await super()._step(proxy, self._plain(step))
        except OSError as error:
            return "a connection", str(error)

    def _plain(self, step: Json) -> Json:
        """The step with text as bytes; the port in requests is that of the upstream."""
        data = step.get("data")
        if not isinstance(data, dict) or "hex" in data or "text" not in data:
            return step
        text = str(data["text"]).replace(PORT, str(self.upstream_port))
        return {**step, "data": {"hex": text.encode("latin-1").hex()}}

    async def _expect(self, proxy: VectorProxy, step: Json) -> tuple[str, str] | None:
        match step["expect"]:
            case "upstream_received_handshake":
                return await self._handshake(step["text"])
            case "upstream_received_frame":
                return await self._frame(step)
            case "upstream_received" if "at_least_after_handshake" in step:
                return await self._at_least(step["at_least_after_handshake"])
            case "client_total":
                return self._total(_data(step["data"]))
            case "log":
                return await self._log(proxy, step["entries"])
            case "stat":
                return await self._counted(proxy, step)
        return await super()._expect(proxy, step)

    async def _handshake(self, text: str) -> tuple[str, str] | None:
        peer = self.peers["upstream"]
        await http_proxy.eventually(lambda: _HEAD_END in peer.received)
        end = peer.received.find(_HEAD_END) + len(_HEAD_END)
        got = peer.received[:end].decode("latin-1")
        self.at = end
        # The reference fixes the port that the client wanted.
        pattern = re.escape(text.replace(PORT, str(self.port))).replace(re.escape("<uuid>"), _UUID)
        return None if re.fullmatch(pattern, got) else (text, got)

    async def _frame(self, step: Json) -> tuple[str, str] | None:
        peer = self.peers["upstream"]
        frame: Frame | None = await http_proxy.eventually(lambda: read_frame(peer.received, self.at))
        if frame is None:
            return "a frame", repr(bytes(peer.received[self.at : self.at + 200]))
        wanted = Frame(step["opcode"], step["fin"], step["masked"], _data(step["payload"]), frame.length)
        self.at += frame.length
        return None if frame == wanted else (str(wanted), str(frame))

    async def _at_least(self, count: int) -> tuple[str, str] | None:
        peer = self.peers["upstream"]
        await http_proxy.eventually(lambda: len(peer.received) - self.at >= count, PATIENCE * 3)
        got = len(peer.received) - self.at
        return None if got >= count else (f"at least {count} bytes", f"{got} bytes")

    def _total(self, wanted: bytes) -> tuple[str, str] | None:
        got = bytes(self.peers["client"].received)
        return None if got == wanted else (repr(wanted[:80]), repr(got[:200]))

    @staticmethod
    async def _log(proxy: VectorProxy, wanted: list[str]) -> tuple[str, str] | None:
        """Types of the entries, in order."""
        await http_proxy.eventually(lambda: len(proxy.entries) >= len(wanted))
        got = [
            entry.DESCRIPTOR.fields_by_name["entry_type"].enum_type.values_by_number[entry.entry_type].name
            for entry in proxy.entries
        ]
        return None if got == wanted else (str(wanted), str(got))

    async def _counted(self, proxy: VectorProxy, step: Json) -> tuple[str, str] | None:
        """As for TCP, but a statistic that does not exist is a difference."""
        exists = await proxy.stat(step["name"])
        return ("a statistic", f"no {step['name']}") if exists is None else await self._statistic(proxy, step)


def _data(data: Json) -> bytes:
    if "repeat_byte_hex" in data:
        return bytes.fromhex(data["repeat_byte_hex"]) * int(data["count"])
    return bytes.fromhex(data["hex"]) if "hex" in data else str(data["text"]).encode("latin-1")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server((IP, 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]
