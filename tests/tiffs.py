"""TIFF files made by hand, for what no library writes."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt
from PIL import Image as Pillow

Array = npt.NDArray[Any]
_FORMATS = {1: "B", 3: "H", 4: "I", 5: "II", 7: "B", 11: "f"}


def tiff(tags: Mapping[int, tuple[int, Sequence[float]]], data: bytes = b"", follows: int = 0) -> bytes:
    """A TIFF of one page: each tag's type and values. ``data`` begins at byte 8; tags that point at it say so."""
    directory = 8 + len(data) + len(data) % 2
    entries, tail = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        packed = struct.pack("<" + _FORMATS[kind] * (len(values) // len(_FORMATS[kind])), *values)
        if len(packed) > 4:
            at = directory + 2 + 12 * len(tags) + 4 + len(tail)
            tail += packed + bytes(len(packed) % 2)
            packed = struct.pack("<I", at)
        count = len(values) // len(_FORMATS[kind])
        entries += struct.pack("<HHI", tag, kind, count) + packed.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<I", directory) + data.ljust(directory - 8, b"\0")
    return head + struct.pack("<H", len(tags)) + entries + struct.pack("<I", follows) + tail


def page(
    width: int, height: int, bits: Sequence[int], photometric: int, compression: int, length: int
) -> dict[int, Any]:
    """The tags of a page in one strip that begins at byte 8."""
    return {
        256: (4, [width]), 257: (4, [height]), 258: (3, bits), 259: (3, [compression]), 262: (3, [photometric]),
        273: (4, [8]), 277: (3, [len(bits)]), 278: (4, [height]), 279: (4, [length]),
    }  # fmt: skip


def jpeg(pixels: Array, **options: Any) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "JPEG", quality=90, **options)
    return file.getvalue()


def ndpi(images: Sequence[tuple[Array, float, int]]) -> bytes:
    """A slide as Hamamatsu's scanners write it: pixels, magnification, and the tiles of a row (0: a JPEG as it is).

    Offsets of directories have 64 bits; a level is one JPEG with restart markers, and a table of where they are.
    """
    body, link = bytearray(b"II*\0" + bytes(8)), 4

    def placed(data: bytes) -> int:
        body.extend(bytes(-len(body) % 8))
        body.extend(data)
        return len(body) - len(data)

    for pixels, magnification, tiles in images:
        height, width = pixels.shape[:2]
        options: dict[str, Any] = {"restart_marker_blocks": width // 8 // tiles, "subsampling": 0} if tiles else {}
        data = jpeg(pixels, **options)
        tags = {number: (kind, len(values), values[0]) for number, (kind, values) in
                page(width, height, [0], 6, 7, len(data)).items()}  # fmt: skip
        tags |= {
            258: (3, 3, placed(struct.pack("<3H", 8, 8, 8))), 273: (4, 1, placed(data)), 277: (3, 1, 3), 65420: (4, 1, 1),
            271: (2, 9, placed(b"Hamamatsu")), 65424: (9, 1, 0),
            65421: (11, 1, struct.unpack("<I", struct.pack("<f", magnification))[0]),
        }  # fmt: skip
        if tiles:
            scan = data.index(b"\xff\xda")
            starts = [scan + 2 + struct.unpack(">H", data[scan + 2 : scan + 4])[0]]
            starts += [i + 2 for i in range(scan, len(data) - 1) if data[i] == 0xFF and 0xD0 <= data[i + 1] <= 0xD7]
            tags[65426] = (4, len(starts), placed(struct.pack(f"<{len(starts)}I", *starts)))
        directory = placed(struct.pack("<H", len(tags)))
        body += b"".join(struct.pack("<HHII", number, *tags[number]) for number in sorted(tags))
        struct.pack_into("<Q", body, link, directory)
        link = len(body)
        body += bytes(8 + 4 * len(tags))
    return bytes(body)
