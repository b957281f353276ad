"""Metadata matchers, read a second time: on plain Python values."""

from __future__ import annotations

from typing import Any

from .naive_headers import text

MISSING = object()


def fits(values: dict[str, Any], matchers: list[dict[str, Any]]) -> bool:
    """Whether all `MetadataMatcher` of a rule hold."""
    return all(
        value_fits(matcher["value"], at(values, matcher)) != matcher.get("invert", False) for matcher in matchers
    )


def at(values: dict[str, Any], matcher: dict[str, Any]) -> Any:
    found: Any = values.get(matcher["filter"], MISSING)
    for segment in matcher["path"]:
        found = found.get(segment["key"], MISSING) if isinstance(found, dict) else MISSING
    return found


def value_fits(matcher: dict[str, Any], value: Any) -> bool:
    ((kind, wanted),) = matcher.items()
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match kind:
        case "null_match":
            return value is None
        case "double_match" if "range" in wanted:
            bounds = wanted["range"]
            return is_number and bounds.get("start", 0.0) <= value < bounds.get("end", 0.0)
        case "double_match":
            return is_number and bool(value == wanted["exact"])
        case "string_match":
            return isinstance(value, str) and text(wanted, value.encode())
        case "bool_match":
            return isinstance(value, bool) and value == wanted
        case "present_match":
            return value is not MISSING and wanted
        case "list_match":
            return isinstance(value, list) and any(value_fits(wanted["one_of"], element) for element in value)
        case "or_match":
            return any(value_fits(one, value) for one in wanted["value_matchers"])
    raise AssertionError(matcher)
