"""Rules that a listener could not enforce: HTTP rules need an HTTP listener, parsers a TCP one, TLS one with `tls`."""

from __future__ import annotations

from collections.abc import Mapping

from cilium_proxy.config.model import Config, Listener
from cilium_proxy.policy.compile.npds import Resource
from cilium_proxy.policy.compile.rule import Entry, Rule
from cilium_proxy.yaml import Problems

_TERMINATING = "downstream_tls_context"
_TLS = {_TERMINATING: "terminatingTLS", "upstream_tls_context": "originatingTLS", "server_names": "serverNames"}


def check_listeners(config: Config, selecting: Mapping[str, list[Rule]], problems: Problems) -> None:
    """Reports each rule that a listener of a selected endpoint would let pass unchecked."""
    for listener in config.listeners:
        for rule in selecting[listener.endpoint]:
            for entry in rule.entries:
                _check(listener, entry, problems)


def check_resources(config: Config, given: Mapping[str, Resource], problems: Problems) -> None:
    """Reports policies that are given as resources and want TLS of a listener that does not look for it."""
    for listener in config.listeners:
        resource = given.get(listener.endpoint)
        if resource is None or listener.tls:
            continue
        for entry in resource.message.get(f"{listener.direction}_per_port_policies", ()):
            first = entry.get("port", 0)
            if first and not first <= listener.port <= max(first, entry.get("end_port", 0)):
                continue
            for field in sorted({field for rule in entry.get("rules", ()) for field in _TLS if field in rule}):
                message = f"{field} cannot be enforced by {_shown(listener)}, which does not look for TLS"
                problems.add(resource.mark, "", message, "set `tls: true` for it or remove it")


def _shown(listener: Listener) -> str:
    return f"listener `{listener.name}` (port {listener.port})"


def _check(listener: Listener, entry: Entry, problems: Problems) -> None:
    covers = any(port.first <= listener.port <= port.last or port.first == 0 for port in entry.ports)
    if entry.direction != listener.direction or not covers:
        return
    fields = entry.constraints.fields
    where = _shown(listener)
    for field, name in _TLS.items():
        if field in fields and not listener.tls:
            message = f"{name} cannot be enforced by {where}, which does not look for TLS"
            problems.add(entry.mark, f"{entry.path}.{name}", message, "set `tls: true` for it or remove it")
    if listener.tls and listener.protocol == "http" and "server_names" in fields and _TERMINATING not in fields:
        message = f"serverNames alone pass TLS on unopened, which {where} cannot, as it has protocol http"
        fix = "add terminatingTLS, or set its protocol to tcp"
        problems.add(entry.mark, f"{entry.path}.serverNames", message, fix)
    if "http_rules" in fields and listener.protocol != "http":
        message = f"HTTP rules are not checked by {where}, which has protocol tcp"
        problems.add(entry.mark, entry.path, message, "set its protocol to http or remove the rules")
    elif "l7_proto" in fields and listener.protocol == "http":
        message = f"{fields['l7_proto']} rules are not checked by {where}, which has protocol http"
        problems.add(entry.mark, entry.path, message, "set its protocol to tcp or remove the rules")
