"""Loopback addresses and ports."""

import errno
import random
import socket

import pytest

CLIENT, STRANGER = "127.0.0.3", "127.0.0.4"


def free_port(host="127.0.0.1"):
    """A port nobody listens on, below those that the kernel gives to clients."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                raise
            return port


def has_ipv6():
    try:
        free_port("::1")
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
