"""Frames of the policy channel: a 4-byte big-endian length, then that many bytes of `cilium_proxy.v1.Frame`."""

from __future__ import annotations

import asyncio
import hashlib
import struct
from typing import Any

from google.protobuf.message import DecodeError

from cilium_proxy.api import messages

PROTOCOL = 1
LIMIT = 1 << 20
"""Bytes in a frame that a module sends: hellos and results only."""


class FrameError(Exception):
    """What a module sent is no frame."""


def encode(**kind: Any) -> bytes:
    """One frame; the keyword is the frame's kind: `encode(commit=...)`."""
    body: bytes = messages("cilium_proxy.v1.Frame")(**kind).SerializeToString()
    return struct.pack(">I", len(body)) + body


async def read(reader: asyncio.StreamReader) -> Any | None:
    """The next frame, None at the end of the stream. Raises FrameError."""
    try:
        (length,) = struct.unpack(">I", await reader.readexactly(4))
        if length > LIMIT:
            raise FrameError(f"a frame of {length} bytes, allowed are {LIMIT}")
        body = await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise FrameError("the connection ended inside a frame") from error
        return None
    try:
        return messages("cilium_proxy.v1.Frame").FromString(body)
    except DecodeError as error:
        raise FrameError(f"a frame that does not parse: {error}") from error


class Digest:
    """SHA-256 over the changes of a transaction, as `Commit.digest` in policy_channel.proto describes."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.count = 0

    def upsert(self, name: str, resource: bytes) -> None:
        """Adds an upsert frame."""
        encoded = name.encode()
        self._hash.update(b"U" + struct.pack(">Q", len(encoded)) + encoded + struct.pack(">Q", len(resource)))
        self._hash.update(resource)
        self.count += 1

    def remove(self, name: str) -> None:
        """Adds a remove frame."""
        encoded = name.encode()
        self._hash.update(b"R" + struct.pack(">Q", len(encoded)) + encoded)
        self.count += 1

    def digest(self) -> bytes:
        """The digest of the frames so far."""
        return self._hash.digest()
