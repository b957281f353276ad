"""Kind `websocket`: bytes through a real Envoy with the websocket filters, step by step.

Cases are of the kinds that the topology tells apart: `codec` (client and server in one filter chain), `encap` (a client
whose upstream is a raw socket), `decap` (a server) and `policy` (client, HTTP with policy, server, one listener each).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cilium_proxy.testing.vectors import access_log, health_check_sink, http_proxy
from cilium_proxy.testing.vectors.http import PORT, SOURCE_INGRESS, http_message
from cilium_proxy.testing.vectors.http_proxy import (
    HOSTS,
    IPV4,
    PATIENCE,
    POLICIES,
    VectorProxy,
    families,
    with_ipv4,
)
from cilium_proxy.testing.vectors.result import Failure, Result, UnusableError, cases_of
from cilium_proxy.testing.vectors.tcp import TcpCase, listening, payload
from cilium_proxy.testing.vectors.tcp_peer import Peer
from cilium_proxy.testing.vectors.websocket_frames import Frame, read_frame
from cilium_proxy.testing.vectors.websocket_listeners import Topology

Json = dict[str, Any]

KINDS = ("codec", "encap", "decap", "policy")
_HEAD_END = b"\r\n\r\n"
# Of an unmasked frame with a 64-bit length.
_LONG_HEADER = 10
_UUID = "[0-9a-f-]{36}"


def run(document: Any) -> Iterator[Result]:
    """Runs the cases of a document, each with an Envoy of its own, and those of the access log and of health events."""
    others = [kind for kind in (access_log, health_check_sink) if kind.LIST in document]
    if "websocket" in document or not others:
        converted = with_ipv4(document)
        for case in cases_of(converted, "websocket"):
            result = Result.of(case)
            with result.running():
                for ip in families(result):
                    run_case(converted, case, result, ip)
            yield result
    for kind in others:
        yield from kind.run(document)


def run_case(document: Json, case: Any, result: Result, ip: str) -> None:
    """Runs a case with all ends at one loopback address."""
    if case["kind"] not in KINDS:
        raise UnusableError(f"unknown kind {case['kind']!r}")
    asyncio.run(WebsocketCase(document, case, result, ip).run())


class WebsocketCase(TcpCase):
    """One case."""

    def __init__(self, document: Json, case: Json, result: Result, ip: str = IPV4) -> None:
        # Nothing here needs files.
        super().__init__(document, case, result, Path(), ip)
        self.ports = [self.port, *_free_ports(ip, 2)]
        self.authority = f"[{ip}]" if ":" in ip else ip
        self.read = {"client": 0, "upstream": 0}
        """Bytes received that steps have read: heads of HTTP, frames, and what came `next`."""

    async def run(self) -> None:
        """Starts the proxy and runs the steps until one fails: the others build on it."""
        topology = Topology(self.case, self.ports, self.upstream_port, self.ip)
        try:
            async with http_proxy.start(topology.listeners, topology.clusters) as proxy:
                known = self.case.get("host_map") or [{"policy": SOURCE_INGRESS, "host_addresses": [self.ip]}]
                await proxy.publish(HOSTS, http_proxy.hosts(known))
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
            return await self._request(step)
        try:
            return await super()._step(proxy, self._plain(step))
        except OSError as error:
            return "a connection", str(error)

    def _plain(self, step: Json) -> Json:
        """The step with text as bytes; the port in requests is that of the upstream."""
        data = step.get("data")
        if not isinstance(data, dict) or "hex" in data or "text" not in data:
            return step
        return {**step, "data": {"hex": self._placed(str(data["text"])).encode("latin-1").hex()}}

    def _placed(self, text: str) -> str:
        """The text with this run's upstream for the file's."""
        return text.replace(PORT, str(self.upstream_port)).replace(f"{IPV4}:", f"{self.authority}:")

    async def _request(self, step: Json) -> tuple[str, str] | None:
        """A request of the client; what follows the answer's head is for later steps."""
        if "client" not in self.peers:
            self.peers["client"] = Peer(await self._connect())
        client = self.peers["client"]
        start = self.read["client"]
        client.send(http_message([[name, self._placed(value)] for name, value in step["headers"]]))
        await http_proxy.eventually(lambda: client.received.find(_HEAD_END, start) >= 0 or client.ended)
        end = client.received.find(_HEAD_END, start) + len(_HEAD_END)
        head = bytes(client.received[start:end])
        self.read["client"] = max(start, end)
        wanted = step["expect"]["status"]
        got = head.split(b" ")[1].decode("latin-1") if b" " in head else "no answer"
        return None if got == str(wanted) else (str(wanted), got)

    async def _expect(self, proxy: VectorProxy, step: Json) -> tuple[str, str] | None:
        match step["expect"]:
            case "upstream_received_handshake":
                return await self._handshake(step["text"])
            case "upstream_received_frame":
                return await self._frame(step)
            case "upstream_received" if "at_least_after_handshake" in step:
                return await self._at_least(step["at_least_after_handshake"])
            case "client_received_next" | "upstream_received_next":
                return await self._next(step["expect"].partition("_")[0], payload(self._plain(step)["data"]))
            case "client_received" if "data" in step and self._header_bytes_missing():
                return await self._received_after_header(proxy, step)
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
        self.read["upstream"] = end
        # The reference fixes the port that the client wanted.
        wanted = text.replace(PORT, str(self.port)).replace(f"{IPV4}:", f"{self.authority}:")
        pattern = re.escape(wanted).replace(re.escape("<uuid>"), _UUID)
        return None if re.fullmatch(pattern, got) else (wanted, got)

    async def _next(self, who: str, wanted: bytes) -> tuple[str, str] | None:
        """The bytes after those that have been read."""
        peer, start = self.peers[who], self.read[who]
        end = start + len(wanted)
        await http_proxy.eventually(lambda: len(peer.received) >= end)
        got = bytes(peer.received[start:end])
        self.read[who] = end
        return None if got == wanted else (repr(wanted[:80]), repr(got[:200]))

    async def _frame(self, step: Json) -> tuple[str, str] | None:
        peer, start = self.peers["upstream"], self.read["upstream"]
        frame: Frame | None = await http_proxy.eventually(lambda: read_frame(peer.received, start))
        if frame is None:
            return "a frame", repr(bytes(peer.received[start : start + 200]))
        wanted = Frame(step["opcode"], step["fin"], step["masked"], payload(step["payload"]), frame.length)
        self.read["upstream"] += frame.length
        return None if frame == wanted else (str(wanted), str(frame))

    async def _at_least(self, count: int) -> tuple[str, str] | None:
        peer = self.peers["upstream"]
        start = self.read["upstream"]
        await http_proxy.eventually(lambda: len(peer.received) - start >= count, PATIENCE * 3)
        got = len(peer.received) - start
        return None if got >= count else (f"at least {count} bytes", f"{got} bytes")

    def _header_bytes_missing(self) -> int:
        """Bytes that the upstream leaves out of headers with 64-bit lengths; they are taken from the data."""
        sent = [step["data"].get("hex", "") for step in self.case["steps"] if step.get("do") == "upstream_send"]
        heads = [head for head in map(bytes.fromhex, sent) if head[1:2] in (b"\x7f", b"\xff")]
        return sum(max(_LONG_HEADER - len(head), 0) for head in heads)

    async def _received_after_header(self, proxy: VectorProxy, step: Json) -> tuple[str, str] | None:
        """All of the data, or what the headers leave of it: the reference's client is content with the end then."""
        difference = await super()._expect(proxy, step)
        left = payload(step["data"])[self._header_bytes_missing() :]
        client = self.peers["client"]
        return None if client.ended and client.received == left else difference

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


def _free_ports(ip: str, count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(listening(ip)) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]
