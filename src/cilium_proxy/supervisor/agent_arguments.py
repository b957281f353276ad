"""The command line that Cilium's charts give to `cilium-envoy-starter` and `cilium-envoy`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cilium_proxy.supervisor import options

# An option and its value may be one argument, with the space that Envoy's parser splits at.
_CONFIG = re.compile(r"(?:-c|--config-path|(?P<yaml>--config-yaml))(?: (?P<value>.*))?", re.DOTALL)
# Questions that Envoy answers itself, without running.
_INFORMATION = frozenset({"--version", "--help", "-h", "--hot-restart-version"})


class ArgumentsError(ValueError):
    """The command line cannot be used; the text says which part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentArguments:
    """`config` and `config_yaml` as given to Envoy; `envoy` are all its other arguments, as they are."""

    config: Path | None = None
    config_yaml: str | None = None
    envoy: tuple[str, ...] = ()
    keep_net_bind_service: bool = False
    print_bootstrap: bool = False

    @property
    def information(self) -> bool:
        """Envoy is only asked about itself."""
        return not _INFORMATION.isdisjoint(self.envoy)

    def value(self, option: str) -> str | None:
        """The value of one of Envoy's options, such as `--service-zone`; None if it is not given."""
        return options.value(self.envoy, option)

    @property
    def validate(self) -> bool:
        """Envoy is to check its configuration and end."""
        return self.value("--mode") == "validate"


def starter_arguments(argv: Sequence[str]) -> AgentArguments:
    """Reads what the starter is given: its own options, `--`, then Envoy's; without `--` all are Envoy's.

    An argument `@file` is replaced by the content of the file, without spaces around it; `@@` stands for an `@`.

    Raises ArgumentsError.
    """
    own, envoy = ([], list(argv)) if "--" not in argv else _split(argv)
    flags = {"--keep-cap-net-bind-service": False, "--print-bootstrap": False}
    for argument in own:
        if argument not in flags:
            raise ArgumentsError(f"unknown starter argument {argument!r}; Envoy's arguments come after `--`")
        flags[argument] = True
    return envoy_arguments(
        [_resolve(argument) for argument in envoy],
        keep_net_bind_service=flags["--keep-cap-net-bind-service"],
        print_bootstrap=flags["--print-bootstrap"],
    )


def envoy_arguments(
    argv: Sequence[str], *, keep_net_bind_service: bool = False, print_bootstrap: bool = False
) -> AgentArguments:
    """Reads Envoy's own arguments: takes out where the bootstrap is. Raises ArgumentsError."""
    config: dict[bool, str] = {}
    others = []
    arguments = iter(argv)
    for argument in arguments:
        if print_bootstrap is False and argument == "--print-bootstrap":
            print_bootstrap = True
            continue
        match = _CONFIG.fullmatch(argument)
        if match is None:
            others.append(argument)
            continue
        value = match["value"] if match["value"] is not None else next(arguments, None)
        if not value:
            raise ArgumentsError(f"{argument} needs a value")
        config[match["yaml"] is not None] = value.strip()
    return AgentArguments(
        config=Path(config[False]) if False in config else None,
        config_yaml=config.get(True),
        envoy=tuple(others),
        keep_net_bind_service=keep_net_bind_service,
        print_bootstrap=print_bootstrap,
    )


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    at = argv.index("--")
    return list(argv[:at]), list(argv[at + 1 :])


def _resolve(argument: str) -> str:
    if not argument.startswith("@"):
        return argument
    if argument.startswith("@@"):
        return argument[1:]
    if argument == "@":
        raise ArgumentsError("@ needs the path of a file")
    try:
        return Path(argument[1:]).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ArgumentsError(f"cannot read the argument file {argument[1:]}: {reason}") from error
