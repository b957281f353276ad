"""Peers of a rule: endpoints, CIDRs and entities."""

from __future__ import annotations

import ipaddress

from cilium_proxy.config.labels import CLUSTER, NAMESPACE, NAMESPACE_LABELS
from cilium_proxy.policy.compile.rule import CidrRule, Peers, contains
from cilium_proxy.policy.compile.selector import Requirement, Selector, equals, read_selector
from cilium_proxy.yaml import Fields, Mark, Problems
from cilium_proxy.yaml.fields import suggestion


def _reserved(name: str) -> Selector:
    return Selector((equals("reserved", name, ""),))


_ENTITIES = {
    name: (_reserved(name),)
    for name in ("host", "init", "ingress", "remote-node", "health", "unmanaged", "none", "kube-apiserver", "world")
}
ENTITIES: dict[str, tuple[Selector, ...]] = {
    **_ENTITIES,
    "all": (Selector(),),
    "cluster": (
        *(selector for name in _ENTITIES if name not in ("none", "world") for selector in _ENTITIES[name]),
        Selector((equals("k8s", CLUSTER, "default"),)),
    ),
}


def read_peers(fields: Fields, prefix: str, namespace: str, *, init: bool) -> Peers:
    """The peers of a Cilium rule; `prefix` is `from` or `to`, `namespace` the policy's (empty: clusterwide).

    No member at all is anyone; an empty list is nobody.
    """
    names = [f"{prefix}{member}" for member in ("Endpoints", "CIDR", "CIDRSet", "Entities")]
    endpoints, cidr, cidr_set, entities = names
    selectors = [
        scoped(read_selector(Fields(item, path, fields.problems)), namespace, init=init)
        for path, item in fields.items(endpoints)
    ]
    cidrs = [rule for text, mark, path in fields.strings(cidr) if (rule := _cidr(text, mark, path, fields.problems))]
    for path, item in fields.items(cidr_set):
        rule = read_cidr_rule(Fields(item, path, fields.problems), prefix_required=True)
        if rule is not None:
            cidrs.append(rule)
    anyone = False
    for text, mark, path in fields.strings(entities):
        if text not in ENTITIES:
            fix = suggestion(text, ENTITIES) or f"use one of {', '.join(sorted(ENTITIES))}"
            if text.startswith("world-ipv"):
                fix = f"use {prefix}CIDR with {'0.0.0.0/0' if text == 'world-ipv4' else '::/0'}"
            fields.problems.add(mark, path, f"unknown entity `{text}`", fix)
            continue
        anyone = anyone or text == "all"
        selectors.extend(ENTITIES[text])
    given = [name for name in names if fields.has(name)]
    used = [name for name in given if any(True for _ in fields.items(name))]
    if len(used) > 1:
        fields.problem(used[1], f"cannot be combined with {used[0]}", "write two rules")
    return Peers(anyone=anyone or not given, selectors=tuple(selectors), cidrs=tuple(cidrs))


def scoped(selector: Selector, namespace: str, *, init: bool = False) -> Selector:
    """A peer selector with the namespace that Cilium adds: the policy's, or for clusterwide policies any namespace.

    Selectors that speak of a namespace, or of reserved labels, stay as they are.
    """
    if selector.mentions_prefix("reserved", ""):
        return selector
    if any(selector.mentions(source, NAMESPACE) for source in ("k8s", "any")):
        return selector
    if not namespace:
        return selector if init else selector.also(Requirement("k8s", NAMESPACE, "Exists"))
    if any(selector.mentions_prefix(source, NAMESPACE_LABELS) for source in ("k8s", "any")):
        return selector
    return selector.also(equals("k8s", NAMESPACE, namespace))


def read_cidr_rule(fields: Fields, *, prefix_required: bool) -> CidrRule | None:
    """`{cidr, except}`."""
    text = fields.string("cidr", required=True)
    excluded = []
    rule = None
    if text is not None:
        rule = _cidr(text, fields.where("cidr"), fields.at("cidr"), fields.problems, prefix_required=prefix_required)
    for item, mark, path in fields.strings("except"):
        inner = _cidr(item, mark, path, fields.problems, prefix_required=prefix_required)
        if inner is None or rule is None:
            continue
        if not contains(rule.prefix, inner.prefix):
            fields.problems.add(mark, path, f"{item} is not inside {text}", "except takes parts of the prefix only")
        excluded.append(inner.prefix)
    fields.finish(
        {
            "cidrGroupRef": "list the prefixes; CiliumCIDRGroup resources are not read",
            "cidrGroupSelector": "list the prefixes; CiliumCIDRGroup resources are not read",
        }
    )
    return None if rule is None else CidrRule(rule.prefix, tuple(excluded))


def _cidr(text: str, mark: Mark, path: str, problems: Problems, *, prefix_required: bool = False) -> CidrRule | None:
    try:
        if prefix_required and "/" not in text:
            raise ValueError
        # Bits after the prefix length are ignored, as Cilium does; netmasks are not prefix lengths.
        if "/" in text and not text.rpartition("/")[2].isdigit():
            raise ValueError
        return CidrRule(ipaddress.ip_network(text, strict=False))
    except ValueError:
        problems.add(mark, path, f"`{text}` is not a prefix", "write it like 10.0.0.0/8 or 2001:db8::/32")
        return None
