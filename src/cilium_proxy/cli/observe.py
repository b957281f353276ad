"""`cilium-proxy observe`."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from cilium_proxy.observe import Filter, Names

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Since(click.ParamType):  # type: ignore[type-arg]
    """A duration before now, or a point in time."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Reads it; click shows what is wrong with it."""
        if isinstance(value, datetime):
            return value
        duration = re.fullmatch(r"(\d+)([smhd])", value)
        try:
            if duration:
                return datetime.now(UTC) - timedelta(**{UNITS[duration[2]]: int(duration[1])})
            moment = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail(f"`{value}` is not a time; write 90s, 5m, 2h, 1d or 2026-01-31T12:00:00Z", param, ctx)
        return moment if moment.tzinfo else moment.astimezone()


@click.command("observe")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is logged from now on. Sockets always are.")
@click.option("--verdict", type=click.Choice(["denied", "forwarded"]), help="Only denied, or only forwarded, traffic.")
@click.option("--endpoint", help="Only what the policy of this endpoint decided: its name (with -c) or IP address.")
@click.option("--path", help="Only requests with this regular expression in their path.")
@click.option("--method", help="Only requests with this method.")
@click.option("--since", type=Since(), help="Only what is not older: 90s, 5m, 2h, 1d or 2026-01-31T12:00:00Z.")
@click.option("--last", type=click.IntRange(min=0), help="Only the last N of what a file holds.")
@click.option(
    "-c",
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Configuration of the proxy, for the names of endpoints.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["compact", "json"]),
    default="compact",
    show_default=True,
    help="A line like Hubble's, or a JSON object per line.",
)
@click.argument("source")
def command(
    follow: bool,
    verdict: Any,
    endpoint: str | None,
    path: str | None,
    method: str | None,
    since: datetime | None,
    last: int | None,
    config: Path | None,
    output: str,
    source: str,
) -> None:
    """Show requests and verdicts.

    SOURCE is an access log that the proxy writes with `access_log: {file: ..., format: json}`, "-" for standard input,
    or a socket to listen on, for example the one in `access_log: {socket: ...}`.

    Exits with 0, or with 2 if SOURCE cannot be read.
    """
    from cilium_proxy.observe import CompactPrinter, Filter, InvalidFilterError, ReceiverError, SourceError, print_line

    names = _names(config)
    try:
        wanted = Filter(verdict=verdict, endpoint=endpoint, path=path, method=method, since=since, names=names)
    except InvalidFilterError as error:
        raise click.UsageError(str(error)) from error
    form = print_line if output == "json" else CompactPrinter(names)
    try:
        with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
            asyncio.run(_show(source, wanted, form, follow=follow, last=last))
    except (SourceError, ReceiverError) as error:
        click.echo(error.strerror if isinstance(error, ReceiverError) else str(error), err=True)
        sys.exit(2)


async def _show(source: str, wanted: Filter, form: Callable[[Any], str], *, follow: bool, last: int | None) -> None:
    from cilium_proxy.observe import observe
    from cilium_proxy.supervisor.signals import STOP, signals

    # So that a socket is removed; also where a shell started it in the background, which ignores SIGINT.
    showing = asyncio.current_task()
    assert showing is not None  # noqa: S101
    with signals(dict.fromkeys(STOP, showing.cancel)):
        entries = observe(source, wanted, follow=follow, last=last)
        async with contextlib.aclosing(entries):
            async for entry in entries:
                click.echo(form(entry))


def _names(file: Path | None) -> Names:
    from cilium_proxy.config import load
    from cilium_proxy.observe import Names
    from cilium_proxy.policy.compile import compile_policies, load_policies
    from cilium_proxy.yaml import ProblemsError

    if file is None:
        return Names()
    try:
        config = load(file)
        return Names.of(config, compile_policies(config, load_policies(list(config.policies))).identities)
    except ProblemsError as error:
        raise click.UsageError(str(error)) from error
