"""The name of an Envoy process, by which its connections are told apart from those of the one it takes over from."""

from __future__ import annotations

from typing import Any

_KEY = "cilium_proxy.instance"


def name_instance(node: Any, instance: str) -> None:
    """Writes it to a `envoy.config.core.v3.Node`."""
    node.metadata.update({_KEY: instance})


def instance_of(node: Any) -> str:
    """Reads it from a node; empty when there is none."""
    return str(node.metadata.fields[_KEY].string_value) if _KEY in node.metadata.fields else ""
