"""Network namespaces for tests: a client and a server with a node between them, whose proxy TPROXY redirects to.

    client 10.77.1.2 fd77:1::2 -- 10.77.1.1 fd77:1::1 node 10.77.2.1 fd77:2::1 -- 10.77.2.2 fd77:2::2 server

Needs root. Names carry the process id and a random part, so that test runs do not meet.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

# Cilium's: packets with this mark are delivered to local sockets, whatever their destination.
TO_PROXY = 0x200
TO_PROXY_MASK = 0xF00
_TABLE = 2004


def run(*command: str | Path, text: str | None = None) -> str:
    """Runs a command that must succeed and returns what it prints."""
    done = subprocess.run([str(part) for part in command], input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def line(process: subprocess.Popen[str], seconds: float = 30) -> str:
    """The next line a started process prints; an error that shows what it complained about when there is none."""
    assert process.stdout is not None
    stream, text = process.stdout.fileno(), b""
    # By bytes: what the stream's own buffer held, select would not know of.
    while not text.endswith(b"\n") and select.select([stream], [], [], seconds)[0] and (byte := os.read(stream, 1)):
        text += byte
    if not text:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        _, errors = process.communicate()
        raise RuntimeError(f"{process.args!r} printed nothing more: {errors.strip()}")
    return text.decode().strip()


@dataclass
class Namespace:
    """One network namespace and the processes started in it."""

    name: str
    ipv4: str
    ipv6: str
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def address(self, family: int) -> str:
        """The namespace's address of the family, 4 or 6."""
        return self.ipv4 if family == 4 else self.ipv6

    def command(self, *command: str | Path) -> list[str]:
        """The command, to be run in here. Unlike `ip netns exec`, it keeps the mounts (BPF file systems, for one)."""
        return ["nsenter", f"--net=/run/netns/{self.name}", "--", *map(str, command)]

    def run(self, *command: str | Path, text: str | None = None) -> str:
        """Runs a command in here that must succeed and returns what it prints."""
        return run(*self.command(*command), text=text)

    def start(self, *command: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Starts a process in here with its output in pipes; it is ended with the network."""
        settings = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "start_new_session": True,
            **options,
        }
        process: subprocess.Popen[str] = subprocess.Popen(self.command(*command), **settings)
        self.processes.append(process)
        return process

    def stop(self) -> None:
        """Ends all processes in here: also those that outlive whoever started them, as Envoy does its proxy."""
        found = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False)
        for pid in (
            *(process.pid for process in self.processes if process.poll() is None),
            *map(int, found.stdout.split()),
        ):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.processes:
            process.communicate()
        self.processes.clear()


class Network:
    """Three namespaces in a row. A context manager: everything is gone at its end."""

    def __init__(self) -> None:
        prefix = f"cilium-proxy-{os.getpid()}-{secrets.token_hex(3)}"
        self.client = Namespace(f"{prefix}-client", "10.77.1.2", "fd77:1::2")
        self.node = Namespace(f"{prefix}-node", "10.77.2.1", "fd77:2::1")
        self.server = Namespace(f"{prefix}-server", "10.77.2.2", "fd77:2::2")
        self.namespaces = (self.client, self.node, self.server)

    def __enter__(self) -> Network:
        try:
            for namespace in self.namespaces:
                run("ip", "netns", "add", namespace.name)
                # No waiting for duplicates: a node whose link-local address is tentative solicits no neighbour
                # for a packet from an address that is not its own, a transparent connection's.
                for scope in ("all", "default"):
                    namespace.run("sh", "-c", f"echo 0 > /proc/sys/net/ipv6/conf/{scope}/accept_dad")
            self._connect(self.client, "client", 1)
            self._connect(self.server, "server", 2)
            for path in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                self.node.run("sh", "-c", f"echo 1 > /proc/sys/net/{path}")
            self.node.run("nft", "-f", "-", text="table inet proxy { }\n")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all processes and removes the namespaces, and with them links, rules and routes."""
        for namespace in self.namespaces:
            namespace.stop()
            subprocess.run(["ip", "netns", "del", namespace.name], capture_output=True, check=False)

    def _connect(self, peer: Namespace, link: str, subnet: int) -> None:
        """Joins a namespace to the node by a pair of links: `node` in there, `link` in the node."""
        peer.run("ip", "link", "add", "node", "type", "veth", "peer", "name", link, "netns", self.node.name)
        for namespace, device, host in ((peer, "node", 2), (self.node, link, 1)):
            namespace.run("ip", "address", "add", f"10.77.{subnet}.{host}/24", "dev", device)
            namespace.run("ip", "address", "add", f"fd77:{subnet}::{host}/64", "dev", device)
            for name in ("lo", device):
                namespace.run("ip", "link", "set", name, "up")
        peer.run("ip", "route", "add", "default", "via", f"10.77.{subnet}.1")
        peer.run("ip", "-6", "route", "add", "default", "via", f"fd77:{subnet}::1")

    def redirect(self, port: int, proxy: int) -> None:
        """Redirects the client's TCP connections to this port, at any address, to the node's proxy port.

        The proxy's listener must be transparent. Packets back to its transparent upstream sockets find them, too.
        """
        mark = f"meta mark set {TO_PROXY:#x}"
        self.node.run(
            *("nft", "-f", "-"),
            text=f"""
            table inet proxy {{
                chain to_proxy {{
                    type filter hook prerouting priority mangle; policy accept;
                    meta l4proto tcp socket transparent 1 {mark} accept
                    iifname "client" meta nfproto ipv4 tcp dport {port} tproxy ip to :{proxy} {mark} accept
                    iifname "client" meta nfproto ipv6 tcp dport {port} tproxy ip6 to :{proxy} {mark} accept
                }}
            }}
            """,
        )
        for family, everything in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
            rule = ("fwmark", f"{TO_PROXY:#x}/{TO_PROXY_MASK:#x}", "lookup", str(_TABLE))
            self.node.run("ip", family, "rule", "add", *rule)
            self.node.run("ip", family, "route", "add", "local", everything, "dev", "lo", "table", str(_TABLE))

    def count_marks(self, *marks: int) -> None:
        """Counts the TCP packets the node itself sends with these marks (all 32 bits of them)."""
        counters = "".join(f"counter mark_{mark:08x} {{ }}\n" for mark in marks)
        rules = "".join(f"meta mark {mark:#010x} counter name mark_{mark:08x}\n" for mark in marks)
        self.node.run(
            *("nft", "-f", "-"),
            text=f"""
            table inet proxy {{
                {counters}
                chain sent_marks {{
                    type filter hook output priority mangle; policy accept;
                    meta l4proto != tcp accept
                    {rules}
                }}
            }}
            """,
        )

    def packets_with_mark(self, mark: int) -> int:
        """How many packets had this mark since `count_marks`."""
        listing = json.loads(self.node.run("nft", "-j", "list", "counter", "inet", "proxy", f"mark_{mark:08x}"))
        [counter] = [entry["counter"] for entry in listing["nftables"] if "counter" in entry]
        return int(counter["packets"])
