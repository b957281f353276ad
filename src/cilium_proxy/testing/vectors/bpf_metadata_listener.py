"""Cases of kind `config`, which Envoy validates, and `network_filter`, which need a connection with a parser."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

from cilium_proxy.api import messages
from cilium_proxy.supervisor.command import envoy_command
from cilium_proxy.testing.vectors import http_proxy
from cilium_proxy.testing.vectors.http import Upstream, exchange
from cilium_proxy.testing.vectors.http_listener import chain, connection_manager, listener
from cilium_proxy.testing.vectors.messages import says
from cilium_proxy.testing.vectors.result import Failure, Result, rejection

Json = dict[str, Any]


async def config_case(case: Json, result: Result) -> None:
    """Has Envoy validate a listener with the configuration."""
    with tempfile.TemporaryDirectory(prefix="cv-") as name:
        directory = Path(name)
        made = listener(
            ("127.0.0.1", 1), case["config"], chain(connection_manager(directory / "log"), directory / "log")
        )
        upstream = http_proxy.cluster("upstream", ("127.0.0.1", 1))
        config = directory / "bootstrap.json"
        config.write_text(json.dumps(http_proxy.bootstrap(directory, [made], [upstream])))
        command = envoy_command(config, concurrency=1, extra=("--mode", "validate"))
        process = await asyncio.create_subprocess_exec(
            *command.argv,
            env=dict(command.environment),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    refused = None if process.returncode == 0 else output.decode(errors="replace")
    wanted = rejection(case["expect"])
    if (refused is None) != (wanted is None) or not says(refused or "", wanted or ""):
        shown = "accept" if wanted is None else f"error: {wanted}"
        result.failures.append(Failure(1, "config", shown, refused or "accept"))


async def network_filter_case(case: Json, result: Result) -> None:
    """Sends a connection's bytes to a listener whose policy names the case's parser, and asks Envoy whether it lives.

    The pod's own policy denies everything else, as the case's does.
    """
    state = case["policy_filter_state"]
    with Upstream() as upstream:
        pod = "127.0.0.1"
        metadata = {
            "is_ingress": state["ingress"],
            "use_nphds": True,
            "proxy_id": state["proxy_id"],
            "local_endpoint": {"endpoint_ip": pod, "port": state["port"], "destination_ip": pod},
        }
        port = upstream.port
        async with http_proxy.start(
            lambda log: [listener(("127.0.0.2", port), metadata, chain(_raw_proxy(), log))],
            lambda _log: [http_proxy.cluster("upstream", (pod, port))],
        ) as proxy:
            server = await upstream.serve()
            rules = [{"port": state["port"], "rules": [{"l7_proto": case["l7_proto"]}]}]
            policy = {
                "endpoint_ips": [pod],
                "endpoint_id": 1,
                "ingress_per_port_policies": rules,
                "egress_per_port_policies": rules,
            }
            addresses = [{"policy": case["resolve_policy_id"], "host_addresses": [pod]}]
            await proxy.publish(http_proxy.HOSTS, http_proxy.hosts(addresses))
            await proxy.publish(http_proxy.POLICIES, http_proxy.policies([policy]))
            await proxy.ready()
            await _send(("127.0.0.2", port), bytes.fromhex(case["data_hex"]))
            alive = await proxy.admin.is_ready()
            server.close()
            if not alive:
                result.failures.append(Failure(1, "no_crash", "Envoy answers", proxy.log()))
            wanted = case["expect"].get("log_generic_l7_proto")

            def logged() -> list[str]:
                return [entry.generic_l7.proto for entry in proxy.entries]

            if wanted is not None and not await http_proxy.eventually(lambda: wanted in logged()):
                result.failures.append(Failure(1, "log_generic_l7_proto", wanted, str(logged())))


def _raw_proxy() -> Any:
    return messages("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy")(stat_prefix="tcp", cluster="upstream")


async def _send(address: tuple[str, int], data: bytes) -> None:
    """Sends bytes. Whether the proxy answers, waits, or ends the connection at whatever step is all the same."""
    with contextlib.suppress(OSError, TimeoutError):
        reader, writer = await asyncio.open_connection(*address)
        try:
            writer.write(data)
            async with asyncio.timeout(1):
                await reader.read(1)
        finally:
            writer.close()


__all__ = ["config_case", "exchange", "network_filter_case"]
