"""`cilium-proxy agent`."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cilium_proxy.rewrite.cilium import AgentBootstrap
    from cilium_proxy.supervisor.agent_arguments import AgentArguments

BPF_ROOTS = "CILIUM_PROXY_BPF_ROOTS"
PARSERS = "CILIUM_PROXY_PARSERS"
DEFAULT_CONFIG = Path("/var/run/cilium/envoy/bootstrap-config.json")


@click.command("agent", context_settings={"ignore_unknown_options": True})
@click.option(
    "-c",
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    default=DEFAULT_CONFIG,
    show_default=True,
    help="Envoy bootstrap of the agent or chart, JSON or YAML.",
)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory for sockets. Default: one per bootstrap, below $XDG_RUNTIME_DIR or /run.",
)
@click.option("--print-bootstrap", is_flag=True, help="Print the bootstrap that Envoy would get, and end.")
@click.option("--keep-cap-net-bind-service", is_flag=True, help="Let Envoy listen on ports below 1024.")
@click.option(
    "--unprivileged",
    is_flag=True,
    help="Run without marks, transparent sockets and BPF maps: for trying out, not on a Cilium node.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log what the control plane does in detail.")
@click.argument("envoy_arguments", nargs=-1, type=click.UNPROCESSED)
def command(
    config: Path,
    state_dir: Path | None,
    print_bootstrap: bool,
    keep_cap_net_bind_service: bool,
    unprivileged: bool,
    verbose: bool,
    envoy_arguments: tuple[str, ...],
) -> None:
    """Run the proxy behind a Cilium agent.

    ENVOY_ARGUMENTS are passed on to Envoy: `cilium-proxy agent -- --log-level debug`.

    BPF maps are opened below /sys/fs/bpf, or the directories in CILIUM_PROXY_BPF_ROOTS, separated by colons. Parsers
    written in Python are run from the directories in CILIUM_PROXY_PARSERS, separated by colons, and otherwise not at
    all.

    Exit codes: 0 stopped, 1 Envoy does not start or privileges are missing, 2 the bootstrap cannot be used.
    """
    from cilium_proxy.supervisor.agent_arguments import AgentArguments

    arguments = AgentArguments(
        config=config,
        envoy=envoy_arguments,
        keep_net_bind_service=keep_cap_net_bind_service,
        print_bootstrap=print_bootstrap,
    )
    sys.exit(run(arguments, state_dir=state_dir, unprivileged=unprivileged, verbose=verbose))


def run(
    arguments: AgentArguments, *, state_dir: Path | None = None, unprivileged: bool = False, verbose: bool = False
) -> int:
    """Runs the proxy; returns the exit code."""
    from cilium_proxy.rewrite.cilium import Options, RewriteError
    from cilium_proxy.rewrite.cilium.bootstrap import BootstrapError
    from cilium_proxy.supervisor import agent, embedding, state_directory
    from cilium_proxy.supervisor.command import BPF_ROOT, MissingError
    from cilium_proxy.supervisor.supervisor import StartError

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("cilium_proxy").setLevel(logging.DEBUG if verbose else logging.INFO)
    try:
        if arguments.information:
            _become(arguments, None)
        parsers = [Path(directory) for directory in os.environ.get(PARSERS, "").split(":") if directory]
        options = Options(privileged_sockets=not unprivileged, python_parsers=embedding.of_directories(parsers))
        bootstrap = _read(arguments)
        directory = state_dir or state_directory.default(arguments.config or DEFAULT_CONFIG)
        if arguments.print_bootstrap:
            return _print(agent.envoy_bootstrap(bootstrap, directory, options))
        directory = state_directory.create(directory).resolve()
        if arguments.validate:
            made = agent.envoy_bootstrap(bootstrap, directory, options)
            _become(arguments, agent.write_bootstrap(made, directory))
        roots = None if unprivileged else os.environ.get(BPF_ROOTS, BPF_ROOT).split(":")
        proxy = agent.Agent(bootstrap, arguments, directory, options, roots)
        asyncio.run(proxy.run())
    except (BootstrapError, RewriteError) as error:
        where = arguments.config or ("--config-yaml" if arguments.config_yaml else DEFAULT_CONFIG)
        return _fail(f"{where}: {error}", 2)
    except (OSError, MissingError, state_directory.StateDirectoryError) as error:
        return _fail(str(error), 2)
    except StartError as error:
        return _fail(str(error), 1)
    return 0


def _read(arguments: AgentArguments) -> AgentBootstrap:
    """The bootstrap from file and command line, merged as Envoy does. Raises BootstrapError."""
    from cilium_proxy.rewrite.cilium import read_bootstrap

    texts = [] if arguments.config is None and arguments.config_yaml else [_text(arguments.config or DEFAULT_CONFIG)]
    if arguments.config_yaml:
        texts.append(arguments.config_yaml)
    bootstrap, *more = (read_bootstrap(text) for text in texts)
    for other in more:
        bootstrap.message.MergeFrom(other.message)
    return bootstrap


def _text(path: Path) -> str:
    from cilium_proxy.rewrite.cilium.bootstrap import BootstrapError

    try:
        return path.read_text()
    except OSError as error:
        raise BootstrapError(f"the bootstrap cannot be read: {error.strerror}; -c says where it is") from error
    except UnicodeDecodeError as error:
        raise BootstrapError(f"not a text: {error}") from error


def _print(made: object) -> int:
    from cilium_proxy.api import to_dict
    from cilium_proxy.supervisor.agent import EnvoyBootstrap

    assert isinstance(made, EnvoyBootstrap)  # noqa: S101
    for warning in made.warnings:
        click.echo(warning, err=True)
    click.echo(json.dumps(to_dict(made.message), indent=2))
    return 0


def _become(arguments: AgentArguments, bootstrap: Path | None) -> None:
    """Envoy takes the place of this process. Raises MissingError."""
    from cilium_proxy.supervisor.agent import agent_command

    command = agent_command(arguments, bootstrap)
    os.execve(command.argv[0], command.argv, dict(command.environment))  # noqa: S606


def _fail(text: str, code: int) -> int:
    click.echo(text, err=True)
    return code
