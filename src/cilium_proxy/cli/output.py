"""How commands print: `-o json|yaml|table|compact`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import click
import yaml

from cilium_proxy.yaml import Problem

Form = Literal["json", "yaml", "table", "compact"]
FORMS = ("compact", "table", "json", "yaml")
SCREEN = 20
"""Most problems shown as text: one screen."""

F = TypeVar("F", bound=Callable[..., Any])


def output_option(function: F) -> F:
    """Adds `-o` as the parameter `output`."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(FORMS),
        default="compact",
        show_default=True,
        help="How to print the result.",
    )(function)


def print_data(data: object, form: Form) -> None:
    """Prints `json` or `yaml`."""
    if form == "yaml":
        click.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), nl=False)
    else:
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints columns as wide as their longest cell."""
    cells = [list(columns), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def problem_data(problem: Problem) -> Mapping[str, object]:
    """A problem for `json` and `yaml`."""
    return {
        "file": problem.mark.file,
        "line": problem.mark.line,
        "column": problem.mark.column,
        "field": problem.path,
        "message": problem.message,
        "fix": problem.fix,
    }


def print_problems(problems: Sequence[Problem]) -> None:
    """One line each on standard error, one screen at most."""
    for problem in problems[:SCREEN]:
        click.echo(str(problem), err=True)
    if len(problems) > SCREEN:
        click.echo(f"... and {len(problems) - SCREEN} more; -o json shows all", err=True)
