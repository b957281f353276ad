"""Between two states every verdict is the old or the new one."""

import ipaddress
import itertools
import textwrap
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cilium_proxy.config import parse_config
from cilium_proxy.policy import PolicyMap
from cilium_proxy.policy.compile import Allocator, Compiled, Documents, compile_policies, steps
from cilium_proxy.yaml import Problems, parse

ADDRESSES = [f"10.0.0.{number}" for number in range(16)]


@st.composite
def rules(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(["fromCIDR", "fromEntities", "fromEndpoints", "fromCIDRSet"]))
    if kind == "fromEntities":
        return "fromEntities: [world]"
    if kind == "fromEndpoints":
        return f"fromEndpoints: [{{matchLabels: {{app: {draw(st.sampled_from('ab'))}}}}}]"
    prefix = ipaddress.ip_network((int(ipaddress.ip_address("10.0.0.0")) + draw(st.integers(0, 15)), 32))
    wide = prefix.supernet(new_prefix=draw(st.integers(28, 32)))
    return f"fromCIDR: [{wide}]" if kind == "fromCIDR" else f"fromCIDRSet: [{{cidr: {wide}, except: [{prefix}]}}]"


@st.composite
def states(draw: st.DrawFn) -> tuple[str, str]:
    """A configuration and its policies."""
    owners = draw(st.dictionaries(st.sampled_from("ab"), st.sampled_from(ADDRESSES), max_size=2))
    config = "endpoints: [{name: e, ips: [192.0.2.1]}]\nidentities:\n" + "".join(
        f"- {{name: {name}, labels: {{app: {name}}}, cidrs: [{address}]}}\n" for name, address in owners.items()
    )
    if len(set(owners.values())) < len(owners):
        config = config.partition("identities")[0]
    text = ""
    for number, (kind, rule) in enumerate(
        draw(st.lists(st.tuples(st.sampled_from(["", "Deny"]), rules()), max_size=4))
    ):
        text += textwrap.dedent(
            f"""
            ---
            apiVersion: cilium.io/v2
            kind: CiliumNetworkPolicy
            metadata: {{name: p{number}}}
            spec: {{endpointSelector: {{}}, ingress{kind}: [{{{rule}}}]}}
            """
        )
    return config, text


def compiled(state: tuple[str, str], allocator: Allocator) -> Compiled:
    problems = Problems()
    (config,) = parse(state[0], "proxy.yaml", problems)
    documents = tuple(value for value in parse(state[1], "p.yaml", problems))
    assert not problems
    return compile_policies(parse_config(config, Path("proxy.yaml")), Documents(documents, ()), allocator)


def resolve(hosts: dict[str, Any], address: str) -> int:
    """Longest prefix, as the proxy does; else world."""
    found, length = 2, -1
    for resource in hosts.values():
        for text in resource["host_addresses"]:
            prefix = ipaddress.ip_network(text)
            if ipaddress.ip_address(address) in prefix and prefix.prefixlen > length:
                found, length = resource["policy"], prefix.prefixlen
    return found


def verdicts(policies: PolicyMap, hosts: dict[str, Any]) -> list[bool]:
    return [
        policies.network(endpoint="192.0.2.1", direction="ingress", remote=resolve(hosts, address), port=80).allowed
        for address in ADDRESSES
    ]


def owner(state: Compiled, address: str) -> tuple[str, ...]:
    return state.identities[state.identities.resolve(address)].names


@settings(max_examples=200)
@given(states(), states())
def test_every_verdict_on_the_way_is_the_old_or_the_new_one(before: tuple[str, str], after: tuple[str, str]) -> None:
    allocator = Allocator()
    old, new = compiled(before, allocator), compiled(after, allocator)
    policies = PolicyMap()
    policies.update(old.resources, version="old")
    hosts = old.hosts
    seen = [verdicts(policies, hosts)]
    for step in steps(old, new):
        policies.update(step.resources, version="step")
        seen.append(verdicts(policies, hosts))
        hosts = step.hosts
        seen.append(verdicts(policies, hosts))
    assert hosts == new.hosts
    for address, *way in zip(ADDRESSES, *seen, strict=True):
        if owner(old, address) == owner(new, address):
            changes = sum(first != second for first, second in itertools.pairwise(way))
            assert changes == (way[0] != way[-1]), address


def test_one_step_is_enough_when_addresses_keep_their_identities() -> None:
    state = ("endpoints: [{name: e, ips: [192.0.2.1]}]", "")
    allocator = Allocator()
    old, new = compiled(state, allocator), compiled(state, allocator)
    (step,) = steps(old, new)
    assert (step.resources, step.hosts) == (new.resources, new.hosts)


def test_a_policy_given_as_a_resource_stays_as_it_is() -> None:
    resource = '{"endpoint_ips": ["192.0.2.1"], "endpoint_id": 1, "ingress_per_port_policies": [{"port": 80}]}'
    identity = "\nidentities: [{name: a, labels: {app: a}, cidrs: [10.0.0.1]}]"
    allocator = Allocator()
    old = compiled(("endpoints: [{name: e, ips: [192.0.2.1]}]", resource), allocator)
    new = compiled(("endpoints: [{name: e, ips: [192.0.2.1]}]" + identity, resource), allocator)
    assert [step.resources for step in steps(old, new)] == [new.resources] * 3
