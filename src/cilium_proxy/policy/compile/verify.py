"""Feeds compiled policies to the engine and finds the places of what it refuses."""

from __future__ import annotations

from collections.abc import Sequence

from cilium_proxy.policy.compile.compiler import Compiled
from cilium_proxy.policy.compile.rule import Message, Probe
from cilium_proxy.policy.errors import PolicyRejected
from cilium_proxy.policy.map import PolicyMap
from cilium_proxy.yaml import Mark, Problem

_PROBE = "rule"


def verify(compiled: Compiled, file: str) -> list[Problem]:
    """Everything the engine refuses, such as invalid regular expressions; empty when it accepts the policies.

    Rules that select no endpoint are tried too. `file` is what to name when a refusal belongs to no single rule.
    """
    found = verify_probes(compiled.probes)
    if not found:
        refusal = _refusal(compiled.resources)
        if refusal is not None:
            found.append(Problem(Mark(file), "", str(refusal), "correct the rule it names"))
    return found


def verify_probes(probes: Sequence[Probe]) -> list[Problem]:
    """The parts of rules that the engine refuses."""
    return [Problem(probe.mark, probe.path, _cause(refusal), probe.fix) for probe, refusal in _refused(probes)]


def _cause(refusal: PolicyRejected) -> str:
    """The message without the names of the probe."""
    return str(refusal).partition(f"{refusal.field}: ")[2] or str(refusal)


def _refused(probes: Sequence[Probe]) -> list[tuple[Probe, PolicyRejected]]:
    """The refused ones and why. All are tried at once; only when that fails, each half by itself, and so on."""
    if not probes:
        return []
    refusal = _refusal({_PROBE: _resource([probe.rule for probe in probes])})
    if refusal is None:
        return []
    if len(probes) == 1:
        return [(probes[0], refusal)]
    middle = len(probes) // 2
    return _refused(probes[:middle]) + _refused(probes[middle:])


def _resource(rules: list[Message]) -> Message:
    """Each rule on a port of its own, so that none depends on another."""
    ports = [{"port": index % 65535 + 1, "rules": [rule]} for index, rule in enumerate(rules)]
    return {"endpoint_ips": ["192.0.2.1"], "endpoint_id": 1, "ingress_per_port_policies": ports}


def _refusal(resources: dict[str, Message]) -> PolicyRejected | None:
    try:
        PolicyMap().update(resources, version="check")
    except PolicyRejected as error:
        return error
    return None
