"""Parsers by name, from the directories that the operator configured and from nowhere else; anew when edited."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import stat
import sys
import traceback
from collections.abc import Sequence
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from cilium_proxy.l7.parser import Parser
from cilium_proxy.l7.rule import Rule, keys

PREFIX = "python:"
"""What the name of a Python parser starts with in a policy."""

_NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)", re.ASCII)

Stamp = tuple[int, int, int] | None


class LoadError(Exception):
    """A parser cannot be loaded; the first line says why, a traceback may follow."""


class Loader:
    """Finds modules below `directories`, for imports while it is in `sys.meta_path`, and loads parsers from them.

    The standard library goes first: nothing below the directories can take the place of a part of it.
    """

    def __init__(self, directories: Sequence[str | Path]) -> None:
        self.directories = tuple(str(Path(directory).absolute()) for directory in directories)
        self._finders: dict[str, FileFinder] = {}
        # What was looked for, and what was there when it was. `_seen` is what the last look at them showed.
        self._stamps: dict[str, Stamp] = {}
        self._seen: dict[str, Stamp] = {}

    def install(self) -> None:
        """Makes imports find what lies below the directories, after everything else."""
        sys.meta_path.append(self)

    def __enter__(self) -> Self:
        """Installs it for a while. Then what was imported is forgotten."""
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        self.refresh()
        sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        """Finds a module; `path` is that of its package. Part of the import system."""
        portions = []
        for directory in self.directories if path is None else path:
            if not self._covers(directory):
                continue
            self._note(directory, name.rpartition(".")[2])
            spec = self._finder(directory).find_spec(name)
            if spec is None:
                continue
            if spec.loader is not None:
                if spec.origin is not None:
                    _check_owner(spec.origin)
                return spec
            portions += spec.submodule_search_locations or []
        if not portions:
            return None
        package = ModuleSpec(name, None, is_package=True)
        package.submodule_search_locations = portions
        return package

    def load(self, name: str) -> type[Parser[Any]]:
        """The class `package.module:Class`. Raises LoadError."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise LoadError(f"{PREFIX}{name} is not {PREFIX}package.module:Class")
        module, attribute = match.groups()
        for directory in self.directories:
            _check_directory(directory)
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names or top == "cilium_proxy":
            raise LoadError(f"{top} is a module of Python or of the proxy, which no parser can be: rename yours")
        try:
            if self.find_spec(top) is None:
                raise LoadError(f"there is no module {top} in {', '.join(self.directories) or 'any directory'}")
            imported = importlib.import_module(module)
        except LoadError:
            raise
        except (Exception, SystemExit) as error:
            reason = traceback.format_exception_only(error)[-1].strip()
            raise LoadError(f"the import of {module} failed: {reason}\n{_trace(error)}") from error
        if not self._loaded(imported):
            raise LoadError(f"{module} is imported from {_origin(imported)}, not from the configured directories")
        return _checked(name, getattr(imported, attribute, None))

    def changed(self) -> bool:
        """Whether files differ from what was loaded, and have since it was asked last: edits take time."""
        now = {path: _stamp(path) for path in self._stamps}
        settled = now == self._seen
        self._seen = now
        return settled and now != self._stamps

    def refresh(self) -> None:
        """Forgets what was imported. Whatever runs goes on with it; the next `load` reads anew."""
        for name in [name for name, module in sys.modules.items() if self._loaded(module)]:
            del sys.modules[name]
        self._finders.clear()
        self._stamps.clear()
        self._seen.clear()

    def _covers(self, directory: str) -> bool:
        return any(directory == own or directory.startswith(own + os.sep) for own in self.directories)

    def _finder(self, directory: str) -> FileFinder:
        if directory not in self._finders:
            extensions, sources = (ExtensionFileLoader, EXTENSION_SUFFIXES), (_SourceLoader, SOURCE_SUFFIXES)
            self._finders[directory] = FileFinder(directory, extensions, sources)
        return self._finders[directory]

    def _note(self, directory: str, name: str) -> None:
        for path in (f"{directory}/{name}.py", f"{directory}/{name}/__init__.py"):
            self._stamps.setdefault(path, _stamp(path))

    def _loaded(self, module: ModuleType) -> bool:
        spec = getattr(module, "__spec__", None)
        if spec is None:
            return False
        places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or [])
        return any(self._covers(str(place)) for place in places)


class _SourceLoader(SourceFileLoader):
    """Compiles the source, always: bytecode files would hide an edit within a second of another, and litter."""

    def path_stats(self, path: Any) -> Any:
        raise OSError("bytecode is not used")


def _checked(name: str, found: object) -> type[Parser[Any]]:
    if not isinstance(found, type) or not issubclass(found, Parser):
        what = "is not there" if found is None else "is not a subclass of cilium_proxy.l7.Parser"
        raise LoadError(f"{PREFIX}{name}: the class {what}")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise LoadError(f"{PREFIX}{name}: the class does not implement {missing}")
    rule: object = found.rule
    if not isinstance(rule, type) or not issubclass(rule, Rule):
        raise LoadError(f"{PREFIX}{name}: `rule` is not a subclass of cilium_proxy.l7.Rule")
    try:
        keys(rule)
    except Exception as error:
        raise LoadError(
            f"{PREFIX}{name}: `rule` is not a dataclass with types of cilium_proxy.l7.Rule: {error}"
        ) from error
    return found


def _check_directory(directory: str) -> None:
    try:
        mode = Path(directory).stat().st_mode
    except OSError as error:
        raise LoadError(f"the directory {directory} cannot be used: {error.strerror}") from error
    if not stat.S_ISDIR(mode):
        raise LoadError(f"{directory} is not a directory")
    if mode & stat.S_IWOTH:
        raise LoadError(f"{directory} can be written by everyone, so its parsers are not run: chmod o-w {directory}")


def _check_owner(file: str) -> None:
    if Path(file).stat().st_mode & stat.S_IWOTH:
        raise ImportError(f"{file} can be written by everyone, so it is not run: chmod o-w {file}")


def _stamp(path: str) -> Stamp:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _origin(module: ModuleType) -> str:
    return str(getattr(module.__spec__, "origin", None) or "elsewhere")


def _trace(error: BaseException) -> str:
    """The traceback below this file and the import system."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename != __file__ and not frame.filename.startswith("<frozen")]
    return "".join(traceback.format_list(own)).rstrip()
