"""Which Envoys run, in a file: for the control plane that comes after this one."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cilium_proxy.config import Address
from cilium_proxy.supervisor.generation import Generation

_log = logging.getLogger(__name__)

FILE = "envoy.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One Envoy. `ticks` is when it started, as the kernel counts: process ids are used again."""

    pid: int
    ticks: int
    started_at: float
    generation: Generation | None
    admin: Address | Path

    @classmethod
    def of(cls, pid: int, started_at: float, generation: Generation | None, admin: Address | Path) -> Running | None:
        """A process, None when it has ended."""
        try:
            ticks = _ticks(pid)
        except OSError:
            return None
        return cls(pid=pid, ticks=ticks, started_at=started_at, generation=generation, admin=admin)

    def open(self) -> int | None:
        """A pidfd of the process, None if it has ended."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except OSError:
            return None
        try:
            if _ticks(self.pid) == self.ticks:
                return pidfd
        except OSError:
            pass
        os.close(pidfd)
        return None


@dataclass(frozen=True, slots=True)
class Record:
    """The file in the state directory. The Envoy that serves comes last."""

    path: Path

    def write(self, envoys: Sequence[Running]) -> None:
        """Replaces what the file says; removes it when none run."""
        if not envoys:
            self.path.unlink(missing_ok=True)
            return
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps([_as_json(one) for one in envoys], indent=2))
        fresh.rename(self.path)

    def is_alive(self) -> bool:
        """Whether there are any."""
        alive = self.alive()
        for _, pidfd in alive:
            os.close(pidfd)
        return bool(alive)

    def alive(self) -> list[tuple[Running, int]]:
        """Those that still run, each with a pidfd, which the caller closes."""
        found = ((one, one.open()) for one in self._read())
        return [(one, pidfd) for one, pidfd in found if pidfd is not None]

    def _read(self) -> list[Running]:
        """What the file says, which may be outdated. Nothing when there is none, or none that can be read."""
        try:
            return [_from_json(one) for one in json.loads(self.path.read_text())]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError) as error:
            _log.warning("%s cannot be read (%s); an Envoy that it speaks of is not taken over", self.path, error)
            return []


def _as_json(running: Running) -> dict[str, Any]:
    admin = running.admin
    where = {"path": str(admin)} if isinstance(admin, Path) else {"host": admin.host, "port": admin.port}
    generation = asdict(running.generation) if running.generation else None
    return {
        "pid": running.pid,
        "ticks": running.ticks,
        "started_at": running.started_at,
        "generation": generation,
        "admin": where,
    }


def _from_json(fields: dict[str, Any]) -> Running:
    admin = fields["admin"]
    generation = fields["generation"]
    return Running(
        pid=fields["pid"],
        ticks=fields["ticks"],
        started_at=fields["started_at"],
        generation=Generation(**generation) if generation else None,
        admin=Path(admin["path"]) if "path" in admin else Address(admin["host"], admin["port"]),
    )


def _ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot: field 22 of proc_pid_stat(5)."""
    text = Path(f"/proc/{pid}/stat").read_text()
    # The command, in brackets, may hold brackets and spaces itself.
    return int(text.rpartition(")")[2].split()[19])
