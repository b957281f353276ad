"""Kind `http`: requests through a real Envoy with `cilium.network` and `cilium.l7policy`.

The reference's tests have a listener filter of their own that says who talks to whom. Here `local_endpoint` pins the
listener to the case's pod, and the host map gives the fixed identities: 1 to the client for ingress, 173 to the pod for
egress. The fixed upstream port of the file becomes a free one.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cilium_proxy.relay.state import RejectedError
from cilium_proxy.testing.vectors import host_map, http_log, http_proxy
from cilium_proxy.testing.vectors.http_listener import chain, connection_manager, listener, upstream_options
from cilium_proxy.testing.vectors.http_proxy import HOSTS, IPV4, POLICIES, SECRETS, VectorProxy, families, with_ipv4
from cilium_proxy.testing.vectors.messages import says
from cilium_proxy.testing.vectors.result import Failure, Result, cases_of, rejection

PORT = "18080"
SOURCE_INGRESS, SOURCE_EGRESS = 1, 173

Json = dict[str, Any]


def run(document: Any) -> Iterator[Result]:
    """Runs the cases of a document, each with an Envoy of its own, and its `host_map_cases`."""
    for case in cases_of(document, "cases"):
        result = Result.of(case)
        with result.running():
            for address in families(result):
                _run_family(document, case, address, result)
        yield result
    if "host_map_cases" in document:
        yield from host_map.run(document)


def _run_family(document: Json, case: Json, address: str, result: Result) -> None:
    with Upstream(address) as upstream:
        # The policies of a file are about the address and port of its upstream.
        parts = {"policies": document.get("policies", {}), "hosts": document.get("host_maps", {}), "case": case}
        text = json.dumps(with_ipv4(parts)).replace(PORT, str(upstream.port))
        data = json.loads(text.replace(f'{IPV4}"', f'{address}"'))
        asyncio.run(HttpCase(data, upstream, result).run())


class Upstream:
    """The server behind the proxy: answers 200 without a body and remembers requests."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.address = address
        self.requests: list[list[tuple[str, str]]] = []
        self.socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address, 0))
        self.port = self.socket.getsockname()[1]

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    async def serve(self) -> asyncio.Server:
        """Takes connections."""
        return await asyncio.start_server(self._answer, sock=self.socket)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = head.split("\r\n")[1:-2]
                self.requests.append(
                    [(name.lower(), value.strip()) for name, _, value in (x.partition(":") for x in lines)]
                )
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()


@dataclass
class HttpCase:
    """One case with its proxy."""

    data: Json
    upstream: Upstream
    result: Result
    port: int = field(default=0)

    def __post_init__(self) -> None:
        self.case = self.data["case"]
        self.ip = self.upstream.address
        # The pod under another name, to have an identity of its own.
        self.pod = "127.0.0.99" if ":" not in self.ip else "fd99::99"
        self.ingress = bool(self.case.get("is_ingress"))
        self.balanced = bool(self.case.get("is_l7lb"))
        with socket.socket(self.upstream.socket.family) as probe:
            probe.bind((self.ip, 0))
            self.port = probe.getsockname()[1]

    async def run(self) -> None:
        """Starts the proxy and runs all steps, also after one has failed."""
        server = await self.upstream.serve()
        balanced_filters = "upstream" in self.case.get("l7_filters", ())
        options = upstream_options if balanced_filters else None
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._stop, server)

            def listeners(access_log: Path) -> list[Any]:
                return [
                    listener((self.ip, self.port), self._metadata(), chain(connection_manager(access_log), access_log))
                ]

            proxy = await stack.enter_async_context(
                http_proxy.start(
                    listeners,
                    lambda access_log: [
                        http_proxy.cluster(
                            "upstream", (self.ip, self.upstream.port), **(options(access_log) if options else {})
                        )
                    ],
                    required=(HOSTS,),
                )
            )
            await proxy.publish(SECRETS, http_proxy.secrets(self.case.get("secrets") or {}))
            self._differs(0, "host map", None, await proxy.publish(HOSTS, http_proxy.hosts(self._hosts())))
            await self._update(proxy, 0, self.case["policy"], self.case.get("policy_expect", "accept"))
            await proxy.ready()
            for number, step in enumerate(self.case["steps"], start=1):
                await self._step(proxy, number, step)

    @staticmethod
    async def _stop(server: asyncio.Server) -> None:
        server.close()

    def _metadata(self) -> Json:
        if self.ingress:
            return {
                "is_ingress": True,
                "use_nphds": True,
                "local_endpoint": {"endpoint_ip": self.ip, "port": self.upstream.port},
            }
        local = {"endpoint_ip": self.pod, "port": self.upstream.port, "destination_ip": self.ip}
        metadata: Json = {"use_nphds": True, "local_endpoint": local}
        if self.balanced:
            family = "ipv6" if ":" in self.ip else "ipv4"
            metadata |= {"is_l7lb": True, f"{family}_source_address": self.pod}
        return metadata

    def _hosts(self) -> list[Json]:
        known = [
            {**entry, "host_addresses": [a for a in entry["host_addresses"] if not (self.ingress and _is(a, self.ip))]}
            for entry in self.data["hosts"][self.case.get("host_map", "none")]
        ]
        own = {"policy": SOURCE_INGRESS, "host_addresses": [self.ip]}
        return [*known, own if self.ingress else {"policy": SOURCE_EGRESS, "host_addresses": [self.pod]}]

    async def _update(self, proxy: VectorProxy, number: int, name: str, expect: Any) -> None:
        resources = [dict(resource) for resource in self.data["policies"][name]["resources"]]
        for resource in resources:
            if self.ip in resource.get("endpoint_ips", ()):
                resource["endpoint_ips"] = [*resource["endpoint_ips"], self.pod]
        try:
            refused = await proxy.publish(POLICIES, http_proxy.policies(resources))
        except RejectedError as error:
            refused = str(error)
        wanted = rejection(expect)
        if (refused is None) != (wanted is None) or not says(refused or "", wanted or ""):
            shown = "accept" if wanted is None else f"reject: {wanted}"
            self.result.failures.append(Failure(number, f"policy {name}", shown, str(refused or "accept")))

    async def _step(self, proxy: VectorProxy, number: int, step: Json) -> None:
        match step["op"]:
            case "policy_update":
                await self._update(proxy, number, step["policy"], step.get("expect", "accept"))
            case "request" | "connect":
                await self._request(proxy, number, step)
            case other:
                self.result.unusable = f"step {number}: unknown op {other!r}"

    async def _request(self, proxy: VectorProxy, number: int, step: Json) -> None:
        proxy.entries.clear()
        self.upstream.requests.clear()
        expect = step["expect"]
        headers = step.get("headers", [[":method", "GET"], [":path", "/"], [":authority", "host"]])
        status, body = await exchange((self.ip, self.port), headers)
        result = "connection_closed_by_proxy" if status is None else "response"
        self._differs(number, "result", expect.get("result", result), result)
        if "status" in expect:
            self._differs(number, "status", expect["status"], status)
        if "response_body" in expect:
            self._differs(number, "response_body", expect["response_body"], body)
        if "reached_upstream" in expect or status is None or status == 403:
            self._differs(
                number, "reached_upstream", expect.get("reached_upstream", False), bool(self.upstream.requests)
            )
        wanted = expect.get("upstream_headers", {})
        sent = [[name, value] for name, value in (self.upstream.requests or [[]])[0]]
        for header in wanted.get("present", ()):
            if not any(http_log.fits(header, pair) for pair in sent):
                self._differs(number, "upstream_headers present", header, sent)
        for header in wanted.get("absent", ()):
            if any(http_log.fits(header, pair) for pair in sent):
                self._differs(number, "upstream_headers absent", header, sent)
        await self._log(proxy, number, expect.get("access_log", ()))

    async def _log(self, proxy: VectorProxy, number: int, expected: Any) -> None:
        request_id = None
        for wanted in expected:
            kind = wanted["entry_type"]
            entry = await http_proxy.eventually(functools.partial(http_log.find, proxy.entries, kind))
            if entry is None:
                self._differs(number, "access_log", kind, [str(other) for other in proxy.entries])
                continue
            if entry.policy_name == self.pod:
                entry.policy_name = self.ip
            for name, want, got in http_log.differences(wanted, entry, request_id):
                self._differs(number, f"access_log {kind} {name}", want, got)
            request_id = request_id or http_log.request_id_of(entry)

    def _differs(self, number: int, what: str, expected: Any, got: Any) -> None:
        if expected != got:
            self.result.failures.append(Failure(number, what, json.dumps(expected), json.dumps(got)))


def http_message(headers: list[list[str]]) -> bytes:
    """A request without a body, from its headers with pseudo headers."""
    pseudo = {name: value for name, value in headers if name.startswith(":")}
    lines = [f"{pseudo[':method']} {pseudo[':path']} HTTP/1.1", f"host: {pseudo.get(':authority', '')}"]
    lines += [f"{name}: {value}" for name, value in headers if not name.startswith(":")]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def exchange(address: tuple[str, int], headers: list[list[str]]) -> tuple[int | None, str]:
    """Sends a request and gives status and body; no status when the connection was closed instead."""
    try:
        async with asyncio.timeout(http_proxy.PATIENCE):
            reader, writer = await asyncio.open_connection(*address)
            try:
                writer.write(http_message(headers))
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:-2])
                body = await reader.readexactly(int(fields.get("content-length", 0)))
                return int(head.split(" ", 2)[1]), body.decode()
            finally:
                writer.close()
    except (OSError, asyncio.IncompleteReadError):
        return None, ""


def _is(address: str, ip: str) -> bool:
    network = ipaddress.ip_network(address, strict=False)
    return network.num_addresses == 1 and ipaddress.ip_address(ip) in network
