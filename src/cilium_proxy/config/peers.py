"""Endpoints, identities and namespaces of proxy.yaml."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from cilium_proxy.config.labels import SOURCES, complete, split
from cilium_proxy.config.model import Endpoint, Identity, IPNetwork
from cilium_proxy.yaml import Fields, Mark, Problems

RESERVED = {
    "host": 1,
    "world": 2,
    "unmanaged": 3,
    "health": 4,
    "init": 5,
    "remote-node": 6,
    "kube-apiserver": 7,
    "ingress": 8,
    "world-ipv4": 9,
    "world-ipv6": 10,
}
"""Numeric identities of reserved labels, as Cilium numbers them."""

FIRST_IDENTITY, LAST_IDENTITY = 256, 65535
"""Numeric identities of labelled workloads."""

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")

Namespaces = Mapping[str, Mapping[str, str]]


def read_namespaces(root: Fields) -> dict[str, dict[str, str]]:
    """Labels of namespaces, for namespace selectors."""
    found: dict[str, dict[str, str]] = {}
    for name, mark, value in root.entries("namespaces"):
        fields = Fields(value, f"namespaces.{name}", root.problems, mark)
        found[name] = fields.texts("labels")
        fields.finish()
    return found


def read_endpoints(root: Fields, namespaces: Namespaces) -> list[Endpoint]:
    """The `endpoints` list."""
    found: list[Endpoint] = []
    names: dict[str, Mark] = {}
    for path, value in root.items("endpoints"):
        fields = Fields(value, path, root.problems)
        name, namespace, labels = _workload(fields, namespaces, names)
        if any(key.startswith("reserved:") for key in labels):
            fields.problem("labels", "reserved labels belong to identities", "move it to `identities`")
        ips = []
        families: set[int] = set()
        for text, mark, where in fields.strings("ips", required=True):
            try:
                address = ipaddress.ip_address(text)
            except ValueError:
                fields.problems.add(mark, where, f"`{text}` is not an IP address", "write one without prefix length")
                continue
            if address.version in families:
                fields.problems.add(mark, where, f"second IPv{address.version} address", "give one address per family")
            families.add(address.version)
            ips.append(str(address))
        if fields.has("ips") and not any(True for _ in fields.items("ips")):
            fields.problem("ips", "has no address", "give the endpoint's IPv4 or IPv6 address")
        identity = fields.integer("identity", FIRST_IDENTITY, LAST_IDENTITY)
        fields.finish()
        found.append(
            Endpoint(name=name, namespace=namespace, labels=labels, ips=tuple(ips), identity=identity, mark=fields.mark)
        )
    return found


def read_identities(root: Fields, namespaces: Namespaces) -> list[Identity]:
    """The `identities` list."""
    found: list[Identity] = []
    names: dict[str, Mark] = {}
    for path, value in root.items("identities"):
        fields = Fields(value, path, root.problems)
        name, namespace, labels = _workload(fields, namespaces, names)
        cidrs: list[IPNetwork] = []
        for text, mark, where in fields.strings("cidrs", required=True):
            try:
                cidrs.append(ipaddress.ip_network(text))
            except ValueError as error:
                fix = (
                    "clear the bits after the prefix"
                    if "host bits" in str(error)
                    else "write it like 10.0.0.0/8 or 10.1.2.3"
                )
                fields.problems.add(mark, where, f"`{text}` is not a prefix", fix)
        identity = fields.integer("identity", FIRST_IDENTITY, LAST_IDENTITY)
        _check_reserved(fields, labels, identity)
        fields.finish()
        found.append(
            Identity(
                name=name, namespace=namespace, labels=labels, cidrs=tuple(cidrs), identity=identity, mark=fields.mark
            )
        )
    return found


def _workload(fields: Fields, namespaces: Namespaces, names: dict[str, Mark]) -> tuple[str, str, dict[str, str]]:
    name = fields.string("name", required=True) or ""
    if name and not _NAME.fullmatch(name):
        fields.problem("name", f"`{name}` is not a name", "use letters, digits, dots and dashes")
    if name in names:
        fields.problem("name", f"`{name}` is also the name on line {names[name].line}", "give each its own name")
    elif name:
        names[name] = fields.where("name")
    namespace = fields.string("namespace") or "default"
    labels = fields.texts("labels")
    for key in labels:
        source, rest = split(key)
        if source not in SOURCES or not rest:
            fields.problem(
                "labels", f"`{key}` has no known label source", f"use one of {', '.join(SOURCES)}, or none for k8s"
            )
    return name, namespace, complete(labels, namespace, namespaces)


def _check_reserved(fields: Fields, labels: Mapping[str, str], identity: int | None) -> None:
    reserved = [key for key in labels if key.startswith("reserved:")]
    if not reserved:
        return
    if reserved[0].removeprefix("reserved:") not in RESERVED:
        fields.problem(
            "labels", f"`{reserved[0]}` is not a reserved label", f"use one of {', '.join(sorted(RESERVED))}"
        )
    elif reserved[0].startswith("reserved:world"):
        fields.problem("labels", "every address that is listed nowhere is world", "remove this identity")
    elif len(labels) > 1:
        fields.problem("labels", "a reserved label stands alone", "remove the other labels")
    elif identity is not None:
        fields.problem("identity", "reserved labels have a fixed number", "remove it")


def check_addresses(endpoints: list[Endpoint], identities: list[Identity], problems: Problems) -> None:
    """Every address may belong to one endpoint or identity only."""
    owned = [
        (ipaddress.ip_network(ip), endpoint.name, endpoint.mark, f"endpoints[{index}].ips")
        for index, endpoint in enumerate(endpoints)
        for ip in endpoint.ips
    ]
    owned += [
        (cidr, identity.name, identity.mark, f"identities[{index}].cidrs")
        for index, identity in enumerate(identities)
        for cidr in identity.cidrs
    ]
    # Sorted, a prefix comes right before those it contains; `last` is the widest that may still contain the next.
    last: tuple[IPNetwork, str, Mark, str] | None = None
    for entry in sorted(owned, key=lambda e: (e[0].version, int(e[0].network_address), e[0].prefixlen)):
        if last is not None and entry[0].version == last[0].version and entry[0].network_address in last[0]:
            message = (
                f"{_shown(entry[0])} of `{entry[1]}` overlaps {_shown(last[0])} of `{last[1]}` (line {last[2].line})"
            )
            problems.add(entry[2], entry[3], message, "give every address to one endpoint or identity")
        else:
            last = entry


def _shown(network: IPNetwork) -> str:
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)
