"""EXIF changed in place, so that offsets in it that only its writer knows, such as those of makers' notes, stay true."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from imgrs.io.exif import EXIF, GPS, INTEROP, PREFIX, SIZES

_SIDES = {0x0100: 0, 0x0101: 1, 0xA002: 0, 0xA003: 1}
"""Tags that say how large the image is, and which side each is: of the image itself, and of its pixels."""
_THUMBNAILS = {0x0201: 0x0202, 0x0111: 0x0117}
"""Tags of where a thumbnail begins, and of how long it is: of a JPEG, and of plain pixels."""


class _Fields:
    """The numbers of EXIF data, where they stand. Nothing is there where the data are no EXIF."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.start = len(PREFIX) if data.startswith(PREFIX) else 0
        self.order: Literal["little", "big"] = "big" if data[self.start : self.start + 2] == b"MM" else "little"
        known = data[self.start : self.start + 4] in (b"II*\0", b"MM\0*")
        self.first = self.start + self.number(self.start + 4, 4) if known else len(data)

    def number(self, at: int, size: int) -> int:
        return int.from_bytes(self.data[at : at + size], self.order)

    def end(self, directory: int) -> int:
        """Where the number of the next directory stands."""
        return directory + 2 + 12 * self.number(directory, 2)

    def entries(self, directory: int) -> range:
        """Where each of its tags stands."""
        return range(directory + 2, min(self.end(directory), len(self.data) - 11), 12)

    def below(self, directory: int) -> list[int]:
        """The directories that hang below one, and below those."""
        found = [self.start + self.number(at, size) for tag, at, size in self.numbers(directory) if tag in (EXIF, GPS)]
        inner = [
            self.start + self.number(at, size) for d in found for tag, at, size in self.numbers(d) if tag == INTEROP
        ]
        return found + inner

    def spans(self, directory: int) -> Iterator[tuple[int, int]]:
        """Where a directory stands, and the values of its tags that stand elsewhere."""
        yield directory, self.end(directory) + 4
        for entry in self.entries(directory):
            length = SIZES.get(self.number(entry + 2, 2), 0) * self.number(entry + 4, 4)
            if length > 4:
                start = self.start + self.number(entry + 8, 4)
                yield start, start + length

    def numbers(self, directory: int) -> Iterator[tuple[int, int, int]]:
        """Each tag of a directory that is one whole number: the tag, where its number stands, and in how many bytes."""
        for entry in self.entries(directory):
            tag, kind, count = self.number(entry, 2), self.number(entry + 2, 2), self.number(entry + 4, 4)
            if kind in (1, 3, 4) and count == 1:
                yield tag, entry + 8, SIZES[kind]


def with_number(data: bytes, tag: int, value: int) -> bytes | None:
    """EXIF with another value of a tag of the first directory; None where that has no such tag."""
    fields = _Fields(data)
    for found, at, size in fields.numbers(fields.first):
        if found == tag:
            return data[:at] + value.to_bytes(size, fields.order) + data[at + size :]
    return None


def resized(data: bytes, size: tuple[int, int]) -> bytes:
    """EXIF of an image of that width and height, where it says anything of them."""
    fields, kept = _Fields(data), bytearray(data)
    for directory in (fields.first, *fields.below(fields.first)):
        for tag, at, length in fields.numbers(directory):
            if tag in _SIDES and size[_SIDES[tag]] < 1 << 8 * length:
                kept[at : at + length] = size[_SIDES[tag]].to_bytes(length, fields.order)
    return bytes(kept)


def without_thumbnail(data: bytes) -> bytes:
    """EXIF without the smaller image that its second directory has: its bytes are zeros, and left out at the end.

    Where they lie as no writer puts them, over each other or over the rest, only the way to that directory goes.
    """
    fields, kept = _Fields(data), bytearray(data)
    link = fields.end(fields.first)
    second = fields.start + fields.number(link, 4)
    if link + 4 > len(data) or second == fields.start:
        return data
    kept[link : link + 4] = bytes(4)
    rest = [(0, fields.start + 8), *fields.spans(fields.first)]
    for directory in fields.below(fields.first):
        rest += fields.spans(directory)
    found = {tag: fields.number(at, size) for tag, at, size in fields.numbers(second)}
    gone = [(second, fields.end(second) + 4)]
    for place, length in _THUMBNAILS.items():
        if place in found and length in found:
            start = fields.start + found[place]
            gone.append((start, start + found[length]))
    if any(end > len(data) or (start < stop and begin < end) for start, end in gone for begin, stop in rest):
        return bytes(kept)
    for start, end in gone:
        kept[start:end] = bytes(end - start)
    for start, end in sorted(gone, reverse=True):
        if end == len(kept):
            del kept[start:]
    return bytes(kept)
