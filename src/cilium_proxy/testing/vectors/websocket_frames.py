"""Websocket frames as a raw upstream sees them (RFC 6455, section 5.2)."""

from __future__ import annotations

from dataclasses import dataclass, field

_FIN = 0x80
_MASKED = 0x80


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame, its payload unmasked; `length` is what it takes on the wire."""

    opcode: int
    fin: bool
    masked: bool
    payload: bytes = field(repr=False)
    length: int


def read_frame(data: bytes | bytearray, at: int) -> Frame | None:
    """The frame that begins at `at`; None while it is incomplete."""
    start = at + 2
    if len(data) < start:
        return None
    size = data[at + 1] & ~_MASKED
    if size >= 126:
        width = 2 if size == 126 else 8
        size = int.from_bytes(data[start : start + width], "big")
        start += width
    mask = bytes(4)
    if masked := bool(data[at + 1] & _MASKED):
        mask = bytes(data[start : start + 4])
        start += 4
    end = start + size
    if len(data) < end:
        return None
    repeated = (mask * (size // 4 + 1))[:size]
    payload = int.from_bytes(data[start:end], "big") ^ int.from_bytes(repeated, "big")
    return Frame(data[at] & 0x0F, bool(data[at] & _FIN), masked, payload.to_bytes(size, "big"), end - at)
