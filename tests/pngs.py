"""Writes PNG of every kind, filter and order, row by row and by the book, for tests of what reads it."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
KINDS = [
    (0, 1),
    (0, 2),
    (0, 4),
    (0, 8),
    (0, 16),
    (2, 8),
    (2, 16),
    (3, 1),
    (3, 2),
    (3, 4),
    (3, 8),
    (4, 8),
    (4, 16),
    (6, 8),
    (6, 16),
]
"""Color type and bits of every kind of PNG."""
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of Adam7: the first column and row, and the steps."""


def png(
    samples: Array, color: int, bits: int, *, interlaced: bool = False, palette: Array | None = None, clear: bytes = b"",
    filters: int | None = None, piece: int = 100,
) -> bytes:  # fmt: skip
    """A PNG of ``samples`` (height, width, samples of a pixel); each row has the next filter, or ``filters``."""
    height, width = samples.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, interlaced)
    whole = [(0, 0, 1, 1)]
    rows = b"".join(
        _rows(samples[top::down, left::across], bits, filters)
        for left, top, across, down in (_PASSES if interlaced else whole)
    )
    data = zlib.compress(rows)
    made = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head)
    if palette is not None:
        made += _chunk(b"PLTE", palette.astype(np.uint8).tobytes())
    if clear:
        made += _chunk(b"tRNS", clear)
    for start in range(0, len(data), piece):
        made += _chunk(b"IDAT", data[start : start + piece])
    return made + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _rows(samples: Array, bits: int, filters: int | None) -> bytes:
    if 0 in samples.shape:
        return b""
    pixel = max(1, samples.shape[2] * bits // 8)
    made, above = b"", None
    for number, row in enumerate(samples):
        data = _packed(row.reshape(-1), bits)
        kind = number % 5 if filters is None else filters
        made += bytes((kind,)) + _filtered(data, above if above is not None else bytes(len(data)), pixel, kind)
        above = data
    return made


def _packed(row: Array, bits: int) -> bytes:
    if bits == 16:
        return row.astype(">u2").tobytes()
    if bits == 8:
        return row.astype(np.uint8).tobytes()
    places = np.arange(bits - 1, -1, -1)
    return np.packbits((row[:, None].astype(int) >> places & 1).astype(np.uint8).reshape(-1)).tobytes()


def _filtered(row: bytes, above: bytes, pixel: int, kind: int) -> bytes:
    """A row less what the filter foretells (PNG specification, third edition, section 9)."""
    made = bytearray()
    for i, value in enumerate(row):
        left = row[i - pixel] if i >= pixel else 0
        corner = above[i - pixel] if i >= pixel else 0
        foretold = (0, left, above[i], (left + above[i]) // 2, _paeth(left, above[i], corner))[kind]
        made.append((value - foretold) % 256)
    return bytes(made)


def _paeth(left: int, above: int, corner: int) -> int:
    guess = left + above - corner
    return min((left, above, corner), key=lambda value: abs(guess - value))
