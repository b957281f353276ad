"""Runs `wrk` against a peer and reads what the peer's process used."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """One run: requests per second, and the proxy's CPU time per request in microseconds."""

    rate: float
    cpu_us: float
    p99_ms: float


def cpu_seconds(pid: int) -> float:
    """Time that the process's threads have used so far."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def run(url: str, pid: int, *, seconds: float, connections: int, core: int, headers: tuple[str, ...] = ()) -> Sample:
    """Sends requests for that long from one `wrk` thread on the given core.

    Raises:
        RuntimeError: any reply was not 200, or `wrk` failed.
    """
    before = cpu_seconds(pid)
    command = ["taskset", "-c", str(core), "wrk", "--latency", "-t1", f"-c{connections}", f"-d{seconds:g}s", url]
    command += [argument for header in headers for argument in ("-H", header)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    used = cpu_seconds(pid) - before
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(f"{url}: not every request was answered with 200:\n{done.stdout}")
    requests = int(_find(r"(\d+) requests in", done.stdout))
    rate = float(_find(r"Requests/sec:\s+([\d.]+)", done.stdout))
    latency = _milliseconds(_find(r"^\s+99%\s+(\S+)$", done.stdout))
    return Sample(rate=rate, cpu_us=used * 1e6 / requests, p99_ms=latency)


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk printed no {pattern!r}:\n{text}")
    return found.group(1)


def _milliseconds(text: str) -> float:
    for unit, factor in (("us", 1e-3), ("ms", 1.0), ("s", 1e3)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise RuntimeError(f"wrk printed an unknown latency {text!r}")
