"""Policy files to documents."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cilium_proxy.policy.compile.rule import Probe
from cilium_proxy.yaml import Mapping as YamlMapping
from cilium_proxy.yaml import Mark, Problem, Problems, ProblemsError, Scalar, Sequence, Value, read

SUFFIXES = (".yaml", ".yml", ".json")
CASE_SUFFIXES = (".policy-test.yaml", ".policy-test.yml")
"""Files of test cases (docs/policy-tests.md); they may lie beside the policies and are not policies."""


class CompileError(ProblemsError):
    """Policies are wrong; `problems` says all that is known without the engine, `probes` are for `verify_probes`."""

    def __init__(self, problems: list[Problem], probes: tuple[Probe, ...] = ()) -> None:
        super().__init__(problems)
        self.probes = probes


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents of all policy files. `files` are those read, for watching."""

    values: tuple[Value, ...]
    files: tuple[Path, ...]


def load_policies(paths: Iterable[str | Path], places: Mapping[str, Mark] | None = None) -> Documents:
    """Reads files, directories (recursively) and globs. Raises CompileError. `places` says where each path is named.

    A directory or glob without files is empty, a path that does not exist is an error. Hidden files and directories are
    skipped: editors and Kubernetes volumes leave them behind.
    """
    problems = Problems()
    files: dict[Path, str] = {}
    for path in paths:
        named = Mark(_shown(Path(path)))
        try:
            if not Path(path).exists() and not glob.has_magic(str(path)):
                place = (places or {}).get(str(path))
                message = f"{named.file} does not exist" if place else "does not exist"
                problems.add(place or named, "policies" if place else "", message, "correct the path or create it")
                continue
            for file in _files(Path(path), problems):
                files.setdefault(file.resolve(), _shown(file))
        except OSError as error:
            problems.add(named, "", f"cannot be read: {error.strerror}", "check the path and its permissions")
    values: list[Value] = []
    for file, name in sorted(files.items()):
        for value in read(file, problems, name):
            values.extend(_unwrap(value))
    if problems:
        raise CompileError(problems.found)
    return Documents(tuple(values), tuple(sorted(files)))


def _files(path: Path, problems: Problems) -> list[Path]:
    if path.is_dir():
        return _below(path, problems)
    if path.exists():
        return [path]
    if glob.has_magic(str(path)):
        base = next(parent for parent in path.parents if not glob.has_magic(str(parent)))
        if base.is_dir() and not os.access(base, os.R_OK | os.X_OK):
            problems.add(Mark(_shown(base)), "", "cannot be listed: Permission denied", "check its permissions")
        # Path.glob takes no absolute patterns.
        matches = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207
        return [file for match in matches for file in (_files(match, problems) if match.is_dir() else [match])]
    return []


def _below(directory: Path, problems: Problems) -> list[Path]:
    """The policy files of a directory. One that cannot be listed is a problem: without its policies all is allowed."""

    def unreadable(error: OSError) -> None:
        mark = Mark(_shown(Path(error.filename)))
        problems.add(mark, "", f"cannot be listed: {error.strerror}", "check its permissions")

    found: list[Path] = []
    seen = {os.path.realpath(directory)}
    for place, folders, files in os.walk(directory, onerror=unreadable, followlinks=True):
        targets = {name: os.path.realpath(f"{place}/{name}") for name in folders if not name.startswith(".")}
        folders[:] = [name for name, target in targets.items() if target not in seen]
        seen.update(targets.values())
        names = [name for name in files if name.endswith(SUFFIXES) and not name.endswith(CASE_SUFFIXES)]
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return found


def _shown(path: Path) -> str:
    """The path as short as it can be said."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _unwrap(value: Value) -> list[Value]:
    """The items of a Kubernetes `List`, or the document; empty documents are left out."""
    if isinstance(value, Scalar) and value.value is None:
        return []
    if isinstance(value, YamlMapping):
        kind, items = value.items.get("kind"), value.items.get("items")
        if isinstance(kind, Scalar) and str(kind.value).endswith("List") and isinstance(items, Sequence):
            return list(items.items)
    return [value]
