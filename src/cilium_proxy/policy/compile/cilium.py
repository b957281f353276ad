"""CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy (cilium.io/v2)."""

from __future__ import annotations

from collections.abc import Iterator

from cilium_proxy.config.labels import NAMESPACE
from cilium_proxy.config.model import Direction
from cilium_proxy.policy.compile.l7 import read_constraints
from cilium_proxy.policy.compile.metadata import Head, read_head
from cilium_proxy.policy.compile.peers import read_peers
from cilium_proxy.policy.compile.ports import read_port
from cilium_proxy.policy.compile.rule import ALL_PORTS, Constraints, Entry, Ports, Rule
from cilium_proxy.policy.compile.selector import Requirement, Selector, equals, read_selector
from cilium_proxy.yaml import Fields, Mark, Problems, Value

_AUTHENTICATION = "remove it; mutual authentication needs a Cilium agent"
_ICMP = "remove it; this proxy sees TCP only"
_GROUPS = "list the prefixes in a CIDRSet; cloud groups are resolved by Cilium's operator"
_NODES = "use entities host and remote-node, or CIDRs"
_REQUIRES = "put the labels into every selector; Cilium has removed this field"
UNSUPPORTED_SPEC = {
    "nodeSelector": "use endpointSelector; host policies are enforced by Cilium's datapath",
    "log": "remove it; every verdict is logged with the rule's name",
}
UNSUPPORTED_RULE = {
    "ingress": {
        "fromRequires": _REQUIRES,
        "fromGroups": _GROUPS,
        "fromNodes": _NODES,
        "icmps": _ICMP,
        "authentication": _AUTHENTICATION,
    },
    "egress": {
        "toRequires": _REQUIRES,
        "toGroups": _GROUPS,
        "toNodes": _NODES,
        "toFQDNs": "use toCIDR, or serverNames for TLS; names are not resolved here",
        "toServices": "use toEndpoints or toCIDR; services are not known here",
        "icmps": _ICMP,
        "authentication": _AUTHENTICATION,
    },
}
UNSUPPORTED_PORT = {"listener": "remove it; listeners are configured in proxy.yaml"}


def read_cilium_policy(document: Value, problems: Problems, *, namespaced: bool) -> tuple[Head, list[Rule]]:
    """The rules of one policy: `spec` and each of `specs`."""
    fields = Fields(document, "", problems)
    head = read_head(fields, ("cilium.io/v2",), namespaced=namespaced)
    rules = []
    spec = fields.fields("spec")
    if spec is not None:
        rules.append(_spec(spec, head, head.shown))
    for index, (path, item) in enumerate(fields.items("specs")):
        rules.append(_spec(Fields(item, path, problems), head, f"{head.shown}/specs/{index}"))
    if not rules:
        fields.problem("spec", "is missing", "add spec or specs")
    fields.finish()
    return head, rules


def _spec(fields: Fields, head: Head, name: str) -> Rule:
    selector = _endpoint_selector(fields, head)
    init = selector.mentions("reserved", "init")
    defaults = fields.fields("enableDefaultDeny")
    entries: list[Entry] = []
    deny: set[Direction] = set()
    present: set[Direction] = set()
    directions: tuple[Direction, ...] = ("ingress", "egress")
    for direction in directions:
        count = 0
        for key in (direction, f"{direction}Deny"):
            for index, (path, item) in enumerate(fields.items(key)):
                rule = Fields(item, path, fields.problems)
                entries.extend(
                    _entries(rule, head, direction, f"{name}/{key}/{index}", deny=key != direction, init=init)
                )
                count += 1
        explicit = defaults.boolean(direction) if defaults is not None else None
        if count:
            present.add(direction)
        if explicit or (explicit is None and count):
            deny.add(direction)
    if defaults is not None:
        defaults.finish()
    fields.ignore("labels", "description")
    if not present and not deny:
        message = "has no ingress, ingressDeny, egress or egressDeny and does nothing"
        fields.problems.add(fields.mark, fields.path, message, "add a rule, or `ingress: [{}]` to deny all ingress")
    fields.finish(UNSUPPORTED_SPEC)
    return Rule(
        name=name,
        selector=selector,
        default_deny=frozenset(deny),
        directions=frozenset(present | deny),
        entries=tuple(entries),
        mark=fields.mark,
    )


def _endpoint_selector(fields: Fields, head: Head) -> Selector:
    if fields.has("nodeSelector"):
        fields.problem("nodeSelector", "cannot be enforced by this proxy", UNSUPPORTED_SPEC["nodeSelector"])
        fields.ignore("endpointSelector")
        return Selector()
    value = fields.fields("endpointSelector", required=True)
    if value is None:
        return Selector()
    selector = read_selector(value)
    if not head.namespace:
        return selector
    for requirement in selector.requirements:
        if (
            requirement.source in ("k8s", "any")
            and requirement.key == NAMESPACE
            and _excludes(requirement, head.namespace)
        ):
            message = f"selects another namespace than the policy's own, {head.namespace}"
            fields.problem("endpointSelector", message, "move the policy there or use CiliumClusterwideNetworkPolicy")
    return selector.also(equals("k8s", NAMESPACE, head.namespace))


def _excludes(requirement: Requirement, namespace: str) -> bool:
    return not requirement.matches({f"k8s:{NAMESPACE}": namespace})


def _entries(fields: Fields, head: Head, direction: Direction, name: str, *, deny: bool, init: bool) -> Iterator[Entry]:
    """The entries of one ingress or egress rule: one for each item of toPorts."""
    peers = read_peers(fields, "from" if direction == "ingress" else "to", head.namespace, init=init)
    to_ports = list(fields.items("toPorts"))

    def entry(suffix: str, ports: tuple[Ports, ...], constraints: Constraints, mark: Mark, path: str) -> Entry:
        return Entry(
            name=name + suffix,
            direction=direction,
            deny=deny,
            peers=peers,
            ports=ports,
            constraints=constraints,
            mark=mark,
            path=path,
        )

    found = []
    for index, (path, item) in enumerate(to_ports):
        ports, constraints = _port_rule(Fields(item, path, fields.problems), head, deny=deny)
        found.append(entry(f"/toPorts/{index}" if len(to_ports) > 1 else "", ports, constraints, item.mark, path))
    # Without peers and without ports a rule allows or denies nothing; alone it closes the direction.
    names_peers = peers.selectors or peers.cidrs or (peers.anyone and _has_peers(fields))
    if not to_ports and names_peers:
        found.append(entry("", (ALL_PORTS,), Constraints(), fields.mark, fields.path))
    fields.finish(UNSUPPORTED_RULE[direction])
    yield from found


def _has_peers(fields: Fields) -> bool:
    return any(fields.has(f"{prefix}Entities") for prefix in ("from", "to"))


def _port_rule(fields: Fields, head: Head, *, deny: bool) -> tuple[tuple[Ports, ...], Constraints]:
    ports = [port for path, item in fields.items("ports") if (port := read_port(Fields(item, path, fields.problems)))]
    if not any(True for _ in fields.items("ports")):
        fields.problem("ports", "are missing", 'list them, or use port "0" for every port')
    constraints = Constraints()
    unsupported = UNSUPPORTED_PORT
    if deny:
        unsupported = (
            dict.fromkeys(
                ("rules", "serverNames", "terminatingTLS", "originatingTLS"),
                "deny rules know ports only; remove it or write an allow rule",
            )
            | UNSUPPORTED_PORT
        )
    else:
        constraints = read_constraints(fields, ports, head.namespace or "default")
    fields.finish(unsupported)
    return tuple(ports), constraints
