"""`cilium-proxy test`: cases beside the policies, asked of the engine the proxy uses."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cilium_proxy.cli.output import Form, output_option, print_data, print_problems, print_table
from cilium_proxy.policy.compile.documents import CASE_SUFFIXES
from cilium_proxy.testing.cases import Coverage, Outcome, build, find, junit, load, peers, run_case
from cilium_proxy.yaml import Problem, ProblemsError

Report = tuple[list[Outcome], Coverage, list[Problem]]


@click.command()
@click.argument("paths", nargs=-1, metavar="DIR...", type=click.Path(exists=True, readable=True, path_type=Path))
@click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
    help="Configuration to test, instead of the one that each file names.",
)
@click.option("--junit", "junit_path", type=click.Path(dir_okay=False, path_type=Path), help="Write a JUnit report.")
@click.option("-v", "--verbose", is_flag=True, help="Show the whole way to the verdict of each failed case.")
@output_option
def command(
    paths: tuple[Path, ...], config_path: Path | None, junit_path: Path | None, verbose: bool, output: Form
) -> None:
    """Run the policy tests below DIR (default: here), offline.

    Cases are in files *.policy-test.yaml; docs/policy-tests.md describes them. Says which rules no case ever decided.

    Exits with 0 if every case came out as expected, 1 if not, 2 if a file cannot be used or there are no cases.
    """
    files = find(paths or [Path()])
    if not files:
        raise click.UsageError(f"there is no file *{CASE_SUFFIXES[0]} here; give a directory or a file with cases")
    outcomes, coverage, problems = run_files(files, config_path)
    if junit_path is not None:
        try:
            junit.write(junit_path, outcomes)
        except OSError as error:
            raise click.UsageError(f"--junit {junit_path}: {error.strerror}") from error
    if output in ("json", "yaml"):
        print_data(data(outcomes, coverage, problems), output)
    elif output == "table":
        columns = ("RESULT", "CASE", "VERDICT", "RULE", "PLACE")
        print_table(columns, [_row(outcome) for outcome in outcomes])
    else:
        _print(outcomes, coverage, verbose)
    print_problems(problems)
    sys.exit(2 if problems or not outcomes else int(any(not outcome.passed for outcome in outcomes)))


def run_files(files: Sequence[Path], config: Path | None) -> Report:
    """Runs the cases of all files. A file that cannot be used does not keep the others from running."""
    outcomes: list[Outcome] = []
    coverage = Coverage()
    problems: list[Problem] = []
    for file in files:
        try:
            cases = load(file, config)
            world = build(cases.config, peers(cases), cases.secrets)
        except ProblemsError as error:
            problems += error.problems
            continue
        coverage.add_rules(world)
        for case in cases.cases:
            try:
                outcome = run_case(world, case)
            except ProblemsError as error:
                problems += error.problems
                continue
            coverage.add(outcome)
            outcomes.append(outcome)
    return outcomes, coverage, sorted(set(problems))


def data(outcomes: Sequence[Outcome], coverage: Coverage, problems: Sequence[Problem]) -> dict[str, Any]:
    """The report as data."""
    return {
        "passed": sum(outcome.passed for outcome in outcomes),
        "failed": sum(not outcome.passed for outcome in outcomes),
        "cases": [
            {
                "name": outcome.case.name,
                "place": str(outcome.case.mark),
                "passed": outcome.passed,
                "allowed": outcome.verdict.allowed,
                "reason": outcome.verdict.reason,
                "code": outcome.verdict.code,
                "rule": outcome.verdict.rule,
                "rule_place": outcome.place or None,
                "differences": list(outcome.differences),
            }
            for outcome in outcomes
        ],
        "rules": {
            "total": len(coverage.rules),
            "decided": coverage.count(),
            "never_decided": [{"rule": rule, "place": place} for rule, place in coverage.undecided().items()],
        },
        "problems": [str(problem) for problem in problems],
    }


def _row(outcome: Outcome) -> tuple[str, ...]:
    verdict = outcome.verdict
    result = "passed" if outcome.passed else "FAILED"
    rule = verdict.rule or verdict.position or "-"
    return result, outcome.case.name, "allowed" if verdict.allowed else "denied", rule, str(outcome.case.mark)


def _print(outcomes: Sequence[Outcome], coverage: Coverage, verbose: bool) -> None:
    for outcome in outcomes:
        if outcome.passed:
            continue
        click.echo(f"FAILED {outcome.case.mark}: {outcome.case.name}")
        for difference in outcome.differences:
            click.echo(f"  {difference}")
        place = f" ({outcome.place})" if outcome.place else ""
        click.echo(f"  because {outcome.verdict.reason}{place}")
        if verbose:
            click.echo("".join(f"    {line}\n" for line in outcome.explanation.splitlines()), nl=False)
    failed = sum(not outcome.passed for outcome in outcomes)
    rules = f"{coverage.count()} of {len(coverage.rules)} rules decided a case"
    click.echo(f"{len(outcomes) - failed} passed, {failed} failed; {rules}")
    for rule, place in coverage.undecided().items():
        click.echo(f"  never decided: {rule} ({place})")
