"""`cilium-envoy-starter` and `cilium-envoy`: the reference's names and command lines, for its place in a container."""

from __future__ import annotations

import sys

import click


def starter() -> None:
    """Entry point of `cilium-envoy-starter`."""
    from cilium_proxy.supervisor.agent_arguments import starter_arguments

    _main(starter_arguments)


def envoy() -> None:
    """Entry point of `cilium-envoy`."""
    from cilium_proxy.supervisor.agent_arguments import envoy_arguments

    _main(envoy_arguments)


def _main(read: object) -> None:
    from cilium_proxy.cli.agent import run
    from cilium_proxy.supervisor.agent_arguments import ArgumentsError

    assert callable(read)  # noqa: S101
    try:
        arguments = read(sys.argv[1:])
    except ArgumentsError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    sys.exit(run(arguments))
