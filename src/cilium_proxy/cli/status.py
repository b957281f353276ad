"""`cilium-proxy status`."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cilium_proxy.cli import running
from cilium_proxy.cli.output import Form, output_option, print_data, print_table


@click.command("status")
@running.config_option
@running.state_option
@output_option
def command(config: Path | None, state_dir: Path | None, output: Form) -> None:
    """Show the state of a running proxy.

    Exits with 1 when the last edit was refused or Envoy does not run.
    """
    answer = running.ask(config, state_dir, "status")
    if output in ("json", "yaml"):
        print_data(answer, output)
    elif output == "table":
        print_table(("PART", "STATE"), _rows(answer))
    else:
        for part, state in _rows(answer):
            click.echo(f"{part:<9} {state}")
    sys.exit(0 if answer["state"] == "running" and answer["source"]["error"] is None else 1)


def _rows(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    source, envoy = answer["source"], answer["envoy"]
    rows = [
        ("State", f"{answer['state']} for {_span(answer['uptime'])}, version {answer['version']}, pid {answer['pid']}"),
        ("Source", f"{source['file']}: {source['state']}"),
    ]
    if source["applied_at"]:
        rows.append(("", f"in force since {_clock(source['applied_at'])}"))
    if source["error"]:
        rows.append(("", f"refused at {_clock(source['error_at'])}:"))
        rows += [("", f"  {line}") for line in source["error"].splitlines()]
    if source["needs_restart"]:
        rows.append(("", f"to be put into force with `cilium-proxy restart`: {', '.join(source['needs_restart'])}"))
    rows += [("", f"warning: {warning}") for warning in source.get("warnings", [])]
    if envoy["pid"]:
        rows.append(("Envoy", f"pid {envoy['pid']}, up {_span(envoy['uptime'])}, {envoy['restarts']} restarts"))
    else:
        rows.append(("Envoy", f"not running, {envoy['restarts']} restarts, last {envoy['last_exit']}"))
    for pid in envoy.get("retiring", []):
        rows.append(("", f"pid {pid} drains: another took over from it"))
    if envoy.get("restart_error"):
        rows.append(("", "no other took over when one was to:"))
        rows += [("", f"  {line}") for line in envoy["restart_error"].splitlines()]
    count = answer["policies"]["resources"]
    rows.append(("Policies", f"{count} endpoint{'' if count == 1 else 's'}, version {answer['policies']['version']}"))
    for module in answer["modules"]:
        versions = ", ".join(f"{name} {version}" for name, version in module["versions"].items())
        rows.append(("Module", f"{module['instance']}: {versions or 'nothing applied'}"))
    for one in answer["listeners"]:
        what = f"{one['name']}: {one['direction']} {one['protocol']} {one['address']} -> {one['upstream']}"
        rows.append(("Listener", f"{what}, endpoint {one['endpoint']}"))
    return rows


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _span(seconds: float) -> str:
    whole = int(seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"
