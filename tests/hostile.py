"""Hostile files, made from good ones: every field of a header at 0, at its maximum, off by one, and pointing at itself.

``CASES`` has the generators by format; each yields (name, bytes). Bombs and lies of other kinds are in ``tests.bombs``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from imgrs.io.png.chunks import SIGNATURE, chunk

Case: TypeAlias = tuple[str, bytes]


@dataclass(frozen=True)
class Field:
    """A number in a file: where it is, how many bytes it has, and whether it says where something else is."""

    name: str
    at: int
    size: int
    order: str = "little"
    is_offset: bool = False

    def value(self, data: bytes) -> int:
        return int.from_bytes(data[self.at : self.at + self.size], "little" if self.order == "little" else "big")


def extremes(data: bytes, fields: Iterable[Field]) -> Iterator[Case]:
    """``data`` with each field in turn at 0, at its maximum, off by one, and (offsets) pointing at itself."""
    for field in fields:
        most = (1 << 8 * field.size) - 1
        value = field.value(data)
        values = {"0": 0, "max": most, "half": most // 2, "+1": value + 1, "-1": value - 1, "1": 1}
        if field.is_offset:
            values |= {"itself": field.at, "start": 8, "end": len(data), "beyond": len(data) + 1, "tail": len(data) - 1}
        for label, new in values.items():
            if new != value and 0 <= new <= most:
                yield f"{field.name} {label}", patched(data, field, new)


def patched(data: bytes, field: Field, value: int) -> bytes:
    """``data`` with another number in a field."""
    order: Any = field.order
    return data[: field.at] + value.to_bytes(field.size, order) + data[field.at + field.size :]


SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value of each TIFF type."""
_POINTERS = {273, 324, 330, 34665, 34853, 288}
"""Tags whose values are offsets."""


def tiff_fields(data: bytes) -> Iterator[Field]:
    """Every number in the header and directories of a TIFF, and the first and last of those that directories point at."""
    order = "little" if data[:2] == b"II" else "big"
    big = data[2 if order == "big" else 3 - 1] == 43 or data[3] == 43
    width = 8 if big else 4
    yield Field("version", 2, 2, order)
    if big:
        yield Field("offset size", 4, 2, order)
        yield Field("reserved", 6, 2, order)
    pointer = Field("first directory", 8 if big else 4, width, order, True)
    for number in range(9):
        yield pointer
        at = pointer.value(data)
        if not at:
            return
        count = Field(f"directory {number} count", at, 8 if big else 2, order)
        yield count
        at += count.size
        for _ in range(count.value(data)):
            yield from _entry_fields(data, at, order, width, f"directory {number}")
            at += 20 if big else 12
        pointer = Field(f"directory {number} next", at, width, order, True)


def _entry_fields(data: bytes, at: int, order: str, width: int, where: str) -> Iterator[Field]:
    tag = Field("tag", at, 2, order).value(data)
    kind = Field("type", at + 2, 2, order).value(data)
    name = f"{where} tag {tag}"
    yield Field(f"{name} number", at, 2, order)
    yield Field(f"{name} type", at + 2, 2, order)
    count = Field(f"{name} count", at + 4, width, order)
    yield count
    size = SIZES[kind]
    values, start = count.value(data), at + 4 + width
    if size * values > width:
        place = Field(f"{name} offset", start, width, order, True)
        yield place
        start = place.value(data)
    step = size // 2 if kind in (5, 10) else size
    for i in sorted({0, values - 1}):
        yield Field(f"{name} value {i}", start + i * size, step, order, tag in _POINTERS)


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Type, start and length of the content of each chunk."""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, at + 8, length
        at += 12 + length


def png_with(data: bytes, kind: bytes, content: Callable[[bytes], bytes]) -> bytes:
    """A PNG with the content of the chunks of one type replaced, their checksums correct."""
    made = SIGNATURE
    for found, at, length in png_chunks(data):
        old = data[at : at + length]
        made += chunk(found, content(old) if found == kind else old)
    return made


def png_extremes(data: bytes) -> Iterator[Case]:
    """Every field of the chunks that have some, and their lengths; checksums are correct."""
    widths = {b"IHDR": (4, 4, 1, 1, 1, 1, 1), b"acTL": (4, 4), b"fcTL": (4, 4, 4, 4, 4, 2, 2, 1, 1), b"pHYs": (4, 4, 1)}
    for kind, at, length in png_chunks(data):
        name = kind.decode()
        yield from extremes(data, [Field(f"{name} at {at} length", at - 8, 4, "big")])
        yield from extremes(data, [Field(f"{name} at {at} checksum", at + length, 4, "big")])
        offset = at
        for number, size in enumerate(widths.get(kind, ())):
            for label, made in extremes(data, [Field(f"{name} at {at} field {number}", offset, size, "big")]):
                fixed = struct.pack(">I", zlib.crc32(made[at - 4 : at + length]))
                yield label, made[: at + length] + fixed + made[at + length + 4 :]
            offset += size


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and length of the content of each segment up to the first scan's data."""
    at = 2
    while data[at] == 0xFF:
        code, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        yield code, at + 4, length - 2
        if code == 0xDA:
            return
        at += 2 + length


def jpeg_fields(data: bytes) -> Iterator[Field]:
    """Segment lengths, and every field of the frame, of each table and of the scan."""
    for code, at, length in jpeg_segments(data):
        name = f"{code:02X} at {at}"
        yield Field(f"{name} marker", at - 3, 1, "big")
        yield Field(f"{name} length", at - 2, 2, "big")
        if 0xC0 <= code <= 0xC2:
            yield Field(f"{name} precision", at, 1, "big")
            yield Field(f"{name} height", at + 1, 2, "big")
            yield Field(f"{name} width", at + 3, 2, "big")
        if code in (0xC0, 0xC1, 0xC2, 0xDA, 0xDD):
            yield from (Field(f"{name} byte {i}", at + i, 1, "big") for i in range(length))
        elif code in (0xC4, 0xDB):
            yield from (Field(f"{name} byte {i}", at + i, 1, "big") for i in range(min(length, 18)))


def gif_fields(data: bytes) -> Iterator[Field]:
    """The screen, and each image's descriptor and code size."""
    yield Field("width", 6, 2)
    yield Field("height", 8, 2)
    yield from (Field(name, 10 + i, 1) for i, name in enumerate(("flags", "background", "aspect")))
    at = 13 + (3 << 1 + (data[10] & 7) if data[10] & 128 else 0)
    while data[at] != 0x3B:
        if data[at] == 0x2C:
            yield from (Field(f"image at {at} {i}", at + 1 + 2 * i, 2) for i in range(4))
            yield Field(f"image at {at} flags", at + 9, 1)
            at += 10 + (3 << 1 + (data[at + 9] & 7) if data[at + 9] & 128 else 0)
            yield Field(f"code size at {at}", at, 1)
            at += 1
        else:
            yield Field(f"extension at {at}", at + 1, 1)
            yield from (Field(f"extension at {at} byte {i}", at + 3 + i, 1) for i in range(min(data[at + 2], 12)))
            at += 2
        while data[at]:
            yield Field(f"block at {at}", at, 1)
            at += 1 + data[at]
        at += 1


def bmp_fields(data: bytes) -> Iterator[Field]:
    """The file header and the image header."""
    names = ("file size", "reserved", "start", "header size", "width", "height")
    yield from (Field(name, 2 + 4 * i, 4, is_offset=name == "start") for i, name in enumerate(names))
    yield Field("planes", 26, 2)
    yield Field("bits", 28, 2)
    names = ("compression", "image size", "across", "down", "colors", "important")
    yield from (Field(name, 30 + 4 * i, 4) for i, name in enumerate(names))


def ico_fields(data: bytes) -> Iterator[Field]:
    """The directory."""
    yield Field("type", 2, 2)
    yield Field("count", 4, 2)
    for i in range(int.from_bytes(data[4:6], "little")):
        at = 6 + 16 * i
        yield from (Field(f"icon {i} byte {j}", at + j, 1) for j in range(8))
        yield Field(f"icon {i} length", at + 8, 4)
        yield Field(f"icon {i} offset", at + 12, 4, is_offset=True)


def tga_fields(data: bytes) -> Iterator[Field]:
    """The header."""
    widths = (1, 1, 1, 2, 2, 1, 2, 2, 2, 2, 1, 1)
    at = 0
    for i, size in enumerate(widths):
        yield Field(f"field {i}", at, size)
        at += size


def qoi_fields(data: bytes) -> Iterator[Field]:
    """The header."""
    yield Field("width", 4, 4, "big")
    yield Field("height", 8, 4, "big")
    yield Field("channels", 12, 1, "big")
    yield Field("space", 13, 1, "big")


def riff_fields(data: bytes) -> Iterator[Field]:
    """Chunk lengths of a WebP, its canvas, and the sizes in the heads of its bitstreams."""
    yield Field("file length", 4, 4)
    at = 12
    while at + 8 <= len(data):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        name = f"{kind!r} at {at}"
        yield Field(f"{name} length", at + 4, 4)
        if kind == b"VP8X":
            yield Field(f"{name} flags", at + 8, 1)
            yield Field(f"{name} width", at + 12, 3)
            yield Field(f"{name} height", at + 15, 3)
        elif kind == b"ANMF":
            yield from (Field(f"{name} {i}", at + 8 + 3 * i, 3) for i in range(5))
            yield Field(f"{name} flags", at + 23, 1)
            yield Field(f"{name} inner length", at + 28, 4)
        elif kind == b"ANIM":
            yield Field(f"{name} loops", at + 12, 2)
        elif kind == b"VP8 ":
            yield Field(f"{name} frame", at + 8, 3)
            yield Field(f"{name} width", at + 14, 2)
            yield Field(f"{name} height", at + 16, 2)
        elif kind == b"VP8L":
            yield Field(f"{name} head", at + 8, 1)
            yield Field(f"{name} size", at + 9, 4)
        at += 8 + length + length % 2


_CONTAINERS = {
    b"meta": 4,
    b"iprp": 0,
    b"ipco": 0,
    b"jp2h": 0,
    b"moov": 0,
    b"iref": 4,
    b"trak": 0,
    b"mdia": 0,
    b"minf": 0,
    b"stbl": 0,
}
"""Boxes of boxes, and what stands before those."""


def box_fields(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Field]:
    """Lengths of boxes, and each number in those that describe an image."""
    at, end = start, len(data) if end is None else end
    while at + 8 <= end:
        length, kind = struct.unpack_from(">I4s", data, at)
        name = f"{kind!r} at {at}"
        yield Field(f"{name} length", at, 4, "big")
        length = length or end - at
        if kind in _CONTAINERS:
            yield from box_fields(data, at + 8 + _CONTAINERS[kind], at + length)
        elif kind == b"jp2c":
            yield from codestream_fields(data, at + 8)
        elif kind not in (b"mdat", b"jxlc", b"free", b"skip"):
            yield from (Field(f"{name} number {i}", at + 8 + 4 * i, 4, "big") for i in range(min(length - 8, 80) // 4))
            yield from (Field(f"{name} byte {i}", at + 8 + i, 1, "big") for i in range(min(length - 8, 40)))
        at += length


def codestream_fields(data: bytes, start: int = 0) -> Iterator[Field]:
    """Every field of the size and coding markers of JPEG 2000."""
    at = start + 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        code, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        name = f"{code:02X} at {at}"
        yield Field(f"{name} length", at + 2, 2, "big")
        if code == 0x51:
            yield Field(f"{name} kind", at + 4, 2, "big")
            yield from (Field(f"{name} size {i}", at + 6 + 4 * i, 4, "big") for i in range(8))
            yield Field(f"{name} bands", at + 38, 2, "big")
            yield from (Field(f"{name} byte {i}", at + 40 + i, 1, "big") for i in range(length - 38))
        elif code in (0x52, 0x5C, 0x90):
            yield from (Field(f"{name} byte {i}", at + 4 + i, 1, "big") for i in range(min(length - 2, 20)))
        if code == 0x90:
            yield Field(f"{name} part length", at + 6, 4, "big")
            return
        at += 2 + length


def text_extremes(data: bytes, end: int) -> Iterator[Case]:
    """Each number in the text at the start of a file replaced by others, and by what is none."""
    head, at = data[:end].decode("latin-1"), 0
    while at < len(head):
        if not head[at].isdigit():
            at += 1
            continue
        stop = at
        while stop < len(head) and head[stop].isdigit():
            stop += 1
        value = int(head[at:stop])
        for new in (
            "0",
            "1",
            str(value + 1),
            str(max(value - 1, 0)),
            "-1",
            "2147483647",
            "4294967295",
            "9" * 19,
            "9" * 5_000,
            "x",
            "",
        ):
            if new != head[at:stop]:
                made = head[:at] + new + head[stop:]
                yield f"{head[at:stop]} at {at} as {new[:20]}", made.encode("latin-1") + data[end:]
        at = stop


HEADERS: dict[str, Callable[[bytes], Iterator[Case]]] = {
    "TIFF": lambda data: extremes(data, tiff_fields(data)),
    "PNG": png_extremes,
    "JPEG": lambda data: extremes(data, jpeg_fields(data)),
    "WEBP": lambda data: extremes(data, riff_fields(data)),
    "AVIF": lambda data: extremes(data, box_fields(data)),
    "JPEG2000": lambda data: extremes(data, box_fields(data) if data[4:8] == b"jP  " else codestream_fields(data)),
    "JXL": lambda data: extremes(data, (Field(f"byte {i}", i, 1) for i in range(40))),
    "GIF": lambda data: extremes(data, gif_fields(data)),
    "BMP": lambda data: extremes(data, bmp_fields(data)),
    "ICO": lambda data: extremes(data, ico_fields(data)),
    "TGA": lambda data: extremes(data, tga_fields(data)),
    "QOI": lambda data: extremes(data, qoi_fields(data)),
    "PPM": lambda data: text_extremes(data, 10 if data[:2] == b"P4" else data.index(b"255") + 4),
    "PAM": lambda data: text_extremes(data, data.index(b"ENDHDR\n")),
    "PFM": lambda data: text_extremes(data, data.index(b"-1.0\n") + 5),
    "NPY": lambda data: text_extremes(data, data.index(b"\n") + 1),
}
"""By format, files like a good one with each field of its header changed."""
