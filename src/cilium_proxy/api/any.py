"""`google.protobuf.Any`: a serialised message and the name of its type.

Most code passes these on unopened, so a type that this Envoy does not know travels like every other.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError, Message

from cilium_proxy.api.descriptors import UnknownMessageError, messages

PREFIX = "type.googleapis.com/"


class InvalidAnyError(ValueError):
    """The bytes of an `Any` are not the message its type URL promises."""


def type_url(name: str) -> str:
    """The type URL of a message's full name."""
    return PREFIX + name


def serialise(message: Message) -> bytes:
    """Bytes that are equal for equal messages: map entries are sorted."""
    return message.SerializeToString(deterministic=True)


def pack(message: Message) -> Any:
    """Wraps a message in an `Any` of the private pool."""
    return messages("google.protobuf.Any")(type_url=type_url(message.DESCRIPTOR.full_name), value=serialise(message))


def unpack(envelope: Any) -> Any | None:
    """The message inside, or None when neither Envoy's API nor ours has its type.

    Raises InvalidAnyError when the bytes do not parse.
    """
    name = envelope.type_url.rpartition("/")[2]
    try:
        message_class = messages(name)
    except UnknownMessageError:
        return None
    try:
        return message_class.FromString(envelope.value)
    except DecodeError as error:
        raise InvalidAnyError(f"the value of an Any is not a {name}: {error}") from error
