"""The chunks that a PNG is made of (PNG Specification, Third Edition, 5)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

Bytes: TypeAlias = npt.NDArray[np.uint8]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BLOCK = 65_535
"""The most bytes of a block that is stored."""


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG: type and content."""
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at + 8 : at + 8 + length]
        at += 12 + length


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG: its length, type, content and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", isal_zlib.crc32(data, isal_zlib.crc32(kind)))


def stored_png(width: int, height: int, bits: int, color: int, rows: Bytes, meaning: bytes = b"") -> Bytes:
    """A PNG of filtered rows in stored blocks (RFC 1951, 3.2.4), copied once."""
    count, rest = divmod(len(rows), BLOCK)
    head = SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)) + meaning
    start = len(head) + 8
    length = 2 + count * (5 + BLOCK) + 5 + rest + 4
    png = np.empty(start + length + 16, np.uint8)
    png[: start + 2] = np.frombuffer(head + struct.pack(">I4s", length, b"IDAT") + b"\x78\x01", np.uint8)
    end = start + 2 + count * (5 + BLOCK)
    blocks = png[start + 2 : end].reshape(count, 5 + BLOCK)
    blocks[:, :5] = np.frombuffer(struct.pack("<BHH", 0, BLOCK, 0), np.uint8)
    blocks[:, 5:] = rows[: count * BLOCK].reshape(count, BLOCK)
    png[end : end + 5] = np.frombuffer(struct.pack("<BHH", 1, rest, rest ^ 0xFFFF), np.uint8)
    png[end + 5 : end + 5 + rest] = rows[count * BLOCK :]
    png[-20:-16] = np.frombuffer(struct.pack(">I", isal_zlib.adler32(rows)), np.uint8)
    png[-16:-12] = np.frombuffer(struct.pack(">I", isal_zlib.crc32(png[start - 4 : -16])), np.uint8)
    png[-12:] = np.frombuffer(chunk(b"IEND", b""), np.uint8)
    return png
