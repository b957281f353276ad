"""Where a running proxy has its sockets, and how others find it."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
from pathlib import Path

CONTROL = "control.sock"


class StateDirectoryError(Exception):
    """The directory cannot be used; the text says why and what to do."""


def base() -> Path:
    """The directory with a directory for each proxy that runs without `--state-dir`."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "cilium-proxy"
    if os.geteuid() == 0:
        return Path("/run/cilium-proxy")
    return Path(f"/tmp/cilium-proxy-{os.geteuid()}")  # noqa: S108 - checked for its owner before use


def default(config: Path) -> Path:
    """The state directory of the proxy with this configuration file: always the same one."""
    return base() / hashlib.sha256(os.fsencode(config.resolve())).hexdigest()[:12]


def running() -> list[Path]:
    """State directories below `base` of proxies that run."""
    return sorted(path.parent for path in base().glob(f"*/{CONTROL}") if _answers(path))


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(path)) == 0


def create(path: Path) -> Path:
    """Makes the directory, for this user only. Raises StateDirectoryError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.parent == base():
            _narrow(path.parent)
            _check(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        _check(path)
    except OSError as error:
        raise StateDirectoryError(f"cannot use {path}: {error.strerror}; give another with --state-dir") from error
    return path


def _narrow(path: Path) -> None:
    """Takes from others the right to write to a directory of this user's: volumes of Kubernetes come with it."""
    info = path.lstat()
    if stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid() and info.st_mode & 0o022:
        path.chmod(stat.S_IMODE(info.st_mode) & ~0o022)


def _check(path: Path) -> None:
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():
        raise StateDirectoryError(f"{path} is not a directory of this user; remove it or give another with --state-dir")
    if info.st_mode & 0o022:
        raise StateDirectoryError(
            f"{path} can be written by others; `chmod go-w {path}` or give another with --state-dir"
        )
