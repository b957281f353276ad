"""Cases of kind `xds`: policies and hosts as they come over one stream and the next."""

from __future__ import annotations

import json
from typing import Any

from cilium_proxy.api import from_dict, serialise
from cilium_proxy.relay.state import RejectedError
from cilium_proxy.supervisor.admin import AdminError
from cilium_proxy.testing.vectors import http_proxy
from cilium_proxy.testing.vectors.http_listener import chain, connection_manager, listener
from cilium_proxy.testing.vectors.http_proxy import HOSTS, POLICIES, VectorProxy
from cilium_proxy.testing.vectors.messages import says
from cilium_proxy.testing.vectors.result import Failure, Result, rejection

Json = dict[str, Any]

GENERATION = "cilium.policy.policy_stream_generation"
_TYPES = {"npds": POLICIES, "nphds": HOSTS}


class UpdatesCase:
    """One case. The policy channel stands for the agent's streams: what opens one marks its first update."""

    def __init__(self, case: Json, result: Result) -> None:
        self.case = case
        self.result = result
        self.noted: dict[str, int] = {}
        self.first = {POLICIES: True, HOSTS: True}

    async def run(self) -> None:
        """Runs all steps, also after one has failed."""
        async with http_proxy.start(
            lambda log: [listener(("127.0.0.1", 0), self.case["config"], chain(connection_manager(log), log))],
            lambda _log: [http_proxy.cluster("upstream", ("127.0.0.1", 1))],
            required=(),
        ) as proxy:
            await proxy.ready()
            for number, step in enumerate(self.case["steps"], start=1):
                await self._step(proxy, number, step)

    async def _step(self, proxy: VectorProxy, number: int, step: Json) -> None:
        match step["op"]:
            case "npds_update":
                await self._update(proxy, number, step, POLICIES, "cilium.NetworkPolicy")
            case "nphds_update":
                await self._update(proxy, number, step, HOSTS, "cilium.NetworkPolicyHosts")
            case _ if {"name", "value"} <= step.keys():
                await self._statistic(proxy, number, step)
            case "policy_stream_generation":
                await self._generation(proxy, number, step)
            case "exists":
                found = await self._exists(proxy, step["pod_ip"])
                self._differs(number, f"exists {step['pod_ip']}", step["expect"], found)
            case "resolve_host":
                await self._resolve(proxy, number, step)
            case "close_connection" | "reset_stream" | "new_stream" | "listener_config_source":
                # Nothing of it reaches the module before the first update of the next stream.
                url = _TYPES.get(step.get("type", ""))
                self.first |= dict.fromkeys(self.first if url is None else [url], True)
            case op if "listener" in op or "lds" in op:
                await proxy.admin.request("POST", "/drain_listeners")
            case other:
                self.result.unusable = f"step {number}: unknown op {other!r}"

    async def _update(self, proxy: VectorProxy, number: int, step: Json, url: str, message: str) -> None:
        delta = step.get("mode") == "delta"
        resources = step["resources"]
        new_stream = self.first[url] or bool(step.get("new_stream"))
        refused = None
        try:
            if delta:
                upserts = {entry["name"]: serialise(from_dict(message, entry["resource"])) for entry in resources}
            else:
                upserts = http_proxy.hosts(resources) if url == HOSTS else http_proxy.policies(resources)
            # The first update of a stream is the whole state, whatever the stream's kind.
            if delta and not new_stream:
                await proxy.channel.change(url, upserts, step.get("removed", ()), step["version"])
            else:
                await proxy.channel.publish(url, upserts, step["version"], new_stream=new_stream)
            self.first[url] = False
        except RejectedError as error:
            refused = str(error)
        wanted = rejection(step["expect"])
        if (refused is None) != (wanted is None) or not says(refused or "", wanted or ""):
            shown = "accept" if wanted is None else f"reject: {wanted}"
            self.result.failures.append(Failure(number, step["op"], shown, refused or "accept"))

    async def _statistic(self, proxy: VectorProxy, number: int, step: Json) -> None:
        name, wanted = step["name"], step["value"]
        value = await self._settled(proxy, name, wanted)
        # Statistics that this implementation does not have are passed over, and what listeners are removed by.
        if value is None or name.startswith("listener_manager."):
            return
        if value < wanted or (step["op"].endswith("_eq") and value > wanted):
            self._differs(number, name, f"{step['op']} {wanted}", value)

    async def _settled(self, proxy: VectorProxy, name: str, at_least: int) -> int | None:
        value = await proxy.stat(name)
        for _ in range(200):
            if value is None or value >= at_least:
                break
            value = await proxy.stat(name)
        return value

    async def _generation(self, proxy: VectorProxy, number: int, step: Json) -> None:
        expect = step["expect"]
        least = self._number(expect["gt"]) + 1 if isinstance(expect, dict) and "gt" in expect else 0
        value = await self._settled(proxy, GENERATION, least)
        if isinstance(expect, dict):
            if "eq" in expect:
                self._differs(number, GENERATION, self._number(expect["eq"]), value)
            elif (value or 0) < least:
                self._differs(number, GENERATION, f"> {least - 1}", value)
        else:
            self._differs(number, GENERATION, expect, value)
        if "as" in step:
            self.noted[step["as"]] = value or 0

    async def _resolve(self, proxy: VectorProxy, number: int, step: Json) -> None:
        """The identity of an address in the host map; 0: it has none."""
        address = step[next((name for name in ("address", "ip", "host", "pod_ip") if name in step), "address")]
        answer = json.loads(await proxy.admin.request("GET", f"/cilium/identities?address={address}"))
        self._differs(number, f"resolve_host {address}", step["expect"] or 0, answer["identity"] or 0)

    def _number(self, value: Any) -> int:
        return self.noted[value] if isinstance(value, str) else int(value)

    @staticmethod
    async def _exists(proxy: VectorProxy, pod_ip: str) -> bool:
        try:
            await proxy.admin.request("GET", f"/cilium/policies?endpoint={pod_ip}")
        except AdminError:
            return False
        return True

    def _differs(self, number: int, what: str, expected: Any, got: Any) -> None:
        if expected != got:
            self.result.failures.append(Failure(number, what, str(expected), str(got)))
