"""Reads the fields of a mapping. Every field that nobody asked for is a problem, with the nearest known name."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterator
from collections.abc import Mapping as AbstractMapping

from cilium_proxy.yaml.problem import Mark, Problems
from cilium_proxy.yaml.tree import Mapping, Scalar, Sequence, Value, kind


class Fields:
    """The fields of one mapping at `path`.

    Readers return None when the field is absent, null or wrong (a problem is then recorded). Call `finish` last.
    """

    def __init__(self, value: Value | None, path: str, problems: Problems, mark: Mark | None = None) -> None:
        self.path = path
        self.problems = problems
        self._known: list[str] = []
        self._values: dict[str, Value] = {}
        self._keys: dict[str, Mark] = {}
        self.mark = value.mark if value is not None else mark or Mark("")
        if isinstance(value, Mapping):
            self._values, self._keys = value.items, value.keys
        elif value is not None:
            self.problems.add(value.mark, path, f"must be a mapping, not {kind(value)}")

    def at(self, name: str) -> str:
        """The path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def where(self, name: str) -> Mark:
        """The place of a field's value, or of the mapping when it is absent."""
        return self._values[name].mark if name in self._values else self.mark

    def problem(self, name: str, message: str, fix: str = "") -> None:
        """Records a problem with the field."""
        self.problems.add(self.where(name), self.at(name), message, fix)

    def has(self, name: str) -> bool:
        """Whether the field is present and not null."""
        return self.value(name) is not None

    def value(self, name: str, *, required: bool = False) -> Value | None:
        """The field as it is; None when absent or null."""
        self._known.append(name)
        value = self._values.get(name)
        if isinstance(value, Scalar) and value.value is None:
            value = None
        if value is None and required:
            self.problem(name, "is missing", "add it")
        return value

    def string(self, name: str, *, required: bool = False, choices: Collection[str] = ()) -> str | None:
        """A string; numbers and booleans are taken as written only where `choices` allow them."""
        value = self.value(name, required=required)
        if value is None:
            return None
        if not isinstance(value, Scalar) or not isinstance(value.value, str):
            self.problem(name, f"must be a string, not {kind(value)}", "quote it" if isinstance(value, Scalar) else "")
            return None
        if choices and value.value not in choices:
            self.problem(name, f"`{value.value}` is not one of {', '.join(choices)}", suggestion(value.value, choices))
            return None
        return value.value

    def text(self, name: str, *, required: bool = False) -> str | None:
        """A string or number, as written."""
        value = self.value(name, required=required)
        if value is None:
            return None
        if not isinstance(value, Scalar) or isinstance(value.value, bool):
            self.problem(name, f"must be a string or number, not {kind(value)}")
            return None
        return value.text

    def integer(self, name: str, low: int, high: int, *, required: bool = False) -> int | None:
        """An integer within bounds."""
        value = self.value(name, required=required)
        if value is None:
            return None
        if not isinstance(value, Scalar) or not isinstance(value.value, int) or isinstance(value.value, bool):
            self.problem(name, f"must be an integer, not {kind(value)}")
            return None
        if not low <= value.value <= high:
            self.problem(name, f"{value.value} is out of range", f"use {low} to {high}")
            return None
        return value.value

    def boolean(self, name: str) -> bool | None:
        """True or false."""
        value = self.value(name)
        if value is None:
            return None
        if not isinstance(value, Scalar) or not isinstance(value.value, bool):
            self.problem(name, f"must be true or false, not {kind(value)}")
            return None
        return value.value

    def seconds(self, name: str, *, low: float = 0.0) -> float | None:
        """A duration: `250ms`, `5s`, `2m`, `1h`, or a number of seconds."""
        value = self.value(name)
        if value is None:
            return None
        number: float | None = None
        if isinstance(value, Scalar) and not isinstance(value.value, bool):
            text = value.text.strip()
            for suffix, unit in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)):
                if text.endswith(suffix):
                    try:
                        number = float(text.removesuffix(suffix)) * unit
                    except ValueError:
                        number = None
                    break
        if number is None or not math.isfinite(number) or number < 0:
            self.problem(name, "is not a duration", "write it like 250ms, 5s or 2m")
            return None
        if number < low:
            self.problem(name, f"is shorter than {low:g}s", f"use at least {low:g}s")
            return None
        return number

    def items(self, name: str, *, required: bool = False) -> Iterator[tuple[str, Value]]:
        """The items of a list with their paths."""
        value = self.value(name, required=required)
        if value is None:
            return
        if not isinstance(value, Sequence):
            self.problem(name, f"must be a list, not {kind(value)}")
            return
        for index, item in enumerate(value.items):
            yield f"{self.at(name)}[{index}]", item

    def strings(self, name: str, *, required: bool = False) -> list[tuple[str, Mark, str]]:
        """A list of strings: value, place, path of each."""
        found = []
        for path, item in self.items(name, required=required):
            if isinstance(item, Scalar) and isinstance(item.value, str):
                found.append((item.value, item.mark, path))
            else:
                self.problems.add(item.mark, path, f"must be a string, not {kind(item)}", "quote it")
        return found

    def entries(self, name: str) -> Iterator[tuple[str, Mark, Value]]:
        """The entries of a mapping with free keys: key, its place, value."""
        value = self.value(name)
        if value is None:
            return
        if not isinstance(value, Mapping):
            self.problem(name, f"must be a mapping, not {kind(value)}")
            return
        for key, item in value.items.items():
            yield key, value.keys[key], item

    def texts(self, name: str) -> dict[str, str]:
        """A mapping of free keys to strings, such as labels."""
        found = {}
        for key, _, item in self.entries(name):
            if isinstance(item, Scalar) and isinstance(item.value, str):
                found[key] = item.value
            else:
                fix = f'write "{item.text}"' if isinstance(item, Scalar) and item.text else 'write ""'
                self.problems.add(item.mark, f"{self.at(name)}.{key}", f"must be a string, not {kind(item)}", fix)
        return found

    def ignore(self, *names: str) -> None:
        """Fields that carry no meaning here."""
        self._known.extend(names)

    def fields(self, name: str, *, required: bool = False) -> Fields | None:
        """The fields of a nested mapping."""
        value = self.value(name, required=required)
        return None if value is None else Fields(value, self.at(name), self.problems)

    def finish(self, unsupported: AbstractMapping[str, str] | None = None) -> None:
        """Reports every field that was not asked for; `unsupported` says of known ones what to do instead."""
        for name, mark in self._keys.items():
            if name in self._known:
                continue
            if unsupported and name in unsupported:
                self.problems.add(mark, self.at(name), "cannot be enforced by this proxy", unsupported[name])
            else:
                fix = suggestion(name, self._known) or f"remove it or use one of: {', '.join(sorted(set(self._known)))}"
                self.problems.add(mark, self.at(name), "unknown field", fix)


def suggestion(name: str, known: Collection[str]) -> str:
    """`did you mean ...?`, or nothing."""
    lowered = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), lowered, 1, 0.6)
    return f"did you mean `{lowered[close[0]]}`?" if close else ""
