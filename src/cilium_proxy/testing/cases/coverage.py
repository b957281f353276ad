"""Which rules decided a case, and which never did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from cilium_proxy.policy.world import World
from cilium_proxy.testing.cases.run import Outcome

# What the compiler adds for a direction that no policy restricts.
_IMPLIED = ("no policy restricts ingress", "no policy restricts egress")


@dataclass(slots=True)
class Coverage:
    """Rules by name, or by resource and position where they have none, with the places where they are written."""

    rules: dict[str, str] = field(default_factory=dict)
    decided: set[str] = field(default_factory=set)

    def add_rules(self, world: World) -> None:
        """Counts the rules of the policies. The same rule in several endpoints' policies counts once."""
        for name, place in world.places.items():
            self.rules.setdefault(name, place)
        for resource, position, rule in _all_rules(world):
            if rule in _IMPLIED:
                continue
            self.rules.setdefault(_key(resource, position, rule), f"resource {resource}")

    def add(self, outcome: Outcome) -> None:
        """Counts the rules that decided a case."""
        self.decided.update(_key(*rule) for rule in outcome.decided)

    def undecided(self) -> dict[str, str]:
        """Rules that decided nothing, and their places."""
        return {name: place for name, place in sorted(self.rules.items()) if name not in self.decided}

    def count(self) -> int:
        """How many rules decided something."""
        return len(self.decided & self.rules.keys())


def _key(resource: str, position: str | None, name: str | None) -> str:
    return name or f"{resource}: {position}"


def _all_rules(world: World) -> Iterator[tuple[str, str, str | None]]:
    for resource, message in world.resources.items():
        for direction in ("ingress", "egress"):
            for number, entry in enumerate(message.get(f"{direction}_per_port_policies", [])):
                for index, rule in enumerate(entry.get("rules", [])):
                    yield resource, f"{direction}_per_port_policies[{number}].rules[{index}]", rule.get("name")
