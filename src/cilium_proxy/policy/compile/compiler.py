"""Documents -> rules -> one NetworkPolicy per endpoint."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from cilium_proxy.config.model import CA, CERTIFICATE, KEY, Config, Endpoint, IPNetwork
from cilium_proxy.policy.compile.cilium import read_cilium_policy
from cilium_proxy.policy.compile.documents import CompileError, Documents
from cilium_proxy.policy.compile.emit import emit
from cilium_proxy.policy.compile.identities import Allocator, Identities, allocate
from cilium_proxy.policy.compile.index import LabelIndex
from cilium_proxy.policy.compile.kubernetes import read_kubernetes_policy
from cilium_proxy.policy.compile.listeners import check_listeners, check_resources
from cilium_proxy.policy.compile.metadata import Head
from cilium_proxy.policy.compile.npds import Resource, is_npds, read_npds
from cilium_proxy.policy.compile.nulls import report_nulls
from cilium_proxy.policy.compile.parsers import check_parsers
from cilium_proxy.policy.compile.rule import Message, Probe, Rule, Secret
from cilium_proxy.policy.compile.secrets import Secrets, is_secret, read_secrets
from cilium_proxy.yaml import Mapping, Mark, Problem, Problems, Scalar, Value
from cilium_proxy.yaml.fields import suggestion

KINDS = ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", "NetworkPolicy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """The state of the proxy's policies.

    `resources`: NetworkPolicy by resource name (the endpoint's name), in JSON form with the .proto file's field names.
    `hosts`: NetworkPolicyHosts likewise, by identity. `probes`: what the engine may refuse, with places, see `verify`.
    `rules`: those that select each endpoint, but for endpoints whose policy is given as a resource. `places`: where
    each rule stands, by name. `secrets`: what policies refer to; `delivered`: what there is.
    """

    resources: dict[str, Message]
    hosts: dict[str, Message]
    identities: Identities
    secrets: tuple[Secret, ...]
    delivered: Secrets
    probes: tuple[Probe, ...]
    rules: dict[str, tuple[Rule, ...]]
    places: dict[str, Mark]

    def warnings(self) -> list[Problem]:
        """What policies need and nobody gives, so that the rules concerned allow less than they say, and what is given
        and will not do."""
        found = [_missing(secret, self.delivered) for secret in self.secrets if not self.delivered.has(secret)]
        return sorted({*found, *self.delivered.warnings})


def compile_policies(config: Config, documents: Documents, allocator: Allocator | None = None) -> Compiled:
    """Compiles policies for the endpoints of the configuration. Raises CompileError with every problem found.

    Keep one `allocator` for the life of the process, so that identities keep their numbers.
    """
    allocator = allocator or Allocator()
    problems = Problems()
    delivered = read_secrets(config.secrets, filter(is_secret, documents.values), problems)
    rules, resources = _read([value for value in documents.values if not is_secret(value)], problems)
    prefixes: set[IPNetwork] = set()
    for rule in rules:
        for entry in rule.entries:
            for cidr in entry.peers.cidrs:
                prefixes.update((cidr.prefix, *cidr.excluded))
    identities = allocate(config, prefixes, allocator, problems)
    given = _given(config, resources, problems)
    selecting = _selecting(config, rules)
    check_listeners(config, selecting, problems)
    check_resources(config, given, problems)
    check_parsers(selecting, problems)
    ids = allocator.endpoint(endpoint.name for endpoint in config.endpoints)
    compiled: dict[str, Message] = {}
    compiled_rules: dict[str, tuple[Rule, ...]] = {}
    for endpoint in config.endpoints:
        own = selecting[endpoint.name]
        resource = given.pop(endpoint.name, None)
        if resource is None:
            compiled_rules[endpoint.name] = tuple(own)
            compiled[endpoint.name] = {
                "endpoint_ips": list(endpoint.ips),
                "endpoint_id": ids[endpoint.name],
                **emit(own, identities),
            }
            continue
        compiled[endpoint.name] = resource.message
        for rule in own:
            message = (
                f"`{rule.name}` selects endpoint `{endpoint.name}`, whose policy {resource.mark} gives as a resource"
            )
            problems.add(rule.mark, "", message, "keep one of them")
    compiled |= {name: resource.message for name, resource in given.items()}
    entries = [entry for rule in rules for entry in rule.entries]
    probes = tuple(probe for entry in entries for probe in entry.constraints.probes)
    if problems:
        raise CompileError(problems.found, probes)
    return Compiled(
        resources=compiled,
        hosts=identities.hosts(),
        identities=identities,
        secrets=tuple(secret for entry in entries for secret in entry.constraints.secrets),
        delivered=delivered,
        probes=probes,
        rules=compiled_rules,
        places={entry.name: entry.mark for entry in entries},
    )


def _missing(secret: Secret, delivered: Secrets) -> Problem:
    what, fix = (
        f"secret `{secret.name}` is missing",
        "add it to `secrets` of proxy.yaml, or as a Secret to the policies",
    )
    if secret.use == "header":
        so = "so nothing can match it"
        if secret.name in delivered.tls:
            what = f"secret `{secret.name}` is for TLS and has no value for a header"
            fix = "use a secret with one item that is neither key nor certificate"
    else:
        so = "so connections that need it are closed"
        items = CA if secret.use == "ca" else f"{CERTIFICATE} and {KEY}"
        if secret.name in delivered.tls or secret.name in delivered.values:
            what, fix = f"secret `{secret.name}` has no {items}", f"add {items} to it"
    return Problem(secret.mark, secret.path, f"{what}, {so}", fix)


def _selecting(config: Config, rules: list[Rule]) -> dict[str, list[Rule]]:
    """The rules that select each endpoint, in order."""
    found: dict[str, list[Rule]] = {endpoint.name: [] for endpoint in config.endpoints}
    index = LabelIndex((endpoint.labels, endpoint.name) for endpoint in config.endpoints)
    for rule in rules:
        for name in index.select(rule.selector):
            found[name].append(rule)
    return found


def _read(values: list[Value], problems: Problems) -> tuple[list[Rule], list[Resource]]:
    rules: list[tuple[str, Rule]] = []
    resources: list[Resource] = []
    seen: dict[tuple[str, Head], Mark] = {}
    for value in values:
        if is_npds(value):
            resources.extend(read_npds(value, problems))
            continue
        kind = _kind(value, problems)
        if kind is None:
            continue
        report_nulls(value, problems)
        if kind == "NetworkPolicy":
            head, found = read_kubernetes_policy(value, problems)
        else:
            head, found = read_cilium_policy(value, problems, namespaced=kind == "CiliumNetworkPolicy")
        if (kind, head) in seen and head.name:
            message = f"{kind} `{head.shown}` is also defined at {seen[kind, head]}"
            problems.add(value.mark, "metadata.name", message, "remove or rename one")
        seen.setdefault((kind, head), value.mark)
        rules.extend((kind, rule) for rule in found)
    # The order of files says nothing, so that moving a policy to another file changes nothing.
    order = {kind: index for index, kind in enumerate(KINDS)}
    rules.sort(key=lambda item: (order[item[0]], item[1].name))
    return [rule for _, rule in rules], resources


def _kind(value: Value, problems: Problems) -> str | None:
    if not isinstance(value, Mapping):
        problems.add(
            value.mark, "", "is not a policy", f"write a {', '.join(KINDS)} or a cilium.NetworkPolicy resource"
        )
        return None
    kind = value.items.get("kind")
    name = kind.value if isinstance(kind, Scalar) else None
    if isinstance(name, str) and name in KINDS:
        return name
    shown = f"`{name}` is not a policy" if name else "is missing"
    fix = suggestion(str(name), KINDS) if name else ""
    problems.add(
        kind.mark if kind else value.mark, "kind", shown, fix or f"use one of {', '.join(KINDS)}, or keep it elsewhere"
    )
    return None


def _given(config: Config, resources: list[Resource], problems: Problems) -> dict[str, Resource]:
    """Resources by name: that of the configured endpoint with one of its addresses, else `npds/<endpoint id>`."""
    owners: dict[str, Endpoint] = {ip: endpoint for endpoint in config.endpoints for ip in endpoint.ips}
    found: dict[str, Resource] = {}
    taken: dict[str, Mark] = {}
    for resource in resources:
        names = set()
        for ip in resource.message["endpoint_ips"]:
            try:
                shown = str(ipaddress.ip_address(ip))
            except ValueError:
                problems.add(resource.mark, "endpoint_ips", f"`{ip}` is not an IP address")
                continue
            if shown in taken:
                problems.add(resource.mark, "endpoint_ips", f"{ip} has a policy already, at {taken[shown]}", "keep one")
            taken[shown] = resource.mark
            if shown in owners:
                names.add(owners[shown].name)
        if len(names) > 1:
            message = f"has addresses of several endpoints: {', '.join(sorted(names))}"
            problems.add(resource.mark, "endpoint_ips", message, "write one resource for each endpoint")
        name = min(names) if names else f"npds/{resource.message['endpoint_id']}"
        if name in found:
            problems.add(resource.mark, "endpoint_id", f"{name} is also at {found[name].mark}", "give each its own")
        found[name] = resource
    return found
