"""Kafka rules: roles and API names to API keys."""

from __future__ import annotations

import re

from cilium_proxy.policy.compile.rule import Message
from cilium_proxy.yaml import Fields
from cilium_proxy.yaml.fields import suggestion

# Requests in the order of their numbers (https://kafka.apache.org/protocol#protocol_api_keys), named as Cilium does.
_NAMES = [
    "produce",
    "fetch",
    "offsets",
    "metadata",
    "leaderandisr",
    "stopreplica",
    "updatemetadata",
    "controlledshutdown",
    "offsetcommit",
    "offsetfetch",
    "findcoordinator",
    "joingroup",
    "heartbeat",
    "leavegroup",
    "syncgroup",
    "describegroups",
    "listgroups",
    "saslhandshake",
    "apiversions",
    "createtopics",
    "deletetopics",
    "deleterecords",
    "initproducerid",
    "offsetforleaderepoch",
    "addpartitionstotxn",
    "addoffsetstotxn",
    "endtxn",
    "writetxnmarkers",
    "txnoffsetcommit",
    "describeacls",
    "createacls",
    "deleteacls",
    "describeconfigs",
    "alterconfigs",
]
API_KEYS = {name: number for number, name in enumerate(_NAMES)}
ROLES = {
    "produce": ("produce", "metadata", "apiversions"),
    "consume": (
        *("fetch", "offsets", "metadata", "offsetcommit", "offsetfetch", "findcoordinator"),
        *("joingroup", "heartbeat", "leavegroup", "syncgroup", "apiversions"),
    ),
}
_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,255}")


def read_kafka_rule(fields: Fields) -> Message:
    """One entry of `rules.kafka`; empty fields match everything."""
    role = fields.string("role")
    key = fields.string("apiKey")
    version = fields.text("apiVersion")
    client = fields.string("clientID")
    topic = fields.string("topic")
    fields.finish()
    rule: Message = {"api_version": -1}
    if role and key:
        fields.problem("role", "excludes apiKey", "keep one of them")
    elif role:
        if role.lower() not in ROLES:
            fields.problem("role", f"`{role}` is not one of {', '.join(ROLES)}", suggestion(role, ROLES))
        rule["api_keys"] = [API_KEYS[name] for name in ROLES.get(role.lower(), ())]
    elif key:
        if key.lower() not in API_KEYS:
            fields.problem(
                "apiKey", f"`{key}` is not a Kafka request", suggestion(key, API_KEYS) or "see docs/policies.md"
            )
        rule["api_keys"] = [API_KEYS.get(key.lower(), 0)]
    if version:
        if version.isascii() and version.isdigit() and int(version) <= 32767:
            rule["api_version"] = int(version)
        else:
            fields.problem("apiVersion", f"`{version}` is not a version", "use 0 to 32767")
    if client:
        rule["client_id"] = client
    if topic:
        if not _TOPIC.fullmatch(topic):
            fields.problem(
                "topic", f"`{topic}` is not a topic name", "use up to 255 letters, digits, dots, dashes, underscores"
            )
        rule["topic"] = topic
    return rule
