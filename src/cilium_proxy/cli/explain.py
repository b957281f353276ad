"""`cilium-proxy explain`: the whole way to a verdict, rule by rule and test by test."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import click

from cilium_proxy.cli import running as proxies
from cilium_proxy.cli.output import Form, output_option, print_data, print_problems, print_table
from cilium_proxy.config import Direction, load, parse_config
from cilium_proxy.policy import Explanation, InvalidQuery
from cilium_proxy.policy.log_line import InvalidLogLineError, Logged, parse
from cilium_proxy.policy.world import Own, UnknownPeerError, World, build, restore
from cilium_proxy.yaml import Mapping, Mark, ProblemsError

DEFAULT_CONFIG = Path("proxy.yaml")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, in the engine's terms. `headers` None: about the connection only."""

    own: Own
    direction: Direction
    remote: int
    port: int
    proxy_id: int
    sni: str
    headers: list[tuple[str, str]] | None


@click.command()
@click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
    help="Configuration. Default without FILES and --running: proxy.yaml.",
)
@click.option("--running", is_flag=True, help="Ask the running proxy for the policies in force (with -c: that one).")
@click.option(
    "--state-dir", type=click.Path(file_okay=False, path_type=Path), help="With --running: as given to `run`."
)
@click.option("--log", "log_line", metavar="LINE", help='Access-log line, compact or JSON; "-" reads standard input.')
@click.option("--from", "source", metavar="PEER", help="Who connects.")
@click.option("--to", "target", metavar="PEER", help="To whom.")
@click.option("--port", type=click.IntRange(1, 65535), help="Destination port. Default: that of the only listener.")
@click.option("--direction", type=click.Choice(("ingress", "egress")), help="Default: ingress if --to is an endpoint.")
@click.option("--method", help="HTTP method. Default: GET.")
@click.option("--path", "url_path", help="HTTP path with query. Default: /.")
@click.option("--host", default="", help="HTTP host. Default: the name given with --to.")
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="HTTP header; may be repeated.")
@click.option("--tcp", is_flag=True, help="Ask about the connection only. Default on ports of TCP listeners.")
@click.option("--sni", default="", help="Server name of the TLS client hello.")
@click.option("--proxy-id", type=click.IntRange(0, 65535), default=0, help="Number of the listener.")
@click.argument("files", nargs=-1, type=click.Path(exists=True, readable=True, path_type=Path))
@output_option
def command(
    config_path: Path | None,
    running: bool,
    state_dir: Path | None,
    log_line: str | None,
    source: str | None,
    target: str | None,
    files: tuple[Path, ...],
    output: Form,
    **asked: Any,
) -> None:
    """Why is this request allowed or denied?

    Says which resource and port range apply, which rules were considered in which order, test by test, and what was
    done to headers. Asks the policies of a configuration, those in FILES (policies or NetworkPolicy resources), or
    those that a proxy on this machine enforces.

    PEER is the name of an endpoint or identity, an IP address, labels such as org=empire,class=xwing, a reserved name
    such as world or host, or the number of an identity. A line of the access log says it all in their place.

    Exits with 0 if allowed, 1 if denied, 2 if the question or the configuration is wrong.
    """
    if log_line is None and (source is None or target is None):
        raise click.UsageError("give --from and --to, or a line of the access log with --log")
    if running and files:
        raise click.UsageError("--running asks the policies of the proxy; give no FILES")
    try:
        logged = None if log_line is None else parse(sys.stdin.readline() if log_line == "-" else log_line)
        peers = (logged.source, logged.target) if logged is not None else (source or "", target or "")
        world = _running(config_path, state_dir) if running else _offline(config_path, files, peers)
        question = _of_log(world, logged) if logged is not None else _of_options(world, *peers, **asked)
        explanation = world.policies.explain(
            endpoint=question.own.address,
            direction=question.direction,
            remote=question.remote,
            port=question.port,
            sni=question.sni,
            headers=question.headers,
            proxy_id=question.proxy_id,
        )
    except ProblemsError as error:
        print_problems(error.problems)
        sys.exit(2)
    except (UnknownPeerError, InvalidLogLineError, InvalidQuery) as error:
        raise click.UsageError(str(error)) from error
    _print(world, question, explanation, output)
    sys.exit(0 if explanation.allowed else 1)


def _offline(config_path: Path | None, files: tuple[Path, ...], peers: tuple[str, ...]) -> World:
    if config_path is None and not files:
        if not DEFAULT_CONFIG.is_file():
            raise click.UsageError("there is no proxy.yaml here; give -c FILE, policy files or --running")
        config_path = DEFAULT_CONFIG
    config = load(config_path) if config_path is not None else parse_config(Mapping(Mark("-"), {}, {}), Path("-"))
    if files:
        config = dataclasses.replace(config, policies=tuple(str(file) for file in files))
    return build(config, peers)


def _running(config_path: Path | None, state_dir: Path | None) -> World:
    """The policies in force, from the proxy that runs with that configuration, or from the only one."""
    try:
        world = restore(proxies.ask(config_path, state_dir, "policies"))
    except click.ClickException as error:
        # 1 is the exit code of a denial.
        raise click.UsageError(error.message) from error
    except (KeyError, ValueError) as error:
        raise click.UsageError(f"the running proxy is of another version: {error}") from error
    if names := world.policies.secrets():
        click.echo(f"note: a running proxy tells no secrets, so these count as missing: {', '.join(names)}", err=True)
    return world


def _of_log(world: World, logged: Logged) -> Question:
    """Raises UnknownPeerError."""
    direction = logged.direction or ("ingress" if world.own(logged.target) else "egress")
    own_text, other = (logged.target, logged.source) if direction == "ingress" else (logged.source, logged.target)
    own = _endpoint(world, logged.policy or own_text, direction)
    remote = logged.remote if logged.remote is not None else world.remote(other)
    return Question(
        own=own,
        direction=direction,
        remote=remote,
        port=logged.port,
        proxy_id=logged.proxy_id,
        sni="",
        headers=logged.headers,
    )


def _of_options(
    world: World,
    source: str,
    target: str,
    *,
    port: int | None,
    direction: Direction | None,
    method: str | None,
    url_path: str | None,
    host: str,
    headers: tuple[str, ...],
    tcp: bool,
    sni: str,
    proxy_id: int,
) -> Question:
    """Raises UnknownPeerError, UsageError."""
    direction = direction or ("ingress" if world.own(target) else "egress")
    own_text, other = (target, source) if direction == "ingress" else (source, target)
    own = _endpoint(world, own_text, direction)
    opening = world.opening(own, direction)
    port = port or (opening.port if opening else None)
    if port is None:
        raise click.UsageError(f"give --port; {own.name} has no single {direction} listener")
    speaks_http = method or url_path or headers or opening is None or opening.protocol == "http"
    pairs = None
    if speaks_http and not tcp:
        pairs = [(":method", method or "GET"), (":path", url_path or "/"), (":authority", host or target)]
        pairs += [_header(text) for text in headers]
    return Question(
        own=own,
        direction=direction,
        remote=world.remote(other),
        port=port,
        proxy_id=proxy_id,
        sni=sni,
        headers=pairs,
    )


def _endpoint(world: World, text: str, direction: Direction) -> Own:
    own = world.own(text)
    if own is None:
        known = (
            ", ".join(endpoint.name for endpoint in world.endpoints) or ", ".join(world.policies.endpoints()) or "none"
        )
        raise UnknownPeerError(f"`{text}` is not an endpoint; {direction} policies belong to endpoints: {known}")
    return own


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name:
        raise click.UsageError(f"--header `{text}` is not of the form 'NAME: VALUE'")
    return name.strip().lower(), value.strip()


def _print(world: World, question: Question, explanation: Explanation, form: Form) -> None:
    places = _places(world, explanation)
    if form in ("json", "yaml"):
        remote = {"identity": question.remote, "name": world.called(question.remote)}
        print_data({**explanation.data, "endpoint_name": question.own.name, "remote": remote, "places": places}, form)
        return
    if form == "table":
        columns = ("STAGE", "RULE", "PRECEDENCE", "EFFECT", "OUTCOME", "FAILED TEST")
        print_table(columns, [row for stage in explanation.data["stages"] for row in _rows(stage)])
    click.echo(f"{'ALLOWED' if explanation.allowed else 'DENIED'} {_who(world, question)}")
    click.echo(explanation.reason if form == "table" else explanation.text.rstrip())
    for rule, place in places.items():
        click.echo(f"rule {rule} is at {place}")


def _places(world: World, explanation: Explanation) -> dict[str, str]:
    """Where the rules of the trace are written."""
    names = [rule["name"] for stage in explanation.data["stages"] for rule in stage["rules"] if rule["name"]]
    return {name: world.places[name] for name in dict.fromkeys(names) if name in world.places}


def _who(world: World, question: Question) -> str:
    called = world.called(question.remote)
    remote = f"{called} ({question.remote})" if called else f"identity {question.remote}"
    own = question.own.name
    ends = (remote, f"{own}:{question.port}") if question.direction == "ingress" else (own, f"{remote}:{question.port}")
    request = "" if question.headers is None else " " + " ".join(value for _, value in question.headers[:2])
    return f"{ends[0]} -> {ends[1]}{request}"


def _rows(stage: dict[str, Any]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for rule in stage["rules"]:
        checks = [*rule["checks"], *(check for one in rule["alternatives"] for check in one["checks"])]
        failed = next((check for check in checks if not check["passed"]), None)
        test = f"{failed['subject']} {failed['actual']!r}, wanted {failed['expected']}" if failed else "-"
        name = rule["name"] or rule["position"] or "-"
        rows.append((stage["name"], name, rule["precedence"], rule["effect"], rule["outcome"], test))
    return rows or [(stage["name"], "-", "-", "-", stage["code"], "-")]
