"""One port, one protocol: rules of several kinds for the same port would each let pass what the other restricts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cilium_proxy.policy.compile.rule import Entry, Rule
from cilium_proxy.yaml import Problems


def check_parsers(selecting: Mapping[str, list[Rule]], problems: Problems) -> None:
    """Reports L7 rules of different kinds that meet on a port of an endpoint, as Cilium refuses them."""
    for rules in selecting.values():
        by_kind: dict[tuple[str, str], list[Entry]] = {}
        for rule in rules:
            for entry in rule.entries:
                kind = _kind(entry)
                if kind:
                    by_kind.setdefault((entry.direction, kind), []).append(entry)
        for (direction, kind), entries in by_kind.items():
            for (other_direction, other_kind), others in by_kind.items():
                if direction == other_direction and kind < other_kind:
                    _compare(entries, others, problems)


def _kind(entry: Entry) -> str:
    fields = entry.constraints.fields
    return "HTTP" if "http_rules" in fields else str(fields.get("l7_proto", ""))


def _compare(entries: Iterable[Entry], others: Iterable[Entry], problems: Problems) -> None:
    others = list(others)
    for entry in entries:
        for other in others:
            if any(a.first <= b.last and b.first <= a.last for a in entry.ports for b in other.ports):
                message = f"{_kind(other)} rules for a port that `{entry.name}` has {_kind(entry)} rules for"
                problems.add(other.mark, other.path, message, "use one kind of rules per port")
