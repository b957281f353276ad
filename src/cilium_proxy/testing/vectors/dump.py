"""Comparison of dumped rules."""

from __future__ import annotations

import itertools
import json
from typing import Any

Json = dict[str, Any]


def same_dump(expected: Json, got: Json) -> bool:
    """Whether both hold the same rules for the same ports; rules of one precedence may be in any order."""
    return _comparable(expected) == _comparable(got)


def _comparable(dump: Json) -> Json:
    return {direction: [_range(entry) for entry in dump.get(direction, [])] for direction in ("ingress", "egress")}


def _range(entry: Json) -> Json:
    rules = [{**rule, "remotes": sorted(rule.get("remotes", []))} for rule in entry.get("rules", [])]
    tiers = [
        sorted(json.dumps(rule, sort_keys=True) for rule in tier)
        for _, tier in itertools.groupby(rules, key=lambda rule: rule.get("precedence", 0))
    ]
    return {**entry, "rules": tiers}
