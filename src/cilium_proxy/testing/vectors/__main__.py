"""The command line of the runner: exits 0 if all cases passed, 1 if some did not, 2 if a file could not be read."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cilium_proxy.testing import vectors
from cilium_proxy.testing.vectors import Result, UnusableError

KINDS = ("policy", "host_map", "l7", "http", "tcp", "bpf_metadata", "websocket", "access_log", "health_check_sink")
Run = Callable[[Any], Iterable[Result]]


def kinds() -> dict[str, str]:
    """Modules of the kinds that this installation can run, by kind."""
    present = {module.name for module in pkgutil.iter_modules(vectors.__path__)}
    return {kind: f"{vectors.__name__}.{kind}" for kind in KINDS if kind in present}


def run(kind: str, file: Path) -> Iterator[Result]:
    """Runs all cases of a file. Raises UnusableError for an unknown kind or a file that cannot be read."""
    modules = kinds()
    if kind not in modules:
        raise UnusableError(f"unknown kind {kind!r}: the kinds are {', '.join(modules)}")
    run_document: Run = importlib.import_module(modules[kind]).run
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        yield from run_document(document)
    except (OSError, ValueError, UnusableError) as error:
        raise UnusableError(f"{file}: {error}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints each failing step and the number of cases that passed and failed; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m cilium_proxy.testing.vectors", description=main.__doc__)
    parser.add_argument("kind", metavar="KIND", help=", ".join(kinds()))
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path)
    options = parser.parse_args(arguments)
    passed = failed = 0
    unread = False
    for file in options.files:
        try:
            for result in run(options.kind, file):
                passed += result.passed
                failed += not result.passed
                show(result)
        except UnusableError as error:
            print(error, file=sys.stderr)
            unread = True
    print(f"{passed} passed, {failed} failed")
    return 2 if unread else int(failed > 0)


def show(result: Result) -> None:
    """Prints what went wrong in a case, if anything did."""
    if result.unusable:
        print(f"{result.name}: {result.unusable}")
    for failure in result.failures:
        print(f"{result.name}: step {failure.step} ({failure.what})")
        print(f"    expected {failure.expected}")
        print(f"    got      {failure.got}")


if __name__ == "__main__":
    sys.exit(main())
