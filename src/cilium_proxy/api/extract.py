"""Takes the protobuf descriptors out of an Envoy binary.

Runs when the package is built. Generated C++ code keeps each serialised `FileDescriptorProto` as a constant, so the
binary's read-only data holds every file of Envoy's API, exactly as that Envoy understands it.
"""

from __future__ import annotations

import json
import mmap
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError

# Field 1 (the file's name) of a FileDescriptorProto, then the tag of one of its other fields.
_START = re.compile(
    rb"\x0a(?P<length>[\x06-\xff])(?P<name>[A-Za-z0-9_./-]{1,200}?\.proto)(?=[\x12\x1a\x22\x2a\x32\x3a\x42\x4a\x50\x58\x62\x72])"
)
_VARINT, _BYTES = 0, 2
# Wire types of FileDescriptorProto's fields (descriptor.proto): all are messages or strings but these.
_WIRE_TYPES = {field: {_BYTES} for field in (*range(2, 10), 12, 15)}
_WIRE_TYPES |= {10: {_VARINT, _BYTES}, 11: {_VARINT, _BYTES}, 14: {_VARINT}}


class ExtractError(Exception):
    """The binary holds no complete set of descriptors."""


def extract(binary: Path) -> dict[str, bytes]:
    """Returns the serialised files by name; every import of a returned file is returned as well.

    Raises ExtractError when an import is missing or the binary has no descriptors.
    """
    files: dict[str, bytes] = {}
    with binary.open("rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for name, serialised in _candidates(data):
            # Some files are embedded twice, once by gRPC, which may carry an older and shorter edition.
            if len(serialised) > len(files.get(name, b"")):
                files[name] = serialised
    complete = _closed(files)
    if "envoy/config/bootstrap/v3/bootstrap.proto" not in complete:
        raise ExtractError(f"{binary} does not hold the descriptors of Envoy's API")
    return complete


def write(binary: Path, target: Path) -> None:
    """Writes the descriptor set of `binary` to `target`, in the form `cilium_proxy.api.descriptors` reads.

    That form: the length of an index as 4 bytes big-endian, the index as JSON
    (`files`: name to [offset, length], `symbols`: top-level name to file name), then the serialised files.
    """
    offset = 0
    files: dict[str, list[int]] = {}
    symbols: dict[str, str] = {}
    extracted = extract(binary)
    for name, serialised in sorted(extracted.items()):
        files[name] = [offset, len(serialised)]
        offset += len(serialised)
        for symbol in top_level_symbols(_parse(serialised)):
            symbols[symbol] = name
    index = json.dumps({"files": files, "symbols": symbols}, separators=(",", ":")).encode()
    fresh = target.with_suffix(".new")
    fresh.write_bytes(
        b"".join([struct.pack(">I", len(index)), index, *(extracted[name] for name in sorted(extracted))])
    )
    fresh.rename(target)


def top_level_symbols(file: descriptor_pb2.FileDescriptorProto) -> Iterator[str]:
    """The full names of what the file declares outside of messages."""
    prefix = f"{file.package}." if file.package else ""
    for kind in (file.message_type, file.enum_type, file.service, file.extension):
        for declared in kind:
            yield prefix + declared.name


def _parse(serialised: bytes) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto()
    file.ParseFromString(serialised)
    return file


def _candidates(data: mmap.mmap) -> Iterator[tuple[str, bytes]]:
    for match in _START.finditer(data):
        if match["length"][0] != len(match["name"]):
            continue
        serialised = data[match.start() : _end(data, match.end())]
        try:
            file = _parse(serialised)
        except DecodeError:
            continue
        if file.package or file.message_type or file.enum_type or file.service:
            yield file.name, serialised


def _end(data: mmap.mmap, position: int) -> int:
    """Where the fields that follow the file's name stop being those of a FileDescriptorProto."""
    last_field = 1
    while True:
        tag, after = _varint(data, position)
        field, wire = tag >> 3, tag & 7
        # Serialisers write fields in order; bytes behind the constant rarely look like the next one.
        if field < last_field or wire not in _WIRE_TYPES.get(field, ()):
            return position
        value, after = _varint(data, after)
        if wire == _BYTES:
            after += value
        if after > len(data):
            return position
        position, last_field = after, field


def _varint(data: mmap.mmap, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 64:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    return 0, position


def _closed(files: dict[str, bytes]) -> dict[str, bytes]:
    """Without the files (none of them Envoy's) that import something the binary lacks."""
    kept = dict(files)
    while True:
        imports = {name: set(_parse(serialised).dependency) for name, serialised in kept.items()}
        broken = [name for name, needed in imports.items() if not needed <= kept.keys()]
        for name in broken:
            if name.startswith("envoy/"):
                missing = ", ".join(sorted(imports[name] - kept.keys()))
                raise ExtractError(f"{name} imports {missing}, which the binary does not hold")
            del kept[name]
        if not broken:
            return kept
