"""Files to values. Built from parser events, with an explicit stack: depth, size and aliases are bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from cilium_proxy.yaml.problem import Mark, Problems
from cilium_proxy.yaml.tree import Mapping, Scalar, Sequence, Value

MAX_BYTES = 16 * 1024 * 1024
"""Largest file, in bytes."""
MAX_DEPTH = 64
"""Deepest nesting of lists and mappings."""
MAX_VALUES = 500_000
"""Most values in one document. An alias counts as often as what it stands for: a few lines cannot become gigabytes."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER = yaml.resolver.Resolver()
_CONSTRUCTOR = yaml.constructor.SafeConstructor()
_TAG = "tag:yaml.org,2002:"


class _RefusedError(Exception):
    """The rest of the file cannot be read."""


def read(path: Path, problems: Problems, name: str | None = None) -> list[Value]:
    """The documents of a file; `name` is what messages call it. What is wrong goes to `problems`."""
    mark = Mark(name or str(path))
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        problems.add(mark, "", f"cannot be read: {error.strerror}", "check the path and its permissions")
        return []
    if len(data) > MAX_BYTES:
        problems.add(mark, "", f"is larger than {MAX_BYTES} bytes", "split it into several files")
        return []
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problems.add(mark, "", f"is not UTF-8 (byte {error.start})", "save it as UTF-8")
        return []
    return parse(text, mark.file, problems)


def parse(text: str, file: str, problems: Problems) -> list[Value]:
    """The documents of YAML or JSON text. After a syntax error the documents before it are returned."""
    builder = _Builder(file, problems)
    try:
        for event in _events(text):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        mark = Mark(file, at.line + 1, at.column + 1) if at else Mark(file)
        what = " ".join(part for part in (error.problem, error.context) if part)
        problems.add(mark, "", f"not valid YAML: {what}", "check indentation, quotes and brackets near this line")
    except yaml.YAMLError as error:
        problems.add(Mark(file), "", f"not valid YAML: {' '.join(str(error).split())}", "remove control characters")
    except _RefusedError:
        pass
    return builder.documents


def _events(text: str) -> Iterator[yaml.Event]:
    yield from yaml.parse(text, Loader=_LOADER)


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not been seen."""

    mark: Mark
    anchor: str | None
    is_mapping: bool
    values: list[Value] = field(default_factory=list)
    items: dict[str, Value] = field(default_factory=dict)
    keys: dict[str, Mark] = field(default_factory=dict)
    key: str | None = None
    key_pending: bool = True
    count: int = 1


class _Builder:
    def __init__(self, file: str, problems: Problems) -> None:
        self.documents: list[Value] = []
        self._file = file
        self._problems = problems
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Value, int]] = {}

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._anchors = {}
        elif isinstance(event, yaml.ScalarEvent):
            self._add(self._scalar(event), 1, event.anchor)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            mark = self._mark(event)
            if len(self._stack) >= MAX_DEPTH:
                self._refuse(mark, f"nested more than {MAX_DEPTH} levels deep", "flatten it")
            self._stack.append(_Open(mark, event.anchor, isinstance(event, yaml.MappingStartEvent)))
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            done = self._stack.pop()
            value: Value
            if done.is_mapping:
                value = Mapping(done.mark, done.items, done.keys)
            else:
                value = Sequence(done.mark, tuple(done.values))
            self._add(value, done.count, done.anchor)

    def _mark(self, event: yaml.Event) -> Mark:
        at = event.start_mark
        return Mark(self._file, at.line + 1, at.column + 1) if at else Mark(self._file)

    def _refuse(self, mark: Mark, message: str, fix: str) -> None:
        self._problems.add(mark, "", message, fix)
        raise _RefusedError

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        mark, text = self._mark(event), event.value
        tag = event.tag
        if tag is None or tag == "!":
            tag = _RESOLVER.resolve(  # type: ignore[no-untyped-call]
                yaml.ScalarNode, text, event.implicit
            )
        value: str | int | float | bool | None
        try:
            match tag.removeprefix(_TAG):
                case "null":
                    value = None
                case "bool":
                    value = bool(_CONSTRUCTOR.construct_yaml_bool(yaml.ScalarNode(tag, text)))
                case "int":
                    value = int(_CONSTRUCTOR.construct_yaml_int(yaml.ScalarNode(tag, text)))
                case "float":
                    value = float(_CONSTRUCTOR.construct_yaml_float(yaml.ScalarNode(tag, text)))
                case "str" | "timestamp" | "merge" | "value":
                    value = text
                case _:
                    self._problems.add(mark, "", f"YAML tag {event.tag} is not allowed", "remove the tag")
                    value = text
        except (ValueError, KeyError):
            self._problems.add(
                mark, "", f"`{text}` is not a valid {tag.removeprefix(_TAG)}", "quote it to make it a string"
            )
            value = text
        return Scalar(mark, value, text)

    def _alias(self, event: yaml.AliasEvent) -> None:
        mark = self._mark(event)
        name = event.anchor or ""
        if name not in self._anchors:
            self._refuse(mark, f"alias *{name} stands for nothing", f"define &{name} before it")
        value, count = self._anchors[name]
        self._add(value, count, None, mark)

    def _add(self, value: Value, count: int, anchor: str | None, mark: Mark | None = None) -> None:
        mark = mark or value.mark
        if anchor:
            self._anchors[anchor] = (value, count)
        if not self._stack:
            self.documents.append(value)
            return
        parent = self._stack[-1]
        parent.count += count
        # Open parents have counted only their closed children, so the sum over the stack is the size so far.
        if sum(level.count for level in self._stack) > MAX_VALUES:
            self._refuse(
                mark, f"more than {MAX_VALUES} values, aliases expanded", "use fewer aliases or split the file"
            )
        if not parent.is_mapping:
            parent.values.append(value)
        elif parent.key_pending:
            parent.key_pending = False
            parent.key = self._key(parent, value, mark)
        else:
            parent.key_pending = True
            if parent.key is not None:
                parent.items[parent.key] = value

    def _key(self, parent: _Open, value: Value, mark: Mark) -> str | None:
        """The key as a string, or None (its value is then left out) after a problem."""
        if not isinstance(value, Scalar):
            self._problems.add(mark, "", "a key must be a string, not a list or mapping", "quote it")
            return None
        key = value.text
        if key == "<<":
            self._problems.add(mark, "", "merge keys (<<) are not supported", "write the fields out")
            return None
        if key in parent.keys:
            self._problems.add(
                mark, "", f"duplicate key `{key}`, first on line {parent.keys[key].line}", "keep one of them"
            )
            return None
        parent.keys[key] = mark
        return key
