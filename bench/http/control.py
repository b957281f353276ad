"""`python -m bench.http.control POLICY_SOCKET LOG_SOCKET PORT`: gives the module its ten rules, and reads its log."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

from bench.http.rules import RULES
from cilium_proxy.api import from_dict, serialise, type_url
from cilium_proxy.relay.channel import PolicyChannel

HOST = "127.0.0.1"
CLIENT_IDENTITY = 300


def policy(port: int) -> bytes:
    """The ten rules for whoever comes from this machine."""
    rules = [
        {"headers": [_exact(":method", method), {"name": ":path", "safe_regex_match": {"regex": path}}]}
        for method, path in RULES
    ]
    rule = {"name": "ten", "remote_policies": [CLIENT_IDENTITY], "http_rules": {"http_rules": rules}}
    entry = {"port": port, "rules": [rule]}
    message = {"endpoint_ips": [HOST], "endpoint_id": 1, "ingress_per_port_policies": [entry]}
    return serialise(from_dict("cilium.NetworkPolicy", message))


def _exact(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "string_match": {"exact": value}}


def read_log(listener: socket.socket) -> None:
    """Takes whatever comes, as fast as Python can."""
    connection, _ = listener.accept()
    buffer = bytearray(65536)
    while connection.recv_into(buffer):
        pass


async def main() -> None:
    """Runs until it is ended."""
    policy_path, log_path, port = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(log_path)
    listener.listen()
    channel = PolicyChannel(policy_path)
    await channel.start()
    hosts = {"policy": CLIENT_IDENTITY, "host_addresses": ["127.0.0.0/8"]}
    await channel.publish(
        type_url("cilium.NetworkPolicyHosts"),
        {str(CLIENT_IDENTITY): serialise(from_dict("cilium.NetworkPolicyHosts", hosts))},
        "1",
    )
    await channel.publish(type_url("cilium.NetworkPolicy"), {"app": policy(port)}, "1")
    await asyncio.to_thread(read_log, listener)


if __name__ == "__main__":
    asyncio.run(main())
