"""`cilium-proxy restart`."""

from __future__ import annotations

from pathlib import Path

import click

from cilium_proxy.cli import running

_PATIENCE = 120.0


@click.command("restart")
@running.config_option
@running.state_option
def command(config: Path | None, state_dir: Path | None) -> None:
    """Have a new Envoy take over from the running one.

    The new one has the Envoy release, the module and the settings of now. It gets the listening sockets and all state
    before it serves; the one before it lets its connections end. No request fails. If the new one does not start, the
    one before goes on.

    SIGUSR2 to the proxy does the same. Exits with 1 when no other Envoy took over.
    """
    answer = running.ask(config, state_dir, "restart", patience=_PATIENCE)
    if "error" in answer:
        raise click.ClickException(f"no other Envoy took over: {answer['error']}")
    click.echo(f"Envoy {answer['pid']} took over")
