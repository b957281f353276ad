"""NetworkPolicy of Kubernetes (networking.k8s.io/v1)."""

from __future__ import annotations

from cilium_proxy.config.labels import NAMESPACE, NAMESPACE_LABELS
from cilium_proxy.config.model import Direction
from cilium_proxy.policy.compile.metadata import Head, read_head
from cilium_proxy.policy.compile.peers import read_cidr_rule
from cilium_proxy.policy.compile.ports import read_kubernetes_port
from cilium_proxy.policy.compile.rule import ALL_PORTS, CidrRule, Constraints, Entry, Peers, Rule
from cilium_proxy.policy.compile.selector import Requirement, Selector, equals, read_selector
from cilium_proxy.yaml import Fields, Problems, Value

_TYPES: dict[Direction, str] = {"ingress": "Ingress", "egress": "Egress"}
_PEERS: dict[Direction, str] = {"ingress": "from", "egress": "to"}


def read_kubernetes_policy(document: Value, problems: Problems) -> tuple[Head, list[Rule]]:
    """The rule of one policy."""
    fields = Fields(document, "", problems)
    head = read_head(fields, ("networking.k8s.io/v1",), namespaced=True)
    spec = fields.fields("spec", required=True)
    fields.finish()
    if spec is None:
        return head, []
    pods = spec.fields("podSelector", required=True)
    selector = read_selector(pods, source="k8s") if pods is not None else Selector()
    selected = _types(spec)
    entries: list[Entry] = []
    for direction in _TYPES:
        for index, (path, item) in enumerate(spec.items(direction)):
            if direction not in selected:
                fix = f"add {_TYPES[direction]} to policyTypes or remove the rules"
                spec.problem(direction, f"has rules but policyTypes does not list {_TYPES[direction]}", fix)
                break
            name = f"{head.shown}/{direction}/{index}"
            entries.append(_entry(Fields(item, path, problems), head, direction, name))
    spec.finish()
    rule = Rule(
        name=head.shown,
        selector=selector.also(equals("k8s", NAMESPACE, head.namespace)),
        default_deny=selected,
        directions=selected,
        entries=tuple(entries),
        mark=spec.mark,
    )
    return head, [rule]


def _types(spec: Fields) -> frozenset[Direction]:
    """Directions the policy closes. Without policyTypes: ingress, and egress if it has egress rules."""
    by_name = {name: direction for direction, name in _TYPES.items()}
    found: set[Direction] = set()
    listed = spec.strings("policyTypes")
    for name, mark, path in listed:
        if name in by_name:
            found.add(by_name[name])
        else:
            spec.problems.add(mark, path, f"`{name}` is not one of Ingress, Egress")
    if not listed:
        found = {"ingress", "egress"} if any(True for _ in spec.items("egress")) else {"ingress"}
    return frozenset(found)


def _entry(fields: Fields, head: Head, direction: Direction, name: str) -> Entry:
    key = _PEERS[direction]
    selectors: list[Selector] = []
    cidrs: list[CidrRule] = []
    anyone = True
    for path, item in fields.items(key):
        anyone = False
        _peer(Fields(item, path, fields.problems), head, selectors, cidrs)
    listed = list(fields.items("ports"))
    ports = [port for path, item in listed if (port := read_kubernetes_port(Fields(item, path, fields.problems)))]
    fields.finish()
    return Entry(
        name=name,
        direction=direction,
        deny=False,
        peers=Peers(anyone=anyone, selectors=tuple(selectors), cidrs=tuple(cidrs)),
        ports=tuple(ports) if listed else (ALL_PORTS,),
        constraints=Constraints(),
        mark=fields.mark,
        path=fields.path,
    )


def _peer(fields: Fields, head: Head, selectors: list[Selector], cidrs: list[CidrRule]) -> None:
    block = fields.fields("ipBlock")
    pods, namespaces = fields.fields("podSelector"), fields.fields("namespaceSelector")
    if block is not None:
        if pods is not None or namespaces is not None:
            fields.problem("ipBlock", "cannot be combined with selectors", "write two peers")
        cidr = read_cidr_rule(block, prefix_required=True)
        if cidr is not None:
            cidrs.append(cidr)
    elif pods is None and namespaces is None:
        fields.problems.add(fields.mark, fields.path, "names no peer", "give podSelector, namespaceSelector or ipBlock")
    if pods is not None or namespaces is not None:
        selector = read_selector(pods, source="k8s") if pods is not None else Selector()
        if namespaces is None:
            selector = selector.also(equals("k8s", NAMESPACE, head.namespace))
        else:
            of_namespace = read_selector(namespaces, source="k8s", prefix=NAMESPACE_LABELS)
            selector = selector.also(*(of_namespace.requirements or (Requirement("k8s", NAMESPACE, "Exists"),)))
        selectors.append(selector)
    fields.finish()
