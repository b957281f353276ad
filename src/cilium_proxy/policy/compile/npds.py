"""NetworkPolicy resources of the proxy's own API (`cilium.NetworkPolicy`), as an agent would send them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cilium_proxy.api import InvalidMessageError, from_dict, to_dict
from cilium_proxy.policy.compile.rule import Message
from cilium_proxy.yaml import Mapping, Mark, Problems, Scalar, Sequence, Value, plain

TYPE = "cilium.NetworkPolicy"
_OWN_FIELDS = ("endpoint_ips", "endpointIps", "endpoint_id", "endpointId")
_LISTS = ("resources", "networkpolicies")


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource in the form of the .proto file, and its place."""

    message: Message
    mark: Mark


def is_npds(document: Value) -> bool:
    """Whether the document is a resource or a list of them."""
    if not isinstance(document, Mapping):
        return False
    if any(name in document.items for name in (*_OWN_FIELDS, *_LISTS)):
        return True
    kind = document.items.get("@type")
    return isinstance(kind, Scalar) and kind.text.endswith(f"/{TYPE}")


def read_npds(document: Value, problems: Problems) -> list[Resource]:
    """The resources of one document: a resource, or `resources` / `networkpolicies` with several."""
    found = []
    for item in _items(document):
        fields = plain(item)
        if not isinstance(fields, dict):
            problems.add(item.mark, "", f"must be a {TYPE}")
            continue
        kind = fields.pop("@type", f"type.googleapis.com/{TYPE}")
        if not str(kind).endswith(f"/{TYPE}"):
            problems.add(
                item.mark, "@type", f"`{kind}` is not type.googleapis.com/{TYPE}", "only network policies belong here"
            )
            continue
        try:
            message = to_dict(from_dict(TYPE, fields))
        except InvalidMessageError as error:
            problems.add(_mark(item, str(error)), "", str(error), "see docs/policies.md")
            continue
        if not message.get("endpoint_ips"):
            problems.add(item.mark, "endpoint_ips", "is missing", "give the endpoint's addresses")
        elif not message.get("endpoint_id"):
            problems.add(item.mark, "endpoint_id", "is missing", "give a number above 0")
        else:
            found.append(Resource(message, item.mark))
    return found


def _items(document: Value) -> Iterator[Value]:
    if isinstance(document, Mapping):
        for name in _LISTS:
            items = document.items.get(name)
            if isinstance(items, Sequence):
                yield from items.items
                return
    yield document


def _mark(item: Value, error: str) -> Mark:
    """The place of the first field that the message names."""
    if isinstance(item, Mapping):
        for key, mark in item.keys.items():
            if f" {key}" in error or f'"{key}"' in error:
                return mark
    return item.mark
