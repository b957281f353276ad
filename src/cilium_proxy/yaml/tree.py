"""Values of a document, each with its place in the file."""

from __future__ import annotations

from dataclasses import dataclass

from cilium_proxy.yaml.problem import Mark


@dataclass(frozen=True, slots=True)
class Scalar:
    """`value` is the typed value, `text` what the file says (so that `1.10` or `0x50` can be shown as written)."""

    mark: Mark
    value: str | int | float | bool | None
    text: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    mark: Mark
    items: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """A dictionary. Keys are always strings; `keys` has their places."""

    mark: Mark
    items: dict[str, Value]
    keys: dict[str, Mark]


Value = Scalar | Sequence | Mapping


def kind(value: Value) -> str:
    """What to call the value in a message."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, Sequence):
        return "a list"
    names = {str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value.value), "nothing")


def plain(value: Value) -> object:
    """The value as Python data, without places."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items.items()}
    if isinstance(value, Sequence):
        return [plain(item) for item in value.items]
    return value.value
