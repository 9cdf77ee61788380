"""Image file directories of a TIFF: tags as bytes, directories behind each other or below one another.

The layout follows TIFF 6.0, its Technical Note 1 (directories below directories), EXIF 2.32, and the BigTIFF proposal of
AWare Systems.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np

from imgrs.io import exif as stored

Entry: TypeAlias = tuple[int, str, Sequence[Any]]
"""A tag: its number, its type as ``struct`` has it ("R" for a ratio, "B" for bytes, "A" for text), its values.

A type that is a number, as text, is TIFF's own: the values are then one run of bytes, as they are stored.
"""

NESTED = 330
"""The tag that holds the offsets of further directories."""

_TYPES = {"A": 2, "H": 3, "I": 4, "R": 5, "B": 7, "Q": 16}


def tables(images: Sequence[Sequence[Entry]], exif: bytes | None, offset: int, big: bool, nested: bool) -> bytes:
    """The directories of an image and its smaller copies, as they stand at ``offset``.

    Each leads to the next; or, where ``nested``, the first leads to all others. ``exif`` (as Pillow has it) goes into the
    first and into directories of its own, except for what ``images`` say themselves. The length depends on the counts of
    values only.
    """
    plain, inner = _exif(exif, {tag for tag, _, _ in images[0]})
    wide = "Q" if big else "I"
    first: list[Entry] = [*images[0], *plain, *((tag, wide, [0]) for tag in inner if tag != stored.INTEROP)]
    if nested and len(images) > 1:
        first.append((NESTED, wide, [0] * (len(images) - 1)))
    sizes = [len(_directory(entries, 0, 0, big)) for entries in (first, *images[1:])]
    starts = [offset + sum(sizes[:i]) for i in range(len(sizes) + 1)]
    places: dict[int, list[int]] = {NESTED: starts[1:-1]}
    tail = b""
    for tag, within in inner.items():
        if tag != stored.INTEROP:
            places[tag] = [starts[-1] + len(tail)]
            below = inner.get(stored.INTEROP, []) if tag == stored.EXIF else []
            tail += _with_one_below(within, stored.INTEROP, below, places[tag][0], big)
    first = [(tag, kind, places.get(tag, values)) for tag, kind, values in first]
    data = b""
    for i, entries in enumerate((first, *images[1:])):
        follows = starts[i + 1] if not nested and i + 1 < len(images) else 0
        data += _directory(entries, starts[i], follows, big)
    return data + tail


def _with_one_below(entries: Sequence[Entry], tag: int, below: Sequence[Entry], offset: int, big: bool) -> bytes:
    """The directory at ``offset``, and behind it the one that its ``tag`` leads to, if there is one."""
    if not below:
        return _directory(entries, offset, 0, big)
    wide = "Q" if big else "I"
    behind = offset + len(_directory([*entries, (tag, wide, [0])], offset, 0, big))
    return _directory([*entries, (tag, wide, [behind])], offset, 0, big) + _directory(below, behind, 0, big)


def _directory(entries: Sequence[Entry], offset: int, follows: int, big: bool) -> bytes:
    """The directory at ``offset``, with what does not fit its entries behind it; padded to multiples of 8."""
    inline, count, pointer = (8, "<Q", "<Q") if big else (4, "<H", "<I")
    length = struct.calcsize(count) + (20 if big else 12) * len(entries) + struct.calcsize(pointer)
    length += -length % 8
    head, tail = struct.pack(count, len(entries)), b""
    for tag, kind, values in sorted(entries, key=lambda entry: entry[0]):
        data, number = _packed(kind, values)
        if len(data) <= inline:
            field = data.ljust(inline, b"\0")
        else:
            field = struct.pack(pointer, offset + length + len(tail))
            tail += _padded(data)
        head += struct.pack("<HHQ" if big else "<HHI", tag, _TYPES.get(kind) or int(kind), number) + field
    return _padded(head + struct.pack(pointer, follows)) + tail


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 8)


def _packed(kind: str, values: Sequence[Any]) -> tuple[bytes, int]:
    """The bytes of a tag's values, and how many there are."""
    if kind == "B":
        return values[0], len(values[0])
    if kind.isdigit():
        return values[0], len(values[0]) // stored.SIZES[int(kind)]
    if kind == "A":
        text = values[0].encode("utf-8") + b"\0"
        return text, len(text)
    if kind == "R":
        ratios = [Fraction(value).limit_denominator(10_000) for value in values]
        return b"".join(struct.pack("<II", r.numerator, r.denominator) for r in ratios), len(values)
    return np.array(values, {"H": "<u2", "I": "<u4", "Q": "<u8"}[kind]).tobytes(), len(values)


_STORAGE = {
    *range(254, 269), 273, *range(277, 282), 284, *range(288, 294), 317, *range(320, 348), *range(512, 522), 529, 530, 532,
    700, 34675,
}  # fmt: skip
"""Tags that say how pixels are stored, or that have an option of their own: those of the image that EXIF came from."""


def _exif(data: bytes | None, taken: Collection[int]) -> tuple[list[Entry], dict[int, list[Entry]]]:
    """What EXIF says in a TIFF's own directory, beside the tags that are ``taken``, and in those below it."""
    found = {
        name: [(tag.number, str(tag.type), [tag.data]) for tag in tags if tag.type in stored.SIZES]
        for name, tags in stored.directories(data or b"").items()
    }
    below = {stored.EXIF, stored.GPS, stored.INTEROP}
    plain: list[Entry] = [entry for entry in found.pop(stored.FIRST, []) if entry[0] not in {*_STORAGE, *taken, *below}]
    inner: dict[int, list[Entry]] = {
        name: [entry for entry in entries if entry[0] != stored.INTEROP] for name, entries in found.items()
    }
    return plain, {name: entries for name, entries in inner.items() if entries}
