"""Rules of protocols other than HTTP and Kafka: `l7proto`, and `l7` with the protocol's own keys."""

from __future__ import annotations

from cilium_proxy import _core
from cilium_proxy.l7.loading import PREFIX
from cilium_proxy.policy.compile.rule import Message
from cilium_proxy.yaml import Fields, Mapping, Sequence
from cilium_proxy.yaml.fields import suggestion

_ENVOY = "envoy."
"""Prefix of protocols with Envoy's names, whose rules are matchers on metadata."""
_ACTIONS = ("allow", "deny")


def read_protocol_rules(fields: Fields) -> Message:
    """`l7proto` and `l7` of `rules`; empty without a protocol."""
    protocol = fields.string("l7proto")
    value = fields.value("l7")
    if isinstance(value, Sequence) and not value.items:
        fields.problem("l7", "is empty and would restrict nothing", "add a rule or remove it")
    pairs = _pairs(fields)
    if protocol is None:
        if pairs:
            fields.problem("l7", "needs l7proto", "name the protocol")
        return {}
    known = _core.l7_parsers()
    if protocol not in known and not protocol.startswith(PREFIX):
        fix = suggestion(protocol, known) or f"use one of {', '.join(known)}"
        fields.problem("l7proto", f"there is no parser `{protocol}`", fix)
        return {}
    if not pairs:
        return {"l7_proto": protocol}
    rules = _metadata(protocol, pairs) if protocol.startswith(_ENVOY) else _generic(protocol, pairs)
    return {"l7_proto": protocol, "l7_rules": rules}


def _pairs(fields: Fields) -> list[tuple[Fields, dict[str, str]]]:
    """`rules.l7`: a list of mappings of the protocol's keys to values."""
    found = []
    for path, item in fields.items("l7"):
        if not isinstance(item, Mapping):
            fields.problems.add(item.mark, path, "must be a mapping of keys to values")
            continue
        wrapped = Mapping(item.mark, {"": item}, {"": item.mark})
        found.append((Fields(item, path, fields.problems), Fields(wrapped, path, fields.problems).texts("")))
    return found


def _generic(protocol: str, pairs: list[tuple[Fields, dict[str, str]]]) -> Message:
    for fields, pair in pairs:
        problem = None if protocol.startswith(PREFIX) else _core.l7_rule_problem(protocol, pair)
        if problem:
            fields.problems.add(fields.mark, fields.path, problem, "see docs/policies.md for the keys of each protocol")
    return {"l7_allow_rules": [{"rule": pair} for _, pair in pairs]}


def _metadata(protocol: str, pairs: list[tuple[Fields, dict[str, str]]]) -> Message:
    """Matchers on the metadata of a message: a resource, and an operation on it or any."""
    rules: Message = {}
    for fields, pair in pairs:
        action = pair.pop("action", "allow")
        if action not in _ACTIONS:
            fields.problem("action", f"`{action}` is not one of {', '.join(_ACTIONS)}", suggestion(action, _ACTIONS))
        matchers = [
            {
                "filter": protocol,
                "path": [{"key": part} for part in key.split("/")],
                "value": {"list_match": {"one_of": {"string_match": {"exact": value}}}}
                if value
                else {"present_match": True},
            }
            for key, value in sorted(pair.items())
        ]
        rules.setdefault(f"l7_{action}_rules", []).append({"metadata_rule": matchers} if matchers else {})
    return rules
