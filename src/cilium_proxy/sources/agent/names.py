"""Names of resources in state-of-the-world responses, which carry none beside the resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import DecodeError

from cilium_proxy.api import messages, type_url

_WRAPPER = type_url("envoy.service.discovery.v3.Resource")
# The field that names a resource, where it is not a string in field 1.
_NUMBERED = {type_url("cilium.NetworkPolicy"): "endpoint_id", type_url("cilium.NetworkPolicyHosts"): "policy"}


class UnnamedError(ValueError):
    """A resource does not tell its name. The text says which."""


def name_and_value(envelope: Any, url: str, known: Mapping[bytes, str]) -> tuple[str, bytes]:
    """The name and the bytes of a resource of a type. Raises UnnamedError.

    `known` are names by bytes from before: what has not changed is not opened.
    """
    kind = envelope.type_url
    if kind == _WRAPPER:
        try:
            wrapper = messages("envoy.service.discovery.v3.Resource").FromString(envelope.value)
        except DecodeError as error:
            raise UnnamedError(f"a resource that does not parse: {error}") from error
        if wrapper.name:
            return wrapper.name, wrapper.resource.value
        envelope = wrapper.resource
        kind = envelope.type_url
    if kind != url:
        raise UnnamedError(f"a resource of type {kind or 'none'} in a response of type {url}")
    value: bytes = envelope.value
    return known.get(value) or _name(value, url), value


def _name(value: bytes, url: str) -> str:
    number = _NUMBERED.get(url)
    if number is not None:
        try:
            # C code reads the message; a scan in Python would be slower, policies name themselves late.
            message = messages(url.rpartition("/")[2]).FromString(value)
        except DecodeError as error:
            raise UnnamedError(f"a {url.rpartition('.')[2]} that does not parse: {error}") from error
        return str(getattr(message, number))
    try:
        name = _first_string(value)
    except (IndexError, UnicodeDecodeError) as error:
        raise UnnamedError(f"a {url.rpartition('.')[2]} that does not parse: {error}") from error
    if not name:
        raise UnnamedError(f"a {url.rpartition('.')[2]} without name")
    return name


def _first_string(value: bytes) -> str:
    """Field 1 of a message. Serialisers write fields in order, so it is at the beginning."""
    if not value or value[0] != 0x0A:
        return ""
    length = shift = 0
    position = 1
    while True:
        byte = value[position]
        position += 1
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    if position + length > len(value):
        raise IndexError("it is cut off")
    return value[position : position + length].decode()
