"""Addresses with a port: `127.0.0.1:80`, `[::1]:80`, `backend.example:80`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

_HOST_NAME = re.compile(
    r"(?=.{1,253}$)([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
)


@dataclass(frozen=True, slots=True)
class Address:
    """`host` is an IP address in canonical form (without brackets) or a host name; `port` is 1 to 65535."""

    host: str
    port: int

    @property
    def is_ip(self) -> bool:
        """Whether `host` is an IP address."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, *, names: bool = False) -> Address:
    """Reads an address; host names only where `names` allows them. Raises ValueError saying what is wrong."""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]:")
        if not bracket:
            raise ValueError("has no port; write it like [::1]:8080")
    else:
        host, colon, port = text.rpartition(":")
        if not colon:
            raise ValueError("has no port; write it like 127.0.0.1:8080")
        if ":" in host:
            raise ValueError(f"needs brackets around the IPv6 address; write [{host}]:{port}")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise ValueError(f"port `{port}` is not a number from 1 to 65535")
    try:
        canonical = str(ipaddress.ip_address(host))
    except ValueError:
        if text.startswith("["):
            raise ValueError(f"`{host}` is not an IPv6 address") from None
        if not names:
            raise ValueError(f"`{host}` is not an IP address; host names are not allowed here") from None
        # A last label of digits would be a mistyped IPv4 address.
        if not _HOST_NAME.fullmatch(host) or host.rpartition(".")[2].isdigit():
            raise ValueError(f"`{host}` is neither an IP address nor a host name") from None
        canonical = host.lower()
    return Address(canonical, int(port))
