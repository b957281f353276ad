"""What a rule demands of a connection beyond peer and port: `rules`, `serverNames`, TLS."""

from __future__ import annotations

from typing import Literal

from cilium_proxy.config.model import CA, CERTIFICATE, KEY
from cilium_proxy.policy.compile.http import read_http_rule, read_secret
from cilium_proxy.policy.compile.kafka import read_kafka_rule
from cilium_proxy.policy.compile.protocol import read_protocol_rules
from cilium_proxy.policy.compile.rule import Constraints, Message, Ports, Probe, Secret, ca_name
from cilium_proxy.yaml import Fields, Sequence

UNSUPPORTED_L7 = {"dns": "allow DNS by port, without rules; DNS rules need Cilium's DNS proxy"}

_SECRET_ITEMS = {"trustedCA": CA, "certificate": CERTIFICATE, "privateKey": KEY}


def read_constraints(fields: Fields, ports: list[Ports], namespace: str) -> Constraints:
    """The constraints in one entry of `toPorts`."""
    found: Message = {}
    probes: list[Probe] = []
    secrets: list[Secret] = []
    names = _server_names(fields, found, probes)
    terminating = _tls(fields, "terminatingTLS", namespace, secrets)
    originating = _tls(fields, "originatingTLS", namespace, secrets)
    if terminating:
        found["downstream_tls_context"] = terminating
    if originating:
        found["upstream_tls_context"] = originating
    rules = fields.fields("rules")
    kinds = _rules(rules, namespace, found, probes, secrets) if rules is not None else []
    if kinds:
        if names and not terminating:
            fields.problem(
                "serverNames", "need terminatingTLS next to L7 rules", "add terminatingTLS or remove one of the two"
            )
        if any(port.first == 0 for port in ports):
            fields.problem("rules", "L7 rules cannot be used with port 0", "name the ports")
        if any(port.transport != "TCP" for port in ports):
            fields.problem("rules", "L7 rules apply to TCP only", "write `protocol: TCP` at every port of this entry")
    return Constraints(found, tuple(probes), tuple(secrets))


def _server_names(fields: Fields, found: Message, probes: list[Probe]) -> bool:
    names = fields.strings("serverNames")
    for name, mark, path in names:
        if not name:
            fields.problems.add(mark, path, "is empty", "give a name such as example.com or *.example.com")
        probes.append(
            Probe(mark, path, {"server_names": [name]}, "write it like example.com, *.example.com or **.example.com")
        )
    if fields.has("serverNames") and not any(True for _ in fields.items("serverNames")):
        fields.problem("serverNames", "is empty and would restrict nothing", "add a name or remove it")
    if names:
        found["server_names"] = sorted({name for name, _, _ in names})
    return bool(names)


def _tls(fields: Fields, name: str, namespace: str, secrets: list[Secret]) -> Message | None:
    """The TLS context. Beyond what it needs it has what it names: the clients' CA, or a certificate for servers."""
    context = fields.fields(name)
    if context is None:
        return None
    secret = read_secret(context, "secret", namespace, required=True)
    named = [item for item, expected in _SECRET_ITEMS.items() if _item(context, item, expected)]
    context.finish()
    if not secret:
        return None
    made: Message = {}
    uses: list[Literal["certificate", "ca"]] = []
    if name == "terminatingTLS" or "certificate" in named or "privateKey" in named:
        made["tls_sds_secret"] = secret
        uses.append("certificate")
    if name == "originatingTLS" or "trustedCA" in named:
        made["validation_context_sds_secret"] = ca_name(secret)
        uses.append("ca")
    secrets += [Secret(secret, use, context.where("secret"), context.at("secret")) for use in uses]
    return made


def _item(context: Fields, item: str, expected: str) -> bool:
    given = context.string(item)
    if given and given != expected:
        context.problem(
            item, f"`{given}` is not read; secrets have {expected}", f"rename the item in the secret to {expected}"
        )
    return bool(given)


def _rules(fields: Fields, namespace: str, found: Message, probes: list[Probe], secrets: list[Secret]) -> list[str]:
    """Reads `rules`; the kinds it has."""
    http = [read_http_rule(Fields(item, path, fields.problems), namespace) for path, item in fields.items("http")]
    kafka = [read_kafka_rule(Fields(item, path, fields.problems)) for path, item in fields.items("kafka")]
    protocol = read_protocol_rules(fields)
    kinds = [kind for kind in ("http", "kafka", "l7proto") if fields.has(kind)]
    for kind in ("http", "kafka"):
        value = fields.value(kind)
        if isinstance(value, Sequence) and not value.items:
            fields.problem(kind, "is empty and would restrict nothing", "add a rule or remove it")
    if len(kinds) > 1:
        fields.problem(kinds[1], f"cannot be combined with {kinds[0]}", "use one kind of rule per entry of toPorts")
    fields.finish(UNSUPPORTED_L7)
    if http:
        found["http_rules"] = {"http_rules": [rule.message for rule in http]}
        probes.extend(probe for rule in http for probe in rule.probes)
        secrets.extend(secret for rule in http for secret in rule.secrets)
    elif kafka:
        found["l7_proto"] = "kafka"
        found["kafka_rules"] = {"kafka_rules": kafka}
    elif protocol:
        found.update(protocol)
        probes.append(Probe(fields.mark, fields.path, protocol))
    return kinds
