"""`make bench`: runs the benchmarks by name, or all of them; `--quick` for a first look."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from bench import access_log as access_log_bench
from bench import agent as agent_bench
from bench import parsers as parsers_bench
from bench import python_parsers as python_parsers_bench
from bench import tls as tls_bench
from bench import websocket as websocket_bench
from bench.http import compare

ROOT = Path(__file__).resolve().parent.parent


def http(quick: bool) -> None:
    """Requests/s and CPU per request of this proxy and its peers."""
    compare.main(rounds=3 if quick else 9, seconds=2 if quick else 5)


def verdict(quick: bool) -> None:
    """Verdicts and updates of the engine, and the policy channel (criterion)."""
    cargo = shutil.which("cargo") or str(Path.home() / ".cargo/bin/cargo")
    command = [cargo, "bench", "--quiet", "--locked", "-p", "cilium-policy", "-p", "cilium-channel"]
    subprocess.run([*command, "--", *(["--quick"] if quick else [])], cwd=ROOT, check=True)


def python(quick: bool) -> None:
    """The same through Python."""
    command = [sys.executable, str(ROOT / "bench/python_policy.py"), *(["--quick"] if quick else [])]
    subprocess.run(command, cwd=ROOT, check=True)


def tls(quick: bool) -> None:
    """Connections and bytes with TLS that policy chooses against plain Envoy's."""
    tls_bench.main(rounds=3 if quick else 9, seconds=2 if quick else 5)


def websocket(quick: bool) -> None:
    """Throughput of TCP in a websocket against a plain TCP proxy."""
    websocket_bench.main(rounds=3 if quick else 9, mebibytes=128 if quick else 512)


def parsers(quick: bool) -> None:
    """What each parser costs against a plain TCP proxy."""
    parsers_bench.main(rounds=3 if quick else 7, seconds=1 if quick else 2)


def python_parsers(quick: bool) -> None:
    """A parser written in Python against a built-in one and none."""
    python_parsers_bench.main(rounds=3 if quick else 9, seconds=2 if quick else 5)


def agent(quick: bool) -> None:
    """Large states and many updates behind an agent."""
    agent_bench.main(quick)


def access_log(quick: bool) -> None:
    """What an entry of the access log costs `cilium-proxy run`."""
    access_log_bench.main(quick)


BENCHMARKS = {
    "http": http,
    "tls": tls,
    "verdict": verdict,
    "python": python,
    "websocket": websocket,
    "parsers": parsers,
    "python_parsers": python_parsers,
    "agent": agent,
    "access_log": access_log,
}


def main() -> int:
    """Runs what the command line names."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("name", nargs="*", choices=[*BENCHMARKS, []], help="default: all")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    wanted = parser.parse_args()
    for name in wanted.name or BENCHMARKS:
        print(f"== {name}\n", flush=True)
        BENCHMARKS[name](wanted.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
