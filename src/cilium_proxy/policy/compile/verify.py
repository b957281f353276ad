"""Feeds compiled policies to the engine and finds the places of what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cilium_proxy.yaml import Mark, Problem

if TYPE_CHECKING:
    from cilium_proxy.policy.compile.compiler import Compiled
    from cilium_proxy.policy.compile.rule import Message


def verify(compiled: Compiled, file: str) -> list[Problem]:
    """Everything the engine refuses, such as invalid regular expressions; empty when it accepts the policies.

    `file` is what to name when the engine's message belongs to no single rule.
    """
    refusal = _refusal(compiled.resources)
    if refusal is None:
        return []
    found = []
    for probe in compiled.probes:
        cause = _refusal({"probe": _resource(probe.rule)})
        if cause is not None:
            found.append(Problem(probe.mark, probe.path, _short(cause), "correct it"))
    return found or [Problem(Mark(file), "", refusal, "correct the rule it names")]


def _resource(rule: Message) -> Message:
    return {
        "endpoint_ips": ["192.0.2.1"],
        "endpoint_id": 1,
        "ingress_per_port_policies": [{"port": 1, "rules": [rule]}],
    }


def _refusal(resources: dict[str, Message]) -> str | None:
    from cilium_proxy.policy import PolicyMap, PolicyRejected

    try:
        PolicyMap().update(resources, version="check")
    except PolicyRejected as error:
        return str(error)
    return None


def _short(cause: str) -> str:
    """The engine's message without the names of the probe."""
    return cause
