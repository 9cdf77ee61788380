"""The chunks that a PNG is made of (PNG Specification, Third Edition, 5)."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from imgrs.errors import CorruptImageError, TruncatedImageError
from imgrs.io.resource import Resource

Bytes: TypeAlias = npt.NDArray[np.uint8]
Chunk: TypeAlias = tuple[bytes, bytes | memoryview]
"""Type and content."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BLOCK = 65_535
"""The most bytes of a block that is stored."""
PIECE = 1 << 20
"""Bytes of compressed pixels that are handed on at a time. Of a longer chunk, the checksum is verified in a pass of its own."""


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


def verified_chunks(resource: Resource) -> Iterator[Chunk]:
    """The chunks of a file that make its pixels, each after its checksum; that of pixels in pieces of ``PIECE`` at most."""
    name, window, at = resource.name, _Window(resource), len(SIGNATURE)
    while len(head := window.read(at, 8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        start, at = at + 8, at + 12 + length
        if kind == b"IEND":
            return
        if at > resource.size:
            raise TruncatedImageError(f"{name} ends within a {kind.decode('latin-1')} chunk")
        total = 0
        for piece in window.pieces(start - 4, length + 4):
            total = isal_zlib.crc32(piece, total)
        if window.read(at - 4, 4) != struct.pack(">I", total):
            raise CorruptImageError(f"{name}: the checksum of a {kind.decode('latin-1')} chunk is wrong")
        if kind == b"IDAT":
            for piece in window.pieces(start, length):
                yield kind, piece
        elif kind == b"PLTE" and not 0 < length <= 768:
            raise CorruptImageError(f"{name}: the palette has {length / 3:,.0f} colors, and may have 1 to 256")
        elif kind in (b"PLTE", b"tRNS"):
            yield kind, bytes(window.read(start, length))


def joined(found: Iterator[Chunk]) -> Iterator[Chunk]:
    """The same with pixels in pieces of about ``PIECE``: many files have them in chunks of 8 KiB.

    Pixels before a damaged chunk come before its error. Wherever this may be closed, nothing is held.
    """
    held = io.BytesIO()  # which hands out what it holds without a copy
    try:
        for kind, content in found:
            if kind == b"IDAT":
                held.write(content)
            if held.tell() >= PIECE or (held.tell() and kind != b"IDAT"):
                piece, held = held.getvalue(), io.BytesIO()
                yield b"IDAT", piece
            if kind != b"IDAT":
                yield kind, content
    finally:
        if held.tell():
            yield b"IDAT", held.getvalue()


class _Window:
    """Bytes of a resource, read some ahead, for chunks that may be tiny or long."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._data = memoryview(b"")
        self._start = self._length = 0

    def read(self, start: int, length: int) -> memoryview:
        """Some bytes, fewer at the end."""
        at = start - self._start
        if at < 0 or at + length > self._length:
            self._data = memoryview(self._resource.read(start, max(length, PIECE)))
            self._start, self._length, at = start, len(self._data), 0
        return self._data[at : at + length]

    def pieces(self, start: int, length: int) -> Iterable[memoryview]:
        """Bytes in pieces of at most ``PIECE``."""
        if length <= PIECE:
            return (self.read(start, length),)
        return (self.read(at, min(PIECE, start + length - at)) for at in range(start, start + length, PIECE))


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
