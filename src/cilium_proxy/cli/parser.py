"""`cilium-proxy parser`: parsers written in Python, without a proxy."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from cilium_proxy.cli.output import Form, output_option, print_data
from cilium_proxy.l7 import Parser, RuleError
from cilium_proxy.l7.loading import PREFIX, Loader, LoadError
from cilium_proxy.testing.parser import Conversation, Side, check_chunkings

Said = tuple[Side, bytes]


@click.group()
def command() -> None:
    """Try out parsers written in Python, without a proxy. docs/python-parsers.md describes them."""


def _rules(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> list[dict[str, str]]:
    """Names and values, as in `rules.l7` of a policy."""
    rules = []
    for value in values:
        try:
            rule = yaml.load(value, yaml.BaseLoader)  # noqa: S506
        except yaml.YAMLError:
            rule = None
        if not isinstance(rule, dict) or not all(isinstance(text, str) for text in rule.values()):
            raise click.BadParameter(f"{value!r} is not names and values, such as '{{cmd: READ, file: ^public/}}'")
        rules.append(rule)
    return rules


def _conversation(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> list[Said]:
    """Who says what."""
    said: list[Said] = []
    for value in values:
        side, colon, text = value.partition(":")
        if not colon or side not in ("client", "server"):
            raise click.BadParameter(f"{value!r} is not client:TEXT or server:TEXT")
        try:
            file = Path(text[1:]) if text.startswith("@") else None
            data = file.read_bytes() if file else text.encode().decode("unicode_escape").encode("latin-1")
        except (OSError, ValueError) as error:
            raise click.BadParameter(f"{value!r}: {error}") from error
        said.append(("client" if side == "client" else "server", data))
    return said


@command.command("test")
@click.argument("name", metavar="PACKAGE.MODULE:CLASS")
@click.argument("said", nargs=-1, metavar="SIDE:TEXT...", callback=_conversation)
@click.option(
    "-d",
    "--directory",
    "directories",
    multiple=True,
    default=["."],
    show_default=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the parser is; may be given several times.",
)
@click.option(
    "--rule", "rules", multiple=True, callback=_rules, help="A rule that allows: '{cmd: READ}'. Default: all."
)
@click.option("--deny", multiple=True, callback=_rules, help="A rule that denies.")
@output_option
def test(
    name: str,
    said: list[Said],
    directories: tuple[Path, ...],
    rules: list[dict[str, str]],
    deny: list[dict[str, str]],
    output: Form,
) -> None:
    r"""Show what a parser makes of a conversation, and whether how it is cut changes that.

    SIDE is client or server, TEXT what it sends, with escapes such as \r\n or \x00; @FILE stands for a file's bytes.

    \b
    cilium-proxy parser test r2d2:R2d2 --rule '{cmd: READ}' 'client:READ a\r\n' 'server:OK\r\n'

    Without a conversation, parser and rules are checked.

    Exits with 0 if all is well, 1 if the parser closes the connection or something depends on how the bytes are cut, 2
    if the parser or a rule cannot be used.
    """
    try:
        with Loader(directories) as loader:
            parser = loader.load(name.removeprefix(PREFIX))
            talk, steps = _follow(parser, said, rules, deny)
            difference = _difference(parser, said, rules, deny)
    except (LoadError, RuleError, ValueError) as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    if output in ("json", "yaml"):
        print_data({"steps": steps, "closed": talk.closed, "cut": difference or None}, output)
    else:
        _print(said, steps, talk, difference)
    sys.exit(1 if talk.closed is not None or difference else 0)


def _follow(
    parser: type[Parser[Any]], said: Sequence[Said], rules: Sequence[dict[str, str]], deny: Sequence[dict[str, str]]
) -> tuple[Conversation, list[dict[str, Any]]]:
    """The conversation, and what came of each step."""
    talk = Conversation(parser, rules=rules, deny=deny)
    steps = []
    for side, data in said:
        to_server, to_client, logged = len(talk.to_server), len(talk.to_client), len(talk.log)
        talk.say(side, data)
        steps.append(
            {
                side: _shown(data),
                "to_server": _shown(talk.to_server[to_server:]),
                "to_client": _shown(talk.to_client[to_client:]),
                "log": [{entry.kind: dict(entry.fields)} for entry in talk.log[logged:]],
            }
        )
    return talk, steps


def _difference(
    parser: type[Parser[Any]], said: Sequence[Said], rules: Sequence[dict[str, str]], deny: Sequence[dict[str, str]]
) -> str:
    """What changes when the bytes are cut in other ways; empty: nothing."""
    try:
        if said:
            check_chunkings(parser, said, rules=rules, deny=deny)
    except AssertionError as error:
        return str(error)
    return ""


def _print(said: Sequence[Said], steps: Sequence[dict[str, Any]], talk: Conversation, difference: str) -> None:
    for (side, _), step in zip(said, steps, strict=True):
        click.echo(f"{side} says {step[side]}")
        for name in ("to_server", "to_client"):
            if step[name]:
                click.echo(f"  {name.replace('_', ' ')}: {step[name]}")
        for entry in step["log"]:
            for kind, fields in entry.items():
                click.echo(f"  {kind}: {', '.join(f'{name} {value!r}' for name, value in fields.items())}")
    if talk.closed is not None:
        click.echo(f"closed: {talk.closed}")
        click.echo("".join(f"  {line}\n" for line in talk.traceback.splitlines()), nl=False)
    if difference:
        click.echo(f"how the bytes are cut changes what comes of them: {difference}")
    elif not said:
        click.echo("ok")


def _shown(data: bytes) -> str:
    """With escapes, as in the arguments."""
    return repr(data)[2:-1]
