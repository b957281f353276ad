"""Cases of kind `metadata`: a connection in a network namespace that has all its addresses.

The client's address comes in a PROXY protocol header, so that it may be of another family than the destination. What
the filter found out is in Envoy's log, at level debug.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cilium_proxy import _native
from cilium_proxy.api import from_dict
from cilium_proxy.testing.vectors import bpf_metadata_peers, http_proxy
from cilium_proxy.testing.vectors.http_listener import chain, listener, tcp_proxy
from cilium_proxy.testing.vectors.http_proxy import HOSTS, POLICIES, VectorProxy
from cilium_proxy.testing.vectors.result import Failure, Result

Json = dict[str, Any]

_FOUND = "cilium.bpf_metadata: {"
_REFUSED = "cilium.bpf_metadata: "
_PROXY_PROTOCOL = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"
_HTTP_INSPECTOR = "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
_SPARE = ipaddress.ip_network("198.51.100.0/24")


class ConnectionCase:
    """One case: its metadata, then the verdicts on hosts that load balancing would choose."""

    def __init__(self, document: Json, case: Json, result: Result) -> None:
        self.case = case
        self.result = result
        self.checks: list[Json] = case.get("network_policy_checks", [])
        self.hosts = [*document["default_hosts"], *case.get("extra_hosts", [])]
        # Of this case alone: they may get a parser.
        self.policies = [dict(policy) for policy in (*document["default_policies"], *case.get("extra_policies", []))]
        self.config: Json = dict(case["config"])
        linger = (case["expect"].get("source_address_option") or {}).get("linger_time") or -1
        if linger >= 0:
            # The reference's test hands this over by itself.
            self.config.setdefault("original_source_so_linger_time", linger)
        self.destination = _address(case["connection"]["original_dst"])
        self.source = _address(case["connection"]["remote"])

    async def run(self) -> None:
        """Makes a connection for the metadata, and one for each of the verdicts."""
        self._add_parser()
        await self._connect(0, None)
        for number, check in enumerate(self.checks, start=1):
            await self._connect(number, check)

    def _add_parser(self) -> None:
        parser = self.case.get("proxylib_l7_proto")
        if parser is None:
            return
        names = {self.source[0], self.destination[0]}
        for policy in self.policies:
            if names & set(policy["endpoint_ips"]):
                rule = {"port": self.destination[1], "rules": [{"l7_proto": parser}]}
                for direction in ("ingress_per_port_policies", "egress_per_port_policies"):
                    policy[direction] = [*policy.get(direction, []), rule]

    async def _connect(self, number: int, check: Json | None) -> None:
        host = (str(_SPARE[number + 1]), check["destination_port"] if check else 9)
        extra = [{"policy": check["destination_identity"], "host_addresses": [host[0]]}] if check else []
        environment = {"LD_PRELOAD": str(_native.DIRECTORY / "libcilium_sockets.so")} if check else {}
        async with http_proxy.start(
            lambda log: [self._listener(log)],
            lambda _log: [http_proxy.cluster("upstream", host)],
            prefix=_namespace(self._addresses(host[0])),
            environment=environment,
            extra=("--component-log-level", "dynamic_modules:debug"),
        ) as proxy:
            await proxy.publish(HOSTS, http_proxy.hosts([*self.hosts, *extra]))
            refused = await proxy.publish(POLICIES, http_proxy.policies(self.policies))
            self._differs(number, "policies", None, refused)
            await proxy.ready()
            greeted = await self._peers(proxy, host if check else None)
            if check is None:
                await self._found(proxy)
            else:
                await self._verdict(proxy, number, check, greeted)

    def _listener(self, log: Path) -> Any:
        config = {"use_nphds": True, **self.config}
        made = listener(self.destination, config, chain(tcp_proxy(), log))
        kinds = [_PROXY_PROTOCOL]
        if self.case.get("requested_application_protocols_before"):
            kinds.append(_HTTP_INSPECTOR)
        for index, kind in enumerate(kinds):
            inserted = from_dict(
                "envoy.config.listener.v3.ListenerFilter",
                {"name": kind, "typed_config": {"@type": f"type.googleapis.com/{kind}"}},
            )
            made.listener_filters.insert(index, inserted)
        return made

    def _addresses(self, host: str) -> list[str]:
        config = self.config
        own = (config.get(f"{family}_source_address", "") for family in ("ipv4", "ipv6"))
        return [self.destination[0], host, *(address for address in own if address)]

    async def _peers(self, proxy: VectorProxy, host: tuple[str, int] | None) -> bool:
        family, other = ("TCP6", "::1") if ":" in self.source[0] else ("TCP4", "127.0.0.1")
        port = self.destination[1]
        header = f"PROXY {family} {self.source[0]} {other} {self.source[1]} {port}\r\n".encode()
        protocols = self.case.get("requested_application_protocols_before") or []
        wanted = {
            "listen": [host] if host else [],
            "connect": self.destination,
            "send": (header + (_PREFACE if "h2c" in protocols else b"")).hex(),
            "seconds": http_proxy.PATIENCE if host else 0.3,
        }
        enter = ["nsenter", "--target", str(proxy.process.pid), "--net"]
        if os.geteuid() != 0:
            enter += ["--user", "--preserve-credentials"]
        process = await asyncio.create_subprocess_exec(
            *enter,
            *(sys.executable, str(Path(bpf_metadata_peers.__file__)), json.dumps(wanted)),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        return bytes.fromhex(output.decode().strip()) == bpf_metadata_peers.GREETING

    async def _found(self, proxy: VectorProxy) -> None:
        expect = self.case["expect"]
        log = proxy.directory / "envoy.log"

        def lines() -> list[str]:
            return [text for text in log.read_text(errors="replace").splitlines() if _REFUSED in text]

        seen: list[str] = await http_proxy.eventually(lines)
        found = [json.loads(text[text.index(_FOUND) + len(_FOUND) - 1 :]) for text in seen or [] if _FOUND in text]
        self._differs(0, "metadata", expect["metadata"], bool(found))
        if not found or not expect["metadata"]:
            return
        got = found[0]
        for name in (
            *("source_identity", "ingress", "is_l7lb", "port", "pod_ip", "ingress_policy_name"),
            *("ingress_source_identity", "mark", "proxy_id"),
        ):
            if name in expect:
                self._differs(0, name, expect[name], got[name])
        if "requested_application_protocols_set" in expect:
            # Null: they are not set, and stay what they were.
            before = self.case.get("requested_application_protocols_before")
            appended = expect["requested_application_protocols_set"]
            wanted = appended if appended and isinstance(appended, list) else before or []
            self._differs(0, "requested_application_protocols", wanted, got["application_protocols"])
        option = expect.get("source_address_option") or {}
        linger = got["upstream"]["linger"]
        got["linger_time"] = self.config.get("original_source_so_linger_time", -1) if linger is None else linger
        for name, wanted in option.items():
            self._differs(0, name, wanted, got.get(name))

    async def _verdict(self, proxy: VectorProxy, number: int, check: Json, greeted: bool) -> None:
        expect = check["expect"]
        self._differs(number, "allowed", expect["allowed"], greeted)
        pod = self.case["expect"].get("pod_ip", "")
        name = expect.get("log_policy_name_after")
        if isinstance(name, dict):
            # Any other than the pod's.
            name = self.case["expect"].get("ingress_policy_name")
        # A connection that the pod's own policy allows is logged by the datapath.
        if name is None or (expect["allowed"] and name == "pod"):
            return
        entries: list[Any] = await http_proxy.eventually(lambda: proxy.entries)
        got = entries[0].policy_name if entries else None
        self._differs(number, "log_policy_name_after", pod if name == "pod" else name, got)

    def _differs(self, number: int, what: str, expected: Any, got: Any) -> None:
        if expected != got:
            self.result.failures.append(Failure(number, what, json.dumps(expected), json.dumps(got)))


def _namespace(addresses: Sequence[str]) -> list[str]:
    """Runs a command in a network namespace of its own that has these addresses."""
    setup = ["ip link set lo up"]
    for address in dict.fromkeys(addresses):
        length = 128 if ":" in address else 32
        nodad = " nodad" if ":" in address else ""
        setup.append(f"ip address add {address}/{length} dev lo{nodad}")
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", *user, "--net", "sh", "-c", " && ".join([*setup, 'exec "$@"']), "sh"]


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
