"""The command line of the runner: exits 0 if all cases passed, 1 if some failed, 2 if some could not be run."""

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

KINDS = ("policy", "host_map", "l7", "http", "tcp", "bpf_metadata", "websocket")
Run = Callable[[Any], Iterable[Result]]


def kinds() -> dict[str, str]:
    """Modules of the kinds that this installation can run, by kind."""
    present = {module.name for module in pkgutil.iter_modules(vectors.__path__)}
    return {kind: f"{vectors.__name__}.{kind}" for kind in KINDS if kind in present}


def run(kind: str, files: Iterable[Path]) -> Iterator[Result]:
    """Runs all cases of the files. Raises UnusableError for an unknown kind or a file that cannot be read."""
    modules = kinds()
    if kind not in modules:
        raise UnusableError(f"unknown kind {kind!r}: the kinds are {', '.join(modules)}")
    run_document: Run = importlib.import_module(modules[kind]).run
    for file in files:
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UnusableError(f"{file}: {error}") from error
        try:
            yield from run_document(document)
        except UnusableError as error:
            raise UnusableError(f"{file}: {error}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints each failing step and the number of cases that passed and failed; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m cilium_proxy.testing.vectors", description=main.__doc__)
    parser.add_argument("kind", metavar="KIND", help=", ".join(kinds()))
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path)
    options = parser.parse_args(arguments)
    passed = failed = 0
    status = 0
    try:
        for result in run(options.kind, options.files):
            passed += result.passed
            failed += not result.passed
            if result.unusable:
                print(f"{result.name}: {result.unusable}")
                status = 2
            for failure in result.failures:
                print(f"{result.name}: step {failure.step} ({failure.what})")
                print(f"    expected {failure.expected}")
                print(f"    got      {failure.got}")
    except UnusableError as error:
        print(error, file=sys.stderr)
        status = 2
    print(f"{passed} passed, {failed} failed")
    return status or int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
