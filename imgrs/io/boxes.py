"""Boxes of the ISO base media file format (ISO/IEC 14496-12): what JPEG XL, AVIF, HEIF and JPEG 2000 files are made of.

Only the heads of boxes are read until the content of one is asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from imgrs.errors import CorruptImageError, TruncatedImageError
from imgrs.io.limits import check_metadata
from imgrs.io.resource import Resource

MOST = 10_000
"""Boxes beside each other, at most: a file of nothing but heads is not walked for ever."""


@dataclass(frozen=True)
class Box:
    """One box: its type, and where its content lies in the file."""

    kind: bytes
    start: int
    end: int
    missing: int = 0
    """Bytes of it that the file lacks."""

    def content(self, resource: Resource, trusted: bool = False) -> bytes:
        """The content. Raises ``LimitError`` where it is too long for metadata, unless the file is our own."""
        if not trusted:
            check_metadata(resource.name, f"a {self.kind!r} box", self.end - self.start)
        return resource.read(self.start, self.end - self.start)


def boxes(resource: Resource, start: int = 0, end: int | None = None, cut: bool = False) -> Iterator[Box]:
    """The boxes from ``start`` to ``end`` (the end of the file), in order.

    Raises ``TruncatedImageError`` where one reaches beyond ``end``; with ``cut`` that one is the last, as far as it goes.
    """
    end = resource.size if end is None else end
    for _ in range(MOST):
        if end - start < 8:
            return
        head = resource.read(start, 16)
        length, kind = struct.unpack_from(">I4s", head)
        content = start + 8
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack_from(">Q", head, 8)
            content = start + 16
        elif length == 0:
            length = end - start
        if length < content - start:
            raise CorruptImageError(f"{resource.name}: the {kind!r} box at byte {start:,} claims {length} bytes")
        if start + length > end:
            missing = start + length - end
            if cut:
                yield Box(kind, content, end, missing)
                return
            raise TruncatedImageError(f"{resource.name} ends within its {kind!r} box, {missing:,} bytes short")
        yield Box(kind, content, start + length)
        start += length
    raise CorruptImageError(f"{resource.name} holds more than {MOST:,} boxes")


def shortage(resource: Resource) -> str | None:
    """What to say of a file that is too short for its last box; None where it is not."""
    for part in boxes(resource, cut=True):
        if part.missing:
            return f"{resource.name} ends within its {part.kind!r} box, {part.missing:,} bytes short"
    return None


def box(kind: bytes, content: bytes) -> bytes:
    """The bytes of a box."""
    if len(content) + 8 < 1 << 32:
        return struct.pack(">I4s", 8 + len(content), kind) + content
    return struct.pack(">I4sQ", 1, kind, 16 + len(content)) + content
