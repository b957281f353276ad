"""Header matchers and header actions, read a second time. Header names are lower case, values are bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import re2

Headers = list[tuple[str, bytes]]


@dataclass
class Log:
    """What the access log shows; each pair once."""

    missing: list[tuple[str, bytes]] = field(default_factory=list)
    rejected: list[tuple[str, bytes]] = field(default_factory=list)


def kept_name(name: str) -> str:
    """Envoy knows the header `host` as `:authority`."""
    return {"host": ":authority"}.get(name.lower(), name.lower())


def value_of(headers: Headers, name: str) -> bytes | None:
    values = [value for key, value in headers if key == kept_name(name)]
    return b",".join(values) if values else None


def matches_all(matchers: list[dict[str, Any]], headers: Headers) -> bool:
    return all(matches(matcher, headers) for matcher in matchers)


def matches(matcher: dict[str, Any], headers: Headers) -> bool:
    value = value_of(headers, matcher["name"])
    invert = matcher.get("invert_match", False)
    kinds = {
        "exact_match", "safe_regex_match", "range_match", "present_match", "prefix_match", "suffix_match",
        "contains_match", "string_match",
    }  # fmt: skip
    kind = next(iter(kinds & set(matcher)), "present_match")
    if value is None and matcher.get("treat_missing_header_as_empty", False):
        value = b""
    if kind == "present_match":
        wanted: bool = matcher.get("present_match", True)
        return (wanted if value is not None else not wanted) != invert
    if value is None:
        # Without the header nothing can be said about its value, not even the contrary.
        return False
    if invert and is_regex(kind, matcher[kind]) and not is_text(value):
        # Expressions can say nothing about it.
        return False
    return test(kind, matcher[kind], value) != invert


def is_regex(kind: str, wanted: Any) -> bool:
    return kind == "safe_regex_match" or (kind == "string_match" and "safe_regex" in wanted)


def is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def test(kind: str, wanted: Any, value: bytes) -> bool:
    match kind:
        case "exact_match":
            return wanted == "" or value == wanted.encode()
        case "range_match":
            number = integer(value)
            return number is not None and wanted.get("start", 0) <= number < wanted.get("end", 0)
        case "safe_regex_match":
            return regex(wanted, value)
        case "string_match":
            return text(wanted, value)
        case _:
            return text({kind.removesuffix("_match"): wanted}, value)


def text(matcher: dict[str, Any], value: bytes) -> bool:
    """`StringMatcher`. Case is ASCII's, and expressions bring their own."""
    if "safe_regex" in matcher:
        return regex(matcher["safe_regex"], value)
    fold = bytes.lower if matcher.get("ignore_case", False) else bytes
    value = fold(value)
    for kind, holds in (
        ("exact", bytes.__eq__), ("prefix", bytes.startswith), ("suffix", bytes.endswith),
        ("contains", bytes.__contains__),
    ):  # fmt: skip
        if kind in matcher:
            return bool(holds(value, fold(matcher[kind].encode())))
    raise AssertionError(matcher)


def regex(matcher: dict[str, Any], value: bytes) -> bool:
    return re2.fullmatch(matcher["regex"], value) is not None


def integer(value: bytes) -> int | None:
    """A signed 64-bit decimal number with white space around it."""
    if not re.fullmatch(rb"[ \t\n\v\f\r]*[+-]?[0-9]+[ \t\n\v\f\r]*", value):
        return None
    number = int(value)
    return number if -(2**63) <= number < 2**63 else None


def act(action: dict[str, Any], headers: Headers, log: Log, secrets: dict[str, bytes]) -> bool:
    """Compares, logs and changes the headers in place; whether the rule may still allow the request."""
    name, value = action["name"].lower(), action.get("value", "").encode()
    secret = action.get("value_sds_secret", "")
    actual = value_of(headers, name)
    if secret in secrets:
        value = secrets[secret]
    elif secret and not value:
        return False

    def note(entries: list[tuple[str, bytes]], shown: bytes) -> None:
        entry = (name, b"[redacted]" if secret else shown)
        if entry not in entries:
            entries.append(entry)

    def remove() -> None:
        headers[:] = [header for header in headers if header[0] != kept_name(name)]

    if actual is not None and value in (b"", actual):
        match action.get("match_action", "CONTINUE_ON_MATCH"):
            case "CONTINUE_ON_MATCH":
                return True
            case "DELETE_ON_MATCH":
                note(log.rejected, value)
                remove()
                return True
        note(log.rejected, value)
        return False
    match action.get("mismatch_action", "FAIL_ON_MISMATCH"):
        case "CONTINUE_ON_MISMATCH":
            note(log.missing, value)
            return True
        case "ADD_ON_MISMATCH":
            headers.append((kept_name(name), value))
            note(log.missing, value)
            return True
        case "DELETE_ON_MISMATCH":
            if value and actual is not None:
                note(log.rejected, actual)
                remove()
            return True
        case "REPLACE_ON_MISMATCH":
            if actual is not None:
                note(log.rejected, actual)
            remove()
            headers.append((kept_name(name), value))
            note(log.missing, value)
            return True
    note(log.missing, value)
    return False
