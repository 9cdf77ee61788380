"""EXIF as it is stored: directories of tags, each with its type and the bytes of its values (EXIF 2.32; TIFF 6.0).

What the tags mean is Pillow's to know: see ``imgrs.io.metadata``. Here nothing is understood, so nothing is lost.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from imgrs.errors import ArgumentError

PREFIX = b"Exif\0\0"
FIRST, EXIF, GPS, INTEROP = 0, 34665, 34853, 40965
"""The directories: the first, and those below it by the tag that holds their offset (the last is below ``EXIF``)."""

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
"""Bytes of a value, by its type: byte, text, short, long, ratio, ..."""
_WORDS = {**SIZES, 5: 4, 10: 4}
"""Bytes whose order depends on the file's: a ratio is two of four."""


class Tag(NamedTuple):
    """One tag."""

    number: int
    type: int
    data: bytes
    """Its values, low byte first."""


def directories(data: bytes) -> dict[int, list[Tag]]:
    """The tags of each directory, as far as they lie within ``data``; of a thumbnail nothing is kept."""
    data = data.removeprefix(PREFIX)
    order = _order(data)
    if order is None:
        return {}
    found = {FIRST: _tags(data, int.from_bytes(data[4:8], order), order)}
    for inner, outer in ((EXIF, FIRST), (GPS, FIRST), (INTEROP, EXIF)):
        for tag in found.get(outer, []):
            if tag.number == inner and tag.type in (4, 13):
                found[inner] = _tags(data, int.from_bytes(tag.data[:4], "little"), order)
    return found


def given(value: Any) -> bytes:
    """The option ``exif`` of a save as bytes: from bytes, or from Pillow's ``Exif``; none are for no EXIF.

    Raises ``ArgumentError`` for what is no EXIF.
    """
    if value is None:
        return b""
    data = value
    if callable(getattr(value, "tobytes", None)):
        try:
            data = value.tobytes()
        except Exception as error:  # Pillow's writer fails in many ways on values that no tag can have
            raise ArgumentError(f"exif cannot be written: {error}") from error
    if isinstance(data, bytes):
        inner = data.removeprefix(PREFIX)
        if not inner:
            return b""
        if _order(inner) is not None:
            return PREFIX + inner
        shown = repr(data if len(data) <= 20 else data[:20] + b"...")
        raise ArgumentError(f"exif must begin as EXIF does, with 'Exif', 'II' or 'MM', got {shown}")
    raise ArgumentError(f"exif must be bytes or Pillow's Exif, got {type(value).__name__}")


def _order(data: bytes) -> Literal["little", "big"] | None:
    """How numbers are stored; None where it is no EXIF."""
    orders: dict[bytes, Literal["little", "big"]] = {b"II*\0": "little", b"MM\0*": "big"}
    return orders.get(data[:4]) if len(data) >= 8 else None


def _tags(data: bytes, start: int, order: Literal["little", "big"]) -> list[Tag]:
    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], order)

    found: dict[int, Tag] = {}
    for entry in range(start + 2, min(start + 2 + 12 * number(start, 2), len(data) - 11), 12):
        name, kind, count = number(entry, 2), number(entry + 2, 2), number(entry + 4, 4)
        length = count * (4 if kind == 13 else SIZES.get(kind, 0))
        at = entry + 8 if length <= 4 else number(entry + 8, 4)
        if 0 < length <= len(data) - at:
            word = _WORDS.get(kind, 4)
            stored = np.frombuffer(data, f"{'<' if order == 'little' else '>'}u{word}", length // word, at)
            found[name] = Tag(name, kind, stored.astype(f"<u{word}").tobytes())
    return list(found.values())
