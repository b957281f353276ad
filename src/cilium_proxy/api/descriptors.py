"""The private descriptor pool: Envoy's protobuf files and ours.

Files are read from the set that the build took from the pinned Envoy binary (see `extract`) and added to the pool when
a message first needs them. Nothing enters protobuf's default pool, so users may have other editions of the same files.
"""

from __future__ import annotations

import functools
import json
import struct
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool

DESCRIPTOR_SET = Path(__file__).with_name("envoy_descriptors.bin")
"""Made by `cilium_proxy.api.extract.write` when the package is built."""


class DescriptorSetMissingError(RuntimeError):
    """The package was not built: Envoy's descriptors are not in it."""


class UnknownMessageError(LookupError):
    """Neither Envoy's API nor ours has a message of that name."""


class _Files:
    """Serialised files by name and by symbol: the database behind the pool."""

    def __init__(self, path: Path) -> None:
        try:
            self._data = path.read_bytes()
        except FileNotFoundError as error:
            raise DescriptorSetMissingError(
                f"{path} is missing: build the package with `pip install .`, in a checkout with `make setup`"
            ) from error
        (index_length,) = struct.unpack_from(">I", self._data)
        self._start = 4 + index_length
        index = json.loads(self._data[4 : self._start])
        self._places: dict[str, list[int]] = index["files"]
        self._symbols: dict[str, str] = index["symbols"]
        self._own: dict[str, descriptor_pb2.FileDescriptorProto] = {}
        self._add_own()

    def _add_own(self) -> None:
        # Here, because building Envoy's half must not need the native library.
        from cilium_proxy import _core
        from cilium_proxy.api.extract import top_level_symbols

        for file in descriptor_pb2.FileDescriptorSet.FromString(_core.descriptors()).file:
            if file.name not in self._places:
                self._own[file.name] = file
                self._symbols.update(dict.fromkeys(top_level_symbols(file), file.name))

    # The names are those of protobuf's DescriptorDatabase.
    def FindFileByName(self, name: str) -> descriptor_pb2.FileDescriptorProto:  # noqa: N802
        own = self._own.get(name)
        if own is not None:
            return own
        offset, length = self._places[name]
        start = self._start + offset
        return descriptor_pb2.FileDescriptorProto.FromString(self._data[start : start + length])

    def FindFileContainingSymbol(self, symbol: str) -> descriptor_pb2.FileDescriptorProto:  # noqa: N802
        outer = symbol
        while outer not in self._symbols:
            outer, dot, _ = outer.rpartition(".")
            if not dot:
                raise KeyError(symbol)
        return self.FindFileByName(self._symbols[outer])


@functools.cache
def pool() -> DescriptorPool:
    """The pool. Raises DescriptorSetMissingError when the package was not built."""
    return DescriptorPool(_Files(DESCRIPTOR_SET))


@functools.cache
def messages(name: str) -> Any:
    """The message class of a full name such as `cilium.NetworkPolicy`.

    Raises UnknownMessageError. The class has its fields at run time only, so its type says nothing about them.
    """
    try:
        descriptor = pool().FindMessageTypeByName(name)
    except KeyError:
        raise UnknownMessageError(f"no protobuf message is called {name!r}") from None
    return message_factory.GetMessageClass(descriptor)
