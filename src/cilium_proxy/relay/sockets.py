"""Unix sockets that the control plane listens on."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

PATH_LIMIT = 107
"""Bytes in the path of a Unix socket (unix(7))."""


class SocketError(OSError):
    """A Unix socket cannot be listened on; the text names its path and the fix."""


def listen(path: Path, mode: int = 0o600, backlog: int = 16) -> socket.socket:
    """Listens on `path` with the given permissions; takes the place of a socket that nobody listens on any more.

    Raises SocketError.
    """
    release(path)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        with private_names(mode):
            server.bind(str(path))
        server.listen(backlog)
    except OSError as error:
        server.close()
        raise SocketError(f"cannot listen on {path}: {error.strerror}") from error
    return server


@contextlib.contextmanager
def private_names(mode: int = 0o600) -> Iterator[None]:
    """Sockets bound meanwhile have these permissions from the moment their names exist."""
    mask = os.umask(0o777 & ~mode)
    try:
        yield
    finally:
        os.umask(mask)


def release(path: Path) -> None:
    """Removes a socket that nobody listens on. Raises SocketError when one does, or something else is there."""
    if len(os.fsencode(path)) > PATH_LIMIT:
        raise SocketError(
            f"{path} is too long for a Unix socket: at most {PATH_LIMIT} bytes; use a shorter state directory"
        )
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise SocketError(f"cannot look at {path}: {error.strerror}") from error
    if not stat.S_ISSOCK(found.st_mode):
        raise SocketError(f"{path} exists and is not a socket: remove it or use another state directory")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        result = probe.connect_ex(str(path))
    if result != errno.ECONNREFUSED:
        raise SocketError(f"another process listens on {path}: stop it or use another state directory")
    path.unlink()
