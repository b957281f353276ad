"""`cilium-proxy check`: are the configuration and the policies valid?"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cilium_proxy.cli.output import SCREEN, Form, output_option, print_data, print_problems, print_table, problem_data
from cilium_proxy.config import Config, load, parse_config
from cilium_proxy.policy.compile import Compiled, CompileError, compile_policies, load_policies, verify, verify_probes
from cilium_proxy.yaml import Mapping, Mark, Problem, ProblemsError

DEFAULT_CONFIG = Path("proxy.yaml")


@click.command()
@click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
    help="Configuration to check, with its policies. Default without FILES: proxy.yaml.",
)
@click.argument("files", nargs=-1, type=click.Path(exists=True, readable=True, path_type=Path))
@output_option
def command(config_path: Path | None, files: tuple[Path, ...], output: Form) -> None:
    """Validate a configuration and policies, offline.

    FILES are policy files or directories. Alone they are checked by themselves; with -c they are checked instead of the
    policies that the configuration names.

    Exits with 0 if everything is valid, 1 if not, 2 if something cannot be read.
    """
    if config_path is None and not files:
        config_path = DEFAULT_CONFIG
        if not config_path.is_file():
            raise click.UsageError("there is no proxy.yaml here; give -c FILE or policy files")
    config, compiled, problems = check(config_path, files)
    if output in ("json", "yaml"):
        print_data(_data(config, compiled, problems), output)
    elif problems:
        print_problems(problems)
        click.echo(f"{len(problems)} problem{'s' if len(problems) > 1 else ''} found", err=True)
    elif config is not None and compiled is not None:
        _print(config, compiled, config_path, output)
    if problems:
        sys.exit(1)


def check(config_path: Path | None, files: tuple[Path, ...]) -> tuple[Config | None, Compiled | None, list[Problem]]:
    """Checks as far as it gets: a wrong configuration hides nothing of the policies' own errors."""
    problems: list[Problem] = []
    config = None
    try:
        config = load(config_path) if config_path is not None else _no_config()
    except ProblemsError as error:
        problems += error.problems
    paths = [str(file) for file in files] or (list(config.policies) if config is not None else [])
    compiled = None
    try:
        documents = load_policies(paths, config.places if config is not None else None)
        # Without endpoints the policies are read all the same.
        compiled = compile_policies(config or _no_config(), documents)
        problems += verify(compiled, str(config_path or files[0]))
    except CompileError as error:
        problems += error.problems + verify_probes(error.probes)
    return config, compiled, sorted(set(problems))


def _no_config() -> Config:
    return parse_config(Mapping(Mark("-"), {}, {}), Path("-"))


def _data(config: Config | None, compiled: Compiled | None, problems: list[Problem]) -> dict[str, object]:
    data: dict[str, object] = {"ok": not problems, "problems": [problem_data(problem) for problem in problems]}
    if config is not None and compiled is not None and not problems:
        data["endpoints"] = [
            {"name": name, "addresses": addresses, "identity": identity, "rules": rules.split(", ") if rules else []}
            for name, addresses, identity, rules in _endpoints(config, compiled)
        ]
        data["secrets"] = [
            {"name": name, "use": use, "delivered": delivered} for name, use, delivered in _secrets(compiled)
        ]
        data["warnings"] = [problem_data(warning) for warning in _warnings(config, compiled)]
    return data


def _endpoints(config: Config, compiled: Compiled) -> list[tuple[str, str, int, str]]:
    """Name, addresses, identity and rules of each endpoint."""
    rows = []
    for endpoint in config.endpoints:
        identity = compiled.identities.named(endpoint.name)
        rules = ", ".join(rule.name for rule in compiled.rules.get(endpoint.name, ()))
        rows.append((endpoint.name, ", ".join(endpoint.ips), identity.number if identity else 0, rules))
    return rows


def _secrets(compiled: Compiled) -> list[tuple[str, str, bool]]:
    """Name and use of each secret, and whether it is there."""
    return sorted({(secret.name, secret.use, compiled.delivered.has(secret)) for secret in compiled.secrets})


def _warnings(config: Config, compiled: Compiled) -> list[Problem]:
    """Without a configuration nobody says which secrets there are."""
    return compiled.warnings() if config.file != _no_config().file else []


def _count(number: int, name: str) -> str:
    plural = name.removesuffix("y") + "ies" if name.endswith("y") else f"{name}s"
    return f"{number} {name if number == 1 else plural}"


def _print(config: Config, compiled: Compiled, path: Path | None, form: Form) -> None:
    counts = {"endpoint": config.endpoints, "identity": config.identities, "listener": config.listeners}
    shown = [_count(len(found), name) for name, found in counts.items() if path is not None]
    click.echo(f"ok: {', '.join([*shown, _count(len(compiled.places), 'policy rule')])}")
    rows = [(name, ips, identity, chosen or "-") for name, ips, identity, chosen in _endpoints(config, compiled)]
    if form == "table":
        print_table(("ENDPOINT", "ADDRESSES", "IDENTITY", "RULES"), rows)
    else:
        for name, _, _, chosen in rows:
            click.echo(f"  {name}: {chosen if chosen != '-' else 'no policy selects it, everything is allowed'}")
    for name, use, delivered in _secrets(compiled):
        click.echo(f"  {'has' if delivered else 'needs'} secret {name} ({use})")
    warnings = _warnings(config, compiled)
    for warning in warnings[:SCREEN]:
        click.echo(f"warning: {warning}", err=True)
