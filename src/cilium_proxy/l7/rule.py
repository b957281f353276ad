"""What a policy may ask of the messages of a protocol."""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints


class RuleError(ValueError):
    """A rule of a policy makes no sense; the text says which key or value and why."""


@dataclass(frozen=True)
class Rule:
    """A rule. Subclasses are frozen dataclasses: their fields are the keys that a policy may give, with defaults.

    A field is a `str`, an `int`, a `Literal` of strings, or a `re.Pattern[str]`; each of them may be optional
    (`| None`), and is None then where the policy has an empty value. What else must hold, `__post_init__` checks, and
    raises RuleError.
    """

    @classmethod
    def parse(cls, fields: Mapping[str, str]) -> Self:
        """Makes the rule of a policy's keys and values. Raises RuleError; unknown keys are refused."""
        known = keys(cls)
        for key in fields:
            if key not in known:
                fix = f"the keys are {', '.join(known)}" if known else "this protocol takes no rules"
                raise RuleError(f"unknown key {key!r}, {fix}")
        values = {key: _value(key, text, known[key]) for key, text in fields.items()}
        try:
            return cls(**values)
        except RuleError:
            raise
        except (TypeError, ValueError) as error:
            raise RuleError(str(error)) from error

    def matches(self, message: Any) -> bool:
        """Whether the message is one of those that the rule is about. Called for messages of the rule's own parser."""
        raise NotImplementedError


@dataclass(frozen=True)
class NoRules(Rule):
    """For protocols without rules: a policy allows all of it, or nothing."""

    def matches(self, message: Any) -> bool:
        """Every message."""
        return True


def keys(rule: type[Rule]) -> dict[str, Any]:
    """The keys that a policy may give, and the types of their values.

    Found once, while the class is loaded: later its module, where the names of types are looked up, may be gone.
    """
    known: dict[str, Any] | None = rule.__dict__.get("_keys")
    if known is None:
        hints = get_type_hints(rule)
        known = {field.name: hints[field.name] for field in dataclasses.fields(rule) if field.init}
        type.__setattr__(rule, "_keys", known)
    return known


def _value(key: str, text: str, hint: Any) -> object:
    """The text as the field's type wants it."""
    if get_origin(hint) in (Union, types.UnionType):
        if not text:
            return None
        hint = next(part for part in get_args(hint) if part is not type(None))
    if hint is str:
        return text
    if get_origin(hint) is Literal:
        if text not in get_args(hint):
            *others, last = get_args(hint)
            choice = f"{', '.join(others)} or {last}" if others else last
            raise RuleError(f"{key} {text!r} is not {choice}")
        return text
    if hint is int:
        try:
            return int(text)
        except ValueError:
            raise RuleError(f"{key} {text!r} is not a number") from None
    if hint is re.Pattern or get_origin(hint) is re.Pattern:
        try:
            return re.compile(text)
        except re.error as error:
            raise RuleError(f"{key} {text!r} is not a regular expression: {error}") from None
    raise RuleError(f"the field {key} has a type that no text can be made of: {hint}")
