"""Label selectors. Keys have a source (`k8s:app`, `reserved:host`); source `any` matches every source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from cilium_proxy.config.labels import SOURCES
from cilium_proxy.yaml import Fields, Mark

Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]
OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    source: str
    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels (`source:key` -> value) meet it. A missing label meets NotIn and DoesNotExist."""
        found = self._found(labels)
        match self.operator:
            case "In":
                return any(value in self.values for value in found)
            case "NotIn":
                return not any(value in self.values for value in found)
            case "Exists":
                return bool(found)
            case "DoesNotExist":
                return not found

    def _found(self, labels: Mapping[str, str]) -> list[str]:
        if self.source == "any":
            return [value for label, value in labels.items() if label.partition(":")[2] == self.key]
        value = labels.get(f"{self.source}:{self.key}")
        return [] if value is None else [value]


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements must be met; without any it selects everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether it selects a workload with these labels."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def mentions(self, source: str, key: str) -> bool:
        """Whether a requirement is on this very key."""
        return any(r.source == source and r.key == key for r in self.requirements)

    def mentions_prefix(self, source: str, prefix: str) -> bool:
        """Whether a requirement is on a key with this prefix."""
        return any(r.source == source and r.key.startswith(prefix) for r in self.requirements)

    def also(self, *requirements: Requirement) -> Selector:
        """The selector with further requirements."""
        return Selector(self.requirements + requirements)


def equals(source: str, key: str, value: str) -> Requirement:
    """The label must have this value."""
    return Requirement(source, key, "In", frozenset({value}))


def read_selector(fields: Fields, *, source: str | None = None, prefix: str = "") -> Selector:
    """Reads `matchLabels` and `matchExpressions`.

    With `source` every key is taken as it is and gets that source and `prefix` (Kubernetes); without, keys may have a
    source of their own and are `any` otherwise (Cilium).
    """
    found = []
    for key, value in fields.texts("matchLabels").items():
        requirement_source, name = _key(fields, key, fields.where("matchLabels"), fields.at("matchLabels"), source)
        found.append(equals(requirement_source, prefix + name, value))
    for path, item in fields.items("matchExpressions"):
        expression = Fields(item, path, fields.problems)
        key = expression.string("key", required=True) or ""
        operator = cast(Operator, expression.string("operator", required=True, choices=OPERATORS) or "Exists")
        values = [value for value, _, _ in expression.strings("values")]
        if operator in ("In", "NotIn") and not values:
            expression.problem("values", f"operator {operator} needs values", "list at least one")
        if operator in ("Exists", "DoesNotExist") and values:
            expression.problem("values", f"operator {operator} takes no values", "remove them or use In or NotIn")
        expression.finish()
        requirement_source, name = _key(expression, key, expression.where("key"), expression.at("key"), source)
        found.append(Requirement(requirement_source, prefix + name, operator, frozenset(values)))
    fields.finish()
    return Selector(tuple(found))


def _key(fields: Fields, key: str, mark: Mark, path: str, source: str | None) -> tuple[str, str]:
    if source is not None:
        return source, key
    given, colon, name = key.partition(":")
    if not colon:
        return "any", key
    if given not in (*SOURCES, "any") or not name:
        fields.problems.add(
            mark, path, f"`{key}` has no known label source", f"use one of any, {', '.join(SOURCES)}, or none for any"
        )
    return given, name
