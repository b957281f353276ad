"""Feeds compiled policies to the engine and finds the places of what it refuses."""

from __future__ import annotations

from collections.abc import Sequence

from cilium_proxy.policy.compile.compiler import Compiled
from cilium_proxy.policy.compile.rule import Message, Probe
from cilium_proxy.yaml import Mark, Problem

_PROBE = "rule"


def verify(compiled: Compiled, file: str) -> list[Problem]:
    """Everything the engine refuses, such as invalid regular expressions; empty when it accepts the policies.

    Rules that select no endpoint are tried too. `file` is what to name when a refusal belongs to no single rule.
    """
    found = [Problem(probe.mark, probe.path, cause) for probe, cause in _refused(compiled.probes)]
    if not found:
        refusal = _refusal(compiled.resources)
        if refusal is not None:
            found.append(Problem(Mark(file), "", refusal, "correct the rule it names"))
    return found


def _refused(probes: Sequence[Probe]) -> list[tuple[Probe, str]]:
    """The refused ones and why. All are tried at once; only when that fails, each half by itself, and so on."""
    if not probes:
        return []
    cause = _refusal({_PROBE: _resource([probe.rule for probe in probes])})
    if cause is None:
        return []
    if len(probes) == 1:
        return [(probes[0], cause)]
    middle = len(probes) // 2
    return _refused(probes[:middle]) + _refused(probes[middle:])


def _resource(rules: list[Message]) -> Message:
    """A policy of its own port for each rule, since kinds of L7 rules may not be mixed on one port."""
    ports = [{"port": index % 65535 + 1, "rules": [rule]} for index, rule in enumerate(rules)]
    return {"endpoint_ips": ["192.0.2.1"], "endpoint_id": 1, "ingress_per_port_policies": ports}


def _refusal(resources: dict[str, Message]) -> str | None:
    # The engine is a native module; compiling needs none.
    from cilium_proxy.policy import PolicyMap, PolicyRejected

    try:
        PolicyMap().update(resources, version="check")
    except PolicyRejected as error:
        return str(error)
    return None
