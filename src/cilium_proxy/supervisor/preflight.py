"""Checks before anything is started."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

from cilium_proxy.config import Address, Config
from cilium_proxy.supervisor import embedding
from cilium_proxy.supervisor.command import MissingError, binary, module


def check(config: Config, *, addresses: bool = True) -> list[str]:
    """What would keep the proxy from running, one sentence each with place and fix; empty when nothing would.

    Addresses are looked at unless an Envoy that will hand them on has them.
    """
    found = []
    for part in (binary, module):
        try:
            path = part()
        except MissingError as error:
            found.append(str(error))
        else:
            if not _is_whole(path):
                found.append(f"{path} is damaged: it is no complete ELF file; install the package it belongs to again")
    try:
        embedding.of_config(config)
    except MissingError as error:
        found.append(str(error))
    return found + (check_addresses(_addresses(config)) if addresses else [])


def check_addresses(addresses: Iterable[tuple[str, Address]]) -> list[str]:
    """Addresses that cannot be listened on; each with what it is for."""
    found = []
    for purpose, address in addresses:
        problem = _bind_problem(address)
        if problem is not None:
            found.append(f"{purpose}: {problem}")
    return found


def _is_whole(path: Path) -> bool:
    """Whether an ELF file is as long as its header says: loading one that was cut off crashes."""
    try:
        with path.open("rb") as file:
            header = file.read(64)
            size = file.seek(0, os.SEEK_END)
    except OSError:
        return False
    if len(header) < 64 or header[:5] != b"\x7fELF\x02":
        return False
    (offset,), (entry, count) = struct.unpack_from("<Q", header, 40), struct.unpack_from("<HH", header, 58)
    return bool(offset + entry * count <= size)


def _addresses(config: Config) -> Iterable[tuple[str, Address]]:
    for listener in config.listeners:
        yield f"{listener.mark}: listener `{listener.name}`", listener.address
    if config.admin is not None:
        yield f"{config.places.get('admin', config.file)}: admin", config.admin


def _bind_problem(address: Address) -> str | None:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Connections that ended lately are no obstacle; a listener is, even one that shares its port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind((address.host, address.port))
            probe.listen(1)
        except OSError as error:
            return f"cannot listen on {address}: {_reason(error, address)}"
    return None


def _reason(error: OSError, address: Address) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the port is in use; stop the program that has it (`ss -ltnp` shows it) or use another port"
        case errno.EACCES:
            return (
                f"port {address.port} is privileged; use one above 1023, or give the permission with "
                f"`sysctl net.ipv4.ip_unprivileged_port_start={address.port}` or the capability CAP_NET_BIND_SERVICE"
            )
        case errno.EADDRNOTAVAIL:
            return "this machine does not have that address; use one that `ip address` shows"
        case other:
            return os.strerror(other or 0)
