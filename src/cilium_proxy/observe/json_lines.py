"""One entry per line, in protobuf's JSON form."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf import json_format

from cilium_proxy import _core
from cilium_proxy.api import messages, pool

NAME = "cilium.LogEntry"


class InvalidLineError(ValueError):
    """A line is no log entry."""


def print_line(entry: Any) -> str:
    """The entry as JSON without a line end.

    Keys are the JSON names of the fields, sorted and always the same: fields without a value are there too, with their
    default. 64-bit numbers (`timestamp`) are strings, as protobuf's JSON form has it.
    """
    return _core.log_entry_json(entry.SerializeToString())


def parse_line(line: str | bytes) -> Any:
    """The entry of a line that `print_line` made; the field names of the .proto file will do too.

    Fields of later versions are skipped. Raises InvalidLineError.
    """
    entry = messages(NAME)()
    try:
        fields = json.loads(line)
        if not isinstance(fields, dict):
            raise InvalidLineError("not a JSON object")
        json_format.ParseDict(fields, entry, ignore_unknown_fields=True, descriptor_pool=pool())
    except (json.JSONDecodeError, json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidLineError(str(error).partition("\n")[0]) from error
    return entry
