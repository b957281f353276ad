"""Pinned BPF maps as Cilium's agent makes them, in a BPF file system of their own."""

from __future__ import annotations

import ipaddress
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.network.namespaces import run

TRIE = "lpm_trie"


@dataclass(frozen=True)
class PinnedMaps:
    """A BPF file system."""

    root: Path

    def path(self, name: str) -> Path:
        """Where Cilium pins a map."""
        return self.root / "tc" / "globals" / name

    def create(self, name: str, kind: str, key: int, value: int) -> None:
        """Makes and pins a map; `key` and `value` are sizes in bytes."""
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        sizes = ("key", str(key), "value", str(value), "entries", "64", "name", "test")
        # Tries must not preallocate (BPF_F_NO_PREALLOC).
        flags = ("flags", "1") if kind == TRIE else ()
        run("bpftool", "map", "create", self.path(name), "type", kind, *sizes, *flags)

    def update(self, name: str, key: bytes, value: bytes) -> None:
        """Sets an entry."""
        run("bpftool", "map", "update", "pinned", self.path(name), "key", *_hex(key), "value", *_hex(value))

    def remove(self, name: str) -> None:
        """Unpins the map; whoever has it open keeps it."""
        self.path(name).unlink()


def _hex(data: bytes) -> tuple[str, ...]:
    return ("hex", *(f"{byte:02x}" for byte in data))


@contextmanager
def mounted(directory: Path) -> Iterator[PinnedMaps]:
    """Mounts a BPF file system there for the time of the context."""
    run("mount", "-t", "bpf", "bpf", directory)
    try:
        yield PinnedMaps(directory)
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=False)


def ipcache_key(prefix: str) -> bytes:
    """`struct ipcache_key`."""
    network = ipaddress.ip_network(prefix)
    family = 1 if network.version == 4 else 2
    address = network.network_address.packed.ljust(16, b"\0")
    return struct.pack("=IHBB", 32 + network.prefixlen, 0, 0, family) + address


def ipcache_value(identity: int, size: int) -> bytes:
    """`struct remote_endpoint_info`: 12 bytes with an IPv4 tunnel endpoint, 24 with one of either family."""
    endpoint = ipaddress.ip_address("192.0.2.1").packed.ljust(size - 8, b"\0")
    return struct.pack("=I", identity) + endpoint + struct.pack("=HBB", 0, 3, 2)


def conntrack_key(source: tuple[str, int], destination: tuple[str, int], *, ingress: bool) -> bytes:
    """`struct ipv4_ct_tuple` or `struct ipv6_ct_tuple`, of TCP."""
    addresses = b"".join(ipaddress.ip_address(host).packed for host, _ in (source, destination))
    return addresses + struct.pack("!HHBB", destination[1], source[1], 6, int(ingress))


def conntrack_entry(identity: int) -> bytes:
    """`struct ct_entry`."""
    counters = struct.pack("=QQQQ", 1, 64, 2, 128)
    return counters + struct.pack("=IHHHBBIII", 300, 0x10, 7, 0, 0x12, 0x10, identity, 5, 6)
