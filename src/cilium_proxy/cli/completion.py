"""`cilium-proxy completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print shell completion for bash, zsh or fish.

    For bash: cilium-proxy completion bash > ~/.local/share/bash-completion/completions/cilium-proxy
    """
    from cilium_proxy.cli import group

    completion = get_completion_class(shell)
    assert completion is not None  # noqa: S101
    click.echo(completion(group, {}, "cilium-proxy", "_CILIUM_PROXY_COMPLETE").source())
