"""A small transparent TCP proxy that uses the private socket options as Envoy does: `forwarder.py '{"port": ...}'`.

Settings: `port` to listen on, `mark` for upstream sockets (or null), `source`: "address", "address and port" or null,
`transparent`: false for an ordinary listener, `destination` in place of where the client wanted to go, `local`:
addresses of this node's workloads, which turns to the option that is decided on connect.
A line on standard output says that it listens, and one per connection what became of it.
"""

import ctypes
import ipaddress
import json
import os
import socket
import struct
import sys
from typing import Any

LEVEL = 0x43494C
SOURCE_ADDRESS, MARK, LINGER, TRANSPARENT, SOURCE_ADDRESS_ON_CONNECT = 1, 2, 3, 4, 5


def source_address(address: tuple[str, int]) -> bytes:
    """A `sockaddr_in` or `sockaddr_in6`."""
    host, port = address[:2]
    if ":" in host:
        packed = socket.inet_pton(socket.AF_INET6, host)
        return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI16s", port, 0, packed) + struct.pack("=I", 0)
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, socket.inet_aton(host))


def listen(family: int, port: int, *, transparent: bool) -> socket.socket:
    """A listener on any address."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if transparent:
        listener.setsockopt(LEVEL, TRANSPARENT, 1)
    listener.bind(("", port))
    listener.listen()
    return listener


def forward(downstream: socket.socket, settings: dict[str, Any]) -> str:
    """Connects to where the client wanted to go and passes the answer back."""
    client, destination = downstream.getpeername()[:2], settings.get("destination", downstream.getsockname()[:2])
    with downstream, socket.socket(downstream.family, socket.SOCK_STREAM) as upstream:
        try:
            if settings["mark"] is not None:
                upstream.setsockopt(LEVEL, MARK, struct.pack("=I", settings["mark"]))
            if settings["source"] is not None:
                port = client[1] if settings["source"] == "address and port" else 0
                option = SOURCE_ADDRESS_ON_CONNECT if "local" in settings else SOURCE_ADDRESS
                upstream.setsockopt(LEVEL, option, source_address((client[0], port)))
                upstream.setsockopt(LEVEL, LINGER, 0)
        except OSError as error:
            return f"refused: {error.strerror}"
        upstream.connect(tuple(destination))
        while data := upstream.recv(4096):
            downstream.sendall(data)
    return "forwarded"


def set_local_check(local: list[str]) -> object:
    """Has the library ask whether a destination is one of these; the result must live as long as it may ask."""

    def is_local(address: Any, length: int) -> int:
        return int(str(ipaddress.ip_address(bytes(address[:length]))) in local)

    check = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_uint8), ctypes.c_size_t)(is_local)
    ctypes.CDLL(None).cilium_sockets_set_local_check(check)
    return check


def main() -> None:
    """Forwards the connections of one family, one at a time."""
    settings = json.loads(sys.argv[1])
    _check = set_local_check(settings["local"]) if "local" in settings else None
    transparent = settings.get("transparent", True)
    family = socket.AF_INET if settings["family"] == 4 else socket.AF_INET6
    try:
        listener = listen(family, settings["port"], transparent=transparent)
    except OSError as error:
        print(f"cannot listen: {error.strerror}", flush=True)
        return
    print("listening", os.getpid(), flush=True)
    while True:
        downstream, _ = listener.accept()
        print(forward(downstream, settings), flush=True)


if __name__ == "__main__":
    main()
