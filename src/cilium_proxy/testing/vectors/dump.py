"""Comparison of dumped rules."""

from __future__ import annotations

import itertools
import json
from typing import Any

Json = dict[str, Any]

_ACTIONS = {"match_action", "mismatch_action"}


def same_dump(expected: Json, got: Json) -> bool:
    """Whether both hold the same rules for the same ports; rules of one precedence may be in any order.

    The reference shows every action on headers as `UNKNOWN`: actions are compared where it does not.
    """
    hidden = _ACTIONS if '"UNKNOWN"' in json.dumps(expected) else set()
    return _comparable(expected, hidden) == _comparable(got, hidden)


def _comparable(dump: Json, hidden: set[str]) -> Json:
    shown = _without(dump, hidden)
    return {direction: [_range(entry) for entry in shown.get(direction) or []] for direction in ("ingress", "egress")}


def _without(value: Any, hidden: set[str]) -> Any:
    if isinstance(value, dict):
        return {name: _without(inner, hidden) for name, inner in value.items() if name not in hidden}
    return [_without(inner, hidden) for inner in value] if isinstance(value, list) else value


def _range(entry: Json) -> Json:
    rules = [{**rule, "remotes": sorted(rule.get("remotes") or [])} for rule in entry.get("rules") or []]
    tiers = [
        sorted(json.dumps(rule, sort_keys=True) for rule in tier)
        for _, tier in itertools.groupby(rules, key=lambda rule: rule.get("precedence", 0))
    ]
    return {**entry, "rules": tiers}
