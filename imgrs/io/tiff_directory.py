"""Image file directories of a TIFF: tags as bytes, directories behind each other or below one another.

The layout follows TIFF 6.0, its Technical Note 1 (directories below directories), EXIF 2.32, and the BigTIFF proposal of
AWare Systems.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np

from imgrs.io.metadata import parsed_exif

Entry: TypeAlias = tuple[int, str, Sequence[Any]]
"""A tag: its number, its type as ``struct`` has it ("R" for a ratio, "B" for bytes, "A" for text), its values."""

NESTED, EXIF, GPS = 330, 34665, 34853
"""Tags that hold the offsets of further directories."""

_TYPES = {"A": 2, "H": 3, "I": 4, "R": 5, "B": 7, "Q": 16}


def tables(images: Sequence[Sequence[Entry]], exif: bytes | None, offset: int, big: bool, nested: bool) -> bytes:
    """The directories of an image and its smaller copies, as they stand at ``offset``.

    Each leads to the next; or, where ``nested``, the first leads to all others. ``exif`` (as Pillow has it) goes into the
    first and into directories of its own. The length depends on the counts of values only.
    """
    plain, inner = _exif(exif)
    wide = "Q" if big else "I"
    first: list[Entry] = [*images[0], *plain, *((tag, wide, [0]) for tag in inner)]
    if nested and len(images) > 1:
        first.append((NESTED, wide, [0] * (len(images) - 1)))
    sizes = [len(_directory(entries, 0, 0, big)) for entries in (first, *images[1:])]
    starts = [offset + sum(sizes[:i]) for i in range(len(sizes) + 1)]
    places: dict[int, list[int]] = {NESTED: starts[1:-1]}
    tail = b""
    for tag, values in inner.items():
        places[tag] = [starts[-1] + len(tail)]
        tail += _padded(_exif_directory(tag, values, places[tag][0], big))
    first = [(tag, kind, places.get(tag, values)) for tag, kind, values in first]
    data = b""
    for i, entries in enumerate((first, *images[1:])):
        follows = starts[i + 1] if not nested and i + 1 < len(images) else 0
        data += _directory(entries, starts[i], follows, big)
    return data + tail


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
        head += struct.pack("<HHQ" if big else "<HHI", tag, _TYPES[kind], number) + field
    return _padded(head + struct.pack(pointer, follows)) + tail


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 8)


def _packed(kind: str, values: Sequence[Any]) -> tuple[bytes, int]:
    """The bytes of a tag's values, and how many there are."""
    if kind == "B":
        return values[0], len(values[0])
    if kind == "A":
        text = values[0].encode("utf-8") + b"\0"
        return text, len(text)
    if kind == "R":
        ratios = [Fraction(value).limit_denominator(10_000) for value in values]
        return b"".join(struct.pack("<II", r.numerator, r.denominator) for r in ratios), len(values)
    return np.array(values, {"H": "<u2", "I": "<u4", "Q": "<u8"}[kind]).tobytes(), len(values)


_TEXTS = (270, 271, 272, 305, 306, 315, 33432)
"""Tags of EXIF that a TIFF has in its own directory: description, maker, model, software, date, artist, copyright."""


def _exif(data: bytes | None) -> tuple[list[Entry], dict[int, dict[int, Any]]]:
    """What EXIF says in a TIFF's own directory, and the values of the directories below it."""
    if data is None:
        return [], {}
    exif = parsed_exif(data)
    plain: list[Entry] = [(tag, "A", [exif[tag].rstrip("\0")]) for tag in _TEXTS if isinstance(exif.get(tag), str)]
    inner = {tag: exif.get_ifd(tag) for tag in (EXIF, GPS)}
    return plain, {tag: values for tag, values in inner.items() if values}


def _exif_directory(tag: int, values: dict[int, Any], offset: int, big: bool) -> bytes:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    head = b"II+\0\x08\0\0\0" + bytes(8) if big else b"II*\0" + bytes(4)
    directory = ImageFileDirectory_v2(ifh=head, group=tag)
    for name, value in values.items():
        directory[name] = value
    return directory.tobytes(offset)
