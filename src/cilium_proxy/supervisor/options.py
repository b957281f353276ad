"""Envoy's command line, as far as others than Envoy read it.

An option and its value are two arguments, or one with a space between them, as in Cilium's charts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence


def value(arguments: Sequence[str], option: str) -> str | None:
    """The value of an option such as `--service-zone`; None if it is not given."""
    for argument, following in zip(arguments, (*arguments, None)[1:], strict=True):
        if argument == option:
            return following
        if argument.startswith(f"{option} "):
            return argument[len(option) :].strip()
    return None


def without(arguments: Sequence[str], options: Collection[str], flags: Collection[str] = ()) -> tuple[str, ...]:
    """The arguments without these options and their values, and without flags, which have none."""
    kept = []
    rest = iter(arguments)
    for argument in rest:
        name, space, _ = argument.partition(" ")
        if name in options:
            if not space:
                next(rest, None)
        elif name not in flags:
            kept.append(argument)
    return tuple(kept)
