"""Policies in files to NetworkPolicy resources, one per endpoint.

    documents = load_policies(config.policies)                  # raises CompileError
    compiled = compile_policies(config, documents, allocator)   # raises CompileError
    for step in steps(before, compiled): ...                    # from one state to the next

No verdicts here: the engine (`cilium_proxy.policy.PolicyMap`) gives them.
"""

from cilium_proxy.policy.compile.compiler import Compiled, compile_policies
from cilium_proxy.policy.compile.documents import CompileError, Documents, load_policies
from cilium_proxy.policy.compile.identities import Allocator, Identities, NumberedIdentity
from cilium_proxy.policy.compile.rule import Probe, Secret
from cilium_proxy.policy.compile.steps import Step, steps
from cilium_proxy.policy.compile.verify import verify, verify_probes

__all__ = [
    "Allocator",
    "CompileError",
    "Compiled",
    "Documents",
    "Identities",
    "NumberedIdentity",
    "Probe",
    "Secret",
    "Step",
    "compile_policies",
    "load_policies",
    "steps",
    "verify",
    "verify_probes",
]
