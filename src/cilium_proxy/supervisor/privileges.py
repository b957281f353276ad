"""What Envoy may not do itself, and how it is started so that it may not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cilium_proxy import _core, _native
from cilium_proxy.supervisor.command import EnvoyCommand, MissingError

_LAUNCH = "cilium-envoy-launch"
_SOCKETS = "libcilium_sockets.so"
BPF_ROOT = "/sys/fs/bpf"


class PrivilegesError(Exception):
    """Capabilities are missing or a root is unfit; the text names each with the setting that helps."""


@dataclass(slots=True)
class Privileges:
    """The privileged service and the confinement of Envoy (docs/privileges.md)."""

    roots: tuple[str, ...]
    keep_net_bind_service: bool
    _service: _core.PrivilegedService

    @classmethod
    def keep(cls, roots: Sequence[str] = (BPF_ROOT,), *, keep_net_bind_service: bool = False) -> Privileges:
        """Starts the service, which keeps this process's capabilities. Raises PrivilegesError, MissingError."""
        for name in (_LAUNCH, _SOCKETS):
            _native_file(name)
        try:
            service = _core.PrivilegedService(list(roots))
        except ValueError as error:
            raise PrivilegesError(str(error)) from error
        missing = service.missing()
        if missing:
            raise PrivilegesError("\n".join(missing))
        return cls(tuple(roots), keep_net_bind_service, service)

    def confine(self, command: EnvoyCommand) -> EnvoyCommand:
        """The command, started without privileges and connected to a service of its own.

        An Envoy that crashed may have left an answer unread on the connection it had.
        """
        self._service = _core.PrivilegedService(list(self.roots))
        number = self._service.fileno()
        launch = [str(_native_file(_LAUNCH)), "--service-fd", str(number), "--parent-pid", str(os.getpid())]
        launch += ["--preload", str(_native_file(_SOCKETS))]
        if self.keep_net_bind_service:
            launch.append("--keep-cap-net-bind-service")
        return EnvoyCommand(
            argv=(*launch, "--", *command.argv),
            environment=command.environment,
            pass_fds=(*command.pass_fds, number),
        )


def _native_file(name: str) -> Path:
    path = _native.DIRECTORY / name
    if not path.is_file():
        raise MissingError(f"{path} is missing: build the package with `pip install .`, in a checkout `make setup`")
    return path
