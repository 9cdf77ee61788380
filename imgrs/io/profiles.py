"""Color profiles (ICC.1:2022) in GIF and BMP, of which Pillow neither reads nor writes any."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from typing import IO

from imgrs.io.limits import check_metadata
from imgrs.io.resource import Resource, as_file

_GIF_BLOCK = b"\x21\xff\x0bICCRGBG1012"
"""How the block of a GIF begins that holds a profile (ICC.1:2022, annex B.5)."""
_MOST_BLOCKS = 1 << 18
"""Pieces of a block that are looked at: 64 MiB, in those of 255 bytes that all writers make."""
_GIF_SCREEN = 13
"""Bytes of a GIF before its palette."""
_BMP_HEADER, _EMBEDDED, _IMAGES = 124, b"DEBM", 4
"""Bytes of the only header of a BMP that speaks of profiles, its color space then ("MBED", from the right), and the intent
of photographs (BITMAPV5HEADER)."""


def gif_profile(resource: Resource) -> bytes | None:
    """The profile that stands before the first frame of a GIF. Raises ``LimitError`` for one that is too long."""
    with as_file(resource) as file:
        screen = file.read(_GIF_SCREEN)
        file.seek(_palette_end(screen))
        while (kind := file.read(2)) and kind[:1] == b"\x21":
            held = list(itertools.islice(_sub_blocks(file), _MOST_BLOCKS))
            if len(held) == _MOST_BLOCKS:
                return None
            if held and kind + bytes([len(held[0])]) + held[0] == _GIF_BLOCK:
                found = b"".join(held[1:])
                check_metadata(resource.name, "a color profile", len(found))
                return found
    return None


def _palette_end(screen: bytes) -> int:
    flags = screen[10] if len(screen) == _GIF_SCREEN else 0
    return _GIF_SCREEN + (3 << 1 + (flags & 7) if flags & 128 else 0)


def _sub_blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Data in pieces of at most 255 bytes, each behind its length, up to one of none (GIF89a, 15)."""
    while size := file.read(1):
        if size == b"\0":
            return
        yield file.read(size[0])


def with_gif_profile(data: bytes, profile: bytes) -> bytes:
    """A GIF with a profile behind its palette."""
    at = _palette_end(data[:_GIF_SCREEN])
    pieces = [profile[i : i + 255] for i in range(0, len(profile), 255)]
    held = b"".join(bytes([len(piece)]) + piece for piece in pieces)
    return b"GIF89a" + data[6:at] + _GIF_BLOCK + held + b"\0" + data[at:]


def bmp_profile(resource: Resource) -> bytes | None:
    """The profile of a BMP, by its header. Raises ``LimitError`` for one that is too long."""
    head = resource.read(14, _BMP_HEADER)
    if len(head) < _BMP_HEADER or struct.unpack_from("<I", head)[0] != _BMP_HEADER or head[56:60] != _EMBEDDED:
        return None
    start, size = struct.unpack_from("<II", head, 112)
    if not size or 14 + start + size > resource.size:
        return None
    check_metadata(resource.name, "the color profile", size)
    return resource.read(14 + start, size)


def bmp_colors(start: int, size: int) -> bytes:
    """What a BMP header says, behind the masks, of a profile of ``size`` bytes that begins at byte ``start`` of the file."""
    return _EMBEDDED + bytes(48) + struct.pack("<IIII", _IMAGES, start - 14, size, 0)
