"""Rules that a listener could not enforce: HTTP rules need an HTTP listener, parsers a TCP one, TLS an agent."""

from __future__ import annotations

from collections.abc import Mapping

from cilium_proxy.config.model import Config, Listener
from cilium_proxy.policy.compile.rule import Entry, Rule
from cilium_proxy.yaml import Problems


def check_listeners(config: Config, selecting: Mapping[str, list[Rule]], problems: Problems) -> None:
    """Reports each rule that a listener of a selected endpoint would let pass unchecked."""
    for listener in config.listeners:
        for rule in selecting[listener.endpoint]:
            for entry in rule.entries:
                _check(listener, entry, problems)


def _check(listener: Listener, entry: Entry, problems: Problems) -> None:
    covers = any(port.first <= listener.port <= port.last or port.first == 0 for port in entry.ports)
    if entry.direction != listener.direction or not covers:
        return
    fields = entry.constraints.fields
    where = f"listener `{listener.name}` (port {listener.port})"
    for field, name in (("downstream_tls_context", "terminatingTLS"), ("upstream_tls_context", "originatingTLS")):
        if field in fields:
            message = f"{name} is not done by {where}: it takes no TLS apart"
            problems.add(entry.mark, f"{entry.path}.{name}", message, "remove it, or run behind a Cilium agent")
    if "http_rules" in fields and listener.protocol != "http":
        message = f"HTTP rules are not checked by {where}, which has protocol tcp"
        problems.add(entry.mark, entry.path, message, "set its protocol to http or remove the rules")
    elif "l7_proto" in fields and listener.protocol == "http":
        message = f"{fields['l7_proto']} rules are not checked by {where}, which has protocol http"
        problems.add(entry.mark, entry.path, message, "set its protocol to tcp or remove the rules")
