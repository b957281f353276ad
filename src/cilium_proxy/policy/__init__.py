"""Network policies: verdicts on them, and what they are compiled from.

    from cilium_proxy.policy import PolicyMap

`PolicyMap` answers with the engine of the proxy; `compile` turns Kubernetes resources into policies.
"""

from cilium_proxy._core import SniPattern, TlsContext
from cilium_proxy.policy.errors import EngineError, InvalidQuery, PolicyError, PolicyRejected
from cilium_proxy.policy.hosts import HostMap
from cilium_proxy.policy.map import PolicyMap
from cilium_proxy.policy.snapshot import Snapshot
from cilium_proxy.policy.verdict import Explanation, HttpVerdict, TlsVerdict, Verdict

__all__ = [
    "EngineError",
    "Explanation",
    "HostMap",
    "HttpVerdict",
    "InvalidQuery",
    "PolicyError",
    "PolicyMap",
    "PolicyRejected",
    "Snapshot",
    "SniPattern",
    "TlsContext",
    "TlsVerdict",
    "Verdict",
]
