"""Proxies that run on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

config_option = click.option(
    "-c",
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Configuration file of the proxy. Not needed while one proxy runs.",
)
state_option = click.option(
    "--state-dir", type=click.Path(file_okay=False, path_type=Path), help="As given to `run` or `agent`."
)


def directory(config: Path | None, state_dir: Path | None) -> Path:
    """The state directory of the proxy that is meant: with that directory or configuration, or the only one."""
    from cilium_proxy.supervisor import state_directory

    if state_dir is not None:
        return state_dir
    if config is not None:
        return state_directory.default(config)
    running = state_directory.running()
    if not running:
        raise click.ClickException(f"no proxy runs here (nothing in {state_directory.base()})")
    if len(running) > 1:
        raise click.UsageError("several proxies run here: say which with -c FILE or --state-dir")
    return running[0]


def ask(config: Path | None, state_dir: Path | None, question: str, **options: Any) -> dict[str, Any]:
    """Its answer to a question."""
    from cilium_proxy.supervisor import control, state_directory

    try:
        return control.ask(directory(config, state_dir) / state_directory.CONTROL, question, **options)
    except control.UnreachableError as error:
        raise click.ClickException(str(error)) from error
