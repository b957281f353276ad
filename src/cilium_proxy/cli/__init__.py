"""The command line, `cilium-proxy`. One file per command, which exports it as `command`; imported when it is used.

Exit codes: 0 success, 1 denied or failed check, 2 wrong usage or configuration.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence

import click

from cilium_proxy.version import __version__

COMMANDS = {
    "run": "Run the proxy with a configuration file.",
    "agent": "Run the proxy behind a Cilium agent.",
    "check": "Check a configuration and its policies.",
    "verdict": "Say what policy does with one request.",
    "explain": "Say why policy allows or denies.",
    "test": "Check expected verdicts against policies.",
    "parser": "Try out a parser written in Python.",
    "observe": "Show requests and verdicts as they happen.",
    "status": "Show the state of a running proxy.",
    "restart": "Have a new Envoy take over from the running one.",
    "completion": "Print shell completion for bash, zsh or fish.",
    "version": "Show the versions of the proxy, Envoy and the module interface.",
}
"""Commands and what the list of them says, in its order."""


class _Commands(click.Group):
    """Finds commands by name, and imports only the one that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if importlib.util.find_spec(f"{__name__}.{name}") is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command = importlib.import_module(f"{__name__}.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(version)s")
def group() -> None:
    """The Cilium proxy: network policies enforced by stock Envoy."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `cilium-proxy` and `python -m cilium_proxy`."""
    group.main(args=None if arguments is None else list(arguments), prog_name="cilium-proxy")
