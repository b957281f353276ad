"""Policies in all the forms callers have them, as the engine takes them: a name and a serialised message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from google.protobuf.message import Message

from cilium_proxy import api
from cilium_proxy.policy.errors import PolicyRejected

NETWORK_POLICY = "cilium.NetworkPolicy"

Resource = Mapping[str, Any] | Message | bytes
"""A policy: its protobuf JSON form (snake_case or camelCase names), a message, or the serialised message.

A mapping with `resource` and `name`, or an `envoy.service.discovery.v3.Resource`, names the policy itself; every other
form is named after its `endpoint_id`, as agents do.
"""
Resources = Iterable[Resource] | Mapping[str, Resource]
"""Policies, or policies by name."""


def serialise_all(resources: Resources) -> Iterator[tuple[str | None, bytes]]:
    """Name and bytes of each resource; no name where the endpoint_id is to give it. Raises PolicyRejected."""
    if isinstance(resources, Mapping):
        for name, resource in resources.items():
            yield name, serialise(resource, name)[1]
        return
    if isinstance(resources, bytes | Message):
        raise PolicyRejected(
            "the update must be a list of resources or a mapping of names to resources, not one resource"
        )
    for position, resource in enumerate(resources):
        yield serialise(resource, f"#{position}")


def serialise(resource: Resource, label: str) -> tuple[str | None, bytes]:
    """Name, if the resource says, and bytes; `label` stands for the resource in messages. Raises PolicyRejected."""
    if isinstance(resource, bytes):
        return None, resource
    if isinstance(resource, Message):
        return _message(resource, label)
    if not isinstance(resource, Mapping):
        raise PolicyRejected(f"resource {label} is a {type(resource).__name__}, not a policy", label)
    if "resource" in resource:
        name = resource.get("name", "")
        unknown = ", ".join(sorted(set(resource) - {"name", "version", "resource"}))
        if not isinstance(name, str) or unknown:
            raise PolicyRejected(f"resource {label}: {unknown or 'name'} is not a field of a named resource", label)
        return name, serialise(resource["resource"], name or label)[1]
    fields = {key: value for key, value in resource.items() if key != "@type"}
    given = resource.get("@type", api.type_url(NETWORK_POLICY))
    if given != api.type_url(NETWORK_POLICY):
        raise PolicyRejected(f"resource {label} is a {given}, not a {NETWORK_POLICY}", label)
    try:
        return None, api.serialise(api.from_dict(NETWORK_POLICY, fields))
    except api.InvalidMessageError as error:
        raise PolicyRejected(f"resource {label}: {error}", label) from error


def _message(message: Any, label: str) -> tuple[str | None, bytes]:
    match message.DESCRIPTOR.full_name:
        case "cilium.NetworkPolicy":
            return None, message.SerializeToString()
        case "google.protobuf.Any" if message.type_url == api.type_url(NETWORK_POLICY):
            return None, message.value
        case "google.protobuf.Any":
            raise PolicyRejected(
                f"resource {label} is a {message.type_url or 'nothing'}, not a {NETWORK_POLICY}", label
            )
        case "envoy.service.discovery.v3.Resource":
            return message.name, _message(message.resource, message.name or label)[1]
    raise PolicyRejected(f"resource {label} is a {message.DESCRIPTOR.full_name}, not a {NETWORK_POLICY}", label)
