"""The access log of `cilium-proxy run`: processor time per entry, from the socket to a file.

Prints a table; each figure is the best of several rounds on this machine. The sender's share, a write per thousand
entries, is in it.
"""

from __future__ import annotations

import asyncio
import platform
import socket
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

from cilium_proxy.api import from_dict
from cilium_proxy.config import AccessLog
from cilium_proxy.observe import AccessLogService

CHUNK = 1000
"""Entries per write."""
HEADERS = {
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "accept-encoding": "gzip, deflate, br",
    "accept-language": "en-GB,en;q=0.5",
    "cookie": "session=0123456789abcdef0123456789abcdef",
    "referer": "http://shop.example.com/items?page=2",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "x-forwarded-proto": "http",
    "x-request-id": "ba41267c-cfc2-4a92-ad3e-cd084ab099b4",
}


def entry() -> Any:
    """A request with the headers of a browser."""
    http = {
        "http_protocol": "HTTP11",
        "scheme": "http",
        "host": "shop.example.com",
        "path": "/items/42?colour=blue",
        "method": "GET",
        "headers": [{"key": key, "value": value} for key, value in HEADERS.items()],
    }
    return from_dict(
        "cilium.LogEntry",
        {
            "timestamp": 1_795_428_000_123_000_000,
            "is_ingress": True,
            "policy_name": "10.0.0.1",
            "cilium_rule_ref": "default/shop/ingress/0",
            "source_security_id": 16_777_217,
            "source_address": "10.0.0.2:45678",
            "destination_address": "10.0.0.1:80",
            "http": http,
        },
    )


def framed(message: bytes) -> bytes:
    """Behind its length as a varint."""
    assert 0x80 <= len(message) < 0x4000
    return bytes([len(message) & 0x7F | 0x80, len(message) >> 7]) + message


async def written(service: AccessLogService, count: int) -> None:
    """Waits, so that nothing is dropped."""
    while service.statistics()["written"] < count:  # noqa: ASYNC110
        await asyncio.sleep(0.0005)


async def cost(form: Literal["compact", "json"], chunks: int, rounds: int) -> float:
    """Seconds of processor time per entry."""
    data = framed(entry().SerializeToString()) * CHUNK
    best = float("inf")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        config = AccessLog(kind="file", format=form, path=directory / "access.log")
        service = AccessLogService(directory / "log.sock", config, stream=True)
        await service.start()
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sender:
            sender.setblocking(False)
            await loop.sock_connect(sender, str(directory / "log.sock"))
            wanted = 0
            for _ in range(rounds):
                started = time.process_time()
                for _ in range(chunks):
                    await loop.sock_sendall(sender, data)
                    wanted += CHUNK
                    await written(service, wanted)
                best = min(best, (time.process_time() - started) / (chunks * CHUNK))
        await service.close()
    return best


def main(quick: bool) -> None:
    """Prints the table."""
    size = len(entry().SerializeToString())
    print(f"Python {platform.python_version()}, {platform.machine()}; an entry of {size} bytes\n")
    print("| Format | ns per entry |\n| --- | ---: |")
    for form in ("compact", "json"):
        seconds = asyncio.run(cost(form, chunks=10 if quick else 100, rounds=3 if quick else 9))
        print(f"| `{form}` | {seconds * 1e9:,.0f} |")
