"""Finds what selectors and CIDR rules select without looking at everything."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from cilium_proxy.config.model import IPNetwork
from cilium_proxy.policy.compile.rule import CidrRule
from cilium_proxy.policy.compile.selector import Requirement, Selector

T = TypeVar("T")


class LabelIndex(Generic[T]):
    """Items by their labels."""

    def __init__(self, items: Iterable[tuple[Mapping[str, str], T]]) -> None:
        self._items = list(items)
        self._by_label: dict[tuple[str, str, str], list[int]] = {}
        for index, (labels, _) in enumerate(self._items):
            for label, value in labels.items():
                source, _, key = label.partition(":")
                for known in (source, "any"):
                    self._by_label.setdefault((known, key, value), []).append(index)

    def select(self, selector: Selector) -> list[T]:
        """The items that the selector selects, in order."""
        candidates: Iterable[int] = range(len(self._items))
        having = [self._having(item) for item in selector.requirements if item.operator == "In"]
        if having:
            fewest = min(having, key=len)
            candidates = sorted(fewest)
        return [self._items[index][1] for index in candidates if selector.matches(self._items[index][0])]

    def _having(self, requirement: Requirement) -> set[int]:
        found: set[int] = set()
        for value in requirement.values:
            found.update(self._by_label.get((requirement.source, requirement.key, value), ()))
        return found


class PrefixIndex(Generic[T]):
    """Items by prefix."""

    def __init__(self, items: Iterable[tuple[IPNetwork, T]]) -> None:
        self._items = sorted(items, key=lambda item: order(item[0]))

    def select(self, rule: CidrRule) -> list[T]:
        """The items whose whole prefix the rule selects."""
        version, first, length = order(rule.prefix)
        # Prefixes inside of it start in it, and are sorted by where they start.
        low = bisect.bisect_left(self._items, (version, first, length), key=lambda item: order(item[0]))
        found = []
        for index in range(low, len(self._items)):
            prefix, item = self._items[index]
            if order(prefix)[:2] > (version, int(rule.prefix.broadcast_address)):
                break
            if rule.selects(prefix):
                found.append(item)
        return found


def order(prefix: IPNetwork) -> tuple[int, int, int]:
    """Sorts prefixes by where they start, and those that start together from wide to narrow."""
    return prefix.version, int(prefix.network_address), prefix.prefixlen
