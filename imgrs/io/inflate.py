"""How large compressed data says that it will become: asked before it is decompressed by a library that would believe it."""

from __future__ import annotations

import bz2
import struct
import zlib
from collections.abc import Callable
from typing import Any

ZSTD_BLOCK = 128 << 10
"""The most that one block of Zstandard becomes (RFC 8878, 3.1.1.2.4)."""


def inflated(codec: str, data: bytes, most: int) -> int | None:
    """How many bytes ``data`` becomes, or something larger than ``most`` where it is more; None where it is damaged.

    ``codec`` is numcodecs's name: zstd, blosc and lz4 say it in their heads; gzip, zlib and bz2 do not, or need not tell the
    truth, and are decompressed to count.
    """
    try:
        return _SIZES[codec](data, most)
    except (struct.error, IndexError, zlib.error, OSError, EOFError, ValueError):
        return None


def _blosc(data: bytes, most: int) -> int:
    size: int = struct.unpack_from("<I", data, 4)[0]
    return size


def _lz4(data: bytes, most: int) -> int:
    size: int = struct.unpack_from("<I", data, 0)[0]
    return size


def _zstd(data: bytes, most: int) -> int:
    """The sum over frames (RFC 8878, 3.1.1): their content size, or where it is left out what their blocks may become."""
    total = at = 0
    while at < len(data) and total <= most:
        magic = struct.unpack_from("<I", data, at)[0]
        if magic & 0xFFFFFFF0 == 0x184D2A50:  # a frame to be skipped
            at += 8 + struct.unpack_from("<I", data, at + 4)[0]
            continue
        if magic != 0xFD2FB528:
            raise ValueError("not Zstandard")
        flags = data[at + 4]
        single = bool(flags & 0x20)
        at += 5 + (not single) + (0, 1, 2, 4)[flags & 3]
        width = (int(single), 2, 4, 8)[flags >> 6]
        size = int.from_bytes(data[at : at + width], "little") + 256 * (width == 2)
        at += width
        blocks, last = 0, False
        while not last:
            head = int.from_bytes(struct.unpack_from("3s", data, at)[0], "little")
            last, kind, length = bool(head & 1), head >> 1 & 3, head >> 3
            at += 3 + (1 if kind == 1 else length)
            blocks += length if kind < 2 else ZSTD_BLOCK
        at += 4 * bool(flags & 4)
        total += max(size, 0) if width else blocks
    return total


def _counted(decompressor: Any, data: bytes, most: int) -> int:
    """What a decompressor of the standard library makes of its first member, a piece at a time."""
    total, piece = 0, 1 << 20
    while not decompressor.eof and total <= most:
        made = decompressor.decompress(data, piece)
        data = getattr(decompressor, "unconsumed_tail", b"")
        total += len(made)
        if not made and not data:
            break
    return total


def _members(make: Any, data: bytes, most: int) -> int:
    """All members of a file of several, as gzip's and bz2's may be."""
    total = 0
    while data and total <= most:
        decompressor = make()
        total += _counted(decompressor, data, most - total)
        data = decompressor.unused_data
    return total


_SIZES: dict[str, Callable[[bytes, int], int]] = {
    "blosc": _blosc,
    "lz4": _lz4,
    "zstd": _zstd,
    "gzip": lambda data, most: _members(lambda: zlib.decompressobj(31), data, most),
    "zlib": lambda data, most: _counted(zlib.decompressobj(), data, most),
    "bz2": lambda data, most: _members(bz2.BZ2Decompressor, data, most),
}
CODECS = frozenset(_SIZES)
