"""`cilium-proxy version`."""

from __future__ import annotations

import re
import subprocess

import click

from cilium_proxy.cli.output import Form, output_option, print_data, print_table
from cilium_proxy.version import __version__

ABI = "v0.2.0"
"""Version of Envoy's dynamic-module interface that the module is made for: that of Envoy 1.40."""


@click.command("version")
@output_option
def command(output: Form) -> None:
    """Show the versions of the proxy, Envoy and the module interface."""
    versions = _versions()
    if output in ("json", "yaml"):
        print_data(versions, output)
        return
    envoy = f"{versions['envoy']} ({(versions['envoy_build'] or '')[:12]})" if versions["envoy"] else "missing"
    rows = [
        ("cilium-proxy", versions["version"]),
        ("Envoy", envoy),
        ("module ABI", versions["abi"]),
        ("module", versions["module"] or "missing"),
    ]
    if output == "table":
        print_table(("PART", "VERSION"), rows)
    else:
        click.echo("\n".join(f"{part} {version}" for part, version in rows))


def _versions() -> dict[str, str | None]:
    from cilium_proxy.supervisor.command import MissingError, binary, module

    try:
        path = binary()
        printed = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
        match = re.search(r"version: (\w+)/([\w.-]+)/", printed)
        envoy, build = (match[2], match[1]) if match else (None, None)
    except (MissingError, OSError, subprocess.TimeoutExpired):
        envoy = build = None
    try:
        native: str | None = str(module())
    except MissingError:
        native = None
    return {"version": __version__, "envoy": envoy, "envoy_build": build, "abi": ABI, "module": native}
