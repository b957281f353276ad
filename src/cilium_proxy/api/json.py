"""Messages from and to dictionaries in protobuf's JSON form, with the field names of the .proto files."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from cilium_proxy.api.any import InvalidAnyError, pack, unpack
from cilium_proxy.api.descriptors import messages, pool


class InvalidMessageError(ValueError):
    """A dictionary is not the message it should be; the text names the field."""


def from_dict(name: str, fields: Mapping[str, Any]) -> Any:
    """Builds the message `name` from its JSON form. Raises InvalidMessageError; UnknownMessageError for its name."""
    message = messages(name)()
    try:
        json_format.ParseDict(fields, message, descriptor_pool=pool())  # type: ignore[arg-type]
    except (json_format.ParseError, TypeError) as error:
        raise InvalidMessageError(f"{name}: {_one_line(str(error))}") from error
    return message


def to_dict(message: Message) -> dict[str, Any]:
    """The JSON form with the field names of the .proto file.

    An `Any` of unknown type becomes `{"unknown_type": type URL, "base64": bytes}` below `value` of a Struct.
    """
    try:
        return _print(message)
    except TypeError:
        # json_format cannot print an Any of unknown type.
        copy = type(message)()
        copy.CopyFrom(message)
        _show_unknown(copy)
        return _print(copy)


def _one_line(text: str) -> str:
    """json_format's message with the path of the field instead of a sentence per level."""
    text = text.partition("\n")[0].rstrip(".")
    levels = re.findall(r"Failed to parse (\S+) field: ", text)
    cause = text[text.rfind("field: ") + len("field: ") :] if levels else text
    return ": ".join([*([".".join(levels)] if levels else []), cause])


def _print(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=pool())


def _show_unknown(message: Any) -> None:
    if message.DESCRIPTOR.full_name == "google.protobuf.Any":
        if not message.type_url:
            return
        try:
            inner = unpack(message)
        except InvalidAnyError:
            inner = None
        if inner is None:
            inner = messages("google.protobuf.Struct")()
            inner.update({"unknown_type": message.type_url, "base64": base64.b64encode(message.value).decode()})
        else:
            _show_unknown(inner)
        message.CopyFrom(pack(inner))
        return
    for child in _children(message):
        _show_unknown(child)


def _children(message: Any) -> Iterator[Any]:
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                yield from value.values()
        elif field.is_repeated:
            yield from value
        else:
            yield value
