"""Compiles policies given as text."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from cilium_proxy.api import from_dict
from cilium_proxy.config import load
from cilium_proxy.policy import PolicyMap
from cilium_proxy.policy.compile import Allocator, Compiled, CompileError, compile_policies, load_policies

# How long an example takes says nothing on a busy machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

CONFIG = """
endpoints:
  - {name: api, labels: {app: api}, ips: [10.0.0.1]}
  - {name: db, labels: {app: db, tier: store}, ips: [10.0.0.2, "fd00::2"]}
  - {name: other, namespace: prod, labels: {app: api}, ips: [10.0.0.3]}
identities:
  - {name: frontend, labels: {app: frontend}, cidrs: [10.1.0.0/24]}
  - {name: batch, namespace: prod, labels: {app: batch}, cidrs: [10.2.0.1]}
  - {name: node, labels: {"reserved:host": ""}, cidrs: [10.0.0.254]}
namespaces:
  prod: {labels: {env: production}}
policies: [policies]
"""

Compile = Callable[..., Compiled]


@pytest.fixture
def compiled(tmp_path: Path) -> Compile:
    """`compiled(policy, ..., config=...)`: each text becomes a file."""

    def run(*policies: str, config: str = CONFIG, allocator: Allocator | None = None) -> Compiled:
        (tmp_path / "proxy.yaml").write_text(config)
        folder = tmp_path / "policies"
        folder.mkdir(exist_ok=True)
        for number, text in enumerate(policies):
            (folder / f"{number}.yaml").write_text(textwrap.dedent(text))
        loaded = load(tmp_path / "proxy.yaml")
        result = compile_policies(loaded, load_policies(loaded.policies), allocator)
        for resource in result.resources.values():
            from_dict("cilium.NetworkPolicy", resource)
        for hosts in result.hosts.values():
            from_dict("cilium.NetworkPolicyHosts", hosts)
        return result

    return run


@pytest.fixture
def problems(compiled: Compile, tmp_path: Path) -> Callable[..., list[str]]:
    """The problems of policies, one line each, with paths relative to the folder of policies."""

    def run(*policies: str, config: str = CONFIG) -> list[str]:
        with pytest.raises(CompileError) as error:
            compiled(*policies, config=config)
        return [str(problem).replace(f"{tmp_path}/policies/", "") for problem in error.value.problems]

    return run


class Asker:
    """Asks the engine about compiled policies, by names of peers."""

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled
        self.policies = PolicyMap()
        self.policies.update(compiled.resources, version="1")

    def remote(self, peer: str) -> int:
        identity = self.compiled.identities.named(peer)
        return identity.number if identity else self.compiled.identities.resolve(peer)

    def ingress(self, source: str, endpoint: str, port: int = 80) -> bool:
        return self._network("ingress", endpoint, source, port)

    def egress(self, endpoint: str, target: str, port: int = 80) -> bool:
        return self._network("egress", endpoint, target, port)

    def _network(self, direction: str, endpoint: str, peer: str, port: int) -> bool:
        address = self.compiled.resources[endpoint]["endpoint_ips"][0]
        return self.policies.network(
            endpoint=address,
            direction=direction,  # type: ignore[arg-type]
            remote=self.remote(peer),
            port=port,
        ).allowed

    def http(self, source: str, endpoint: str, request: str, port: int = 80, **headers: str) -> bool:
        method, path = request.split()
        pairs = [(":method", method), (":path", path), (":authority", "api.example")]
        pairs += [(name.replace("_", "-"), value) for name, value in headers.items()]
        address = self.compiled.resources[endpoint]["endpoint_ips"][0]
        return self.policies.http(
            endpoint=address, direction="ingress", remote=self.remote(source), port=port, headers=pairs
        ).allowed


@pytest.fixture
def asked(compiled: Compile) -> Callable[..., Asker]:
    """The engine with these policies in force."""
    return lambda *policies, **options: Asker(compiled(*policies, **options))


def policy(spec: str, name: str = "p", kind: str = "CiliumNetworkPolicy", namespace: str = "default") -> str:
    """A Cilium policy with that spec."""
    scope = f", namespace: {namespace}" if kind == "CiliumNetworkPolicy" else ""
    head = f"apiVersion: cilium.io/v2\nkind: {kind}\nmetadata: {{name: {name}{scope}}}\nspec:\n"
    return head + textwrap.indent(textwrap.dedent(spec).strip("\n"), "  ") + "\n"


@pytest.fixture
def cnp() -> Callable[..., str]:
    """Makes a policy's text from its spec."""
    return policy
