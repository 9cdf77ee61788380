"""Color profiles (ICC.1:2022) in GIF and BMP, of which Pillow neither reads nor writes any."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO

from imgrs.io.resource import Resource, as_file

_MOST = 16 << 20
"""Bytes of the largest profile that is read: those of printers take a few MiB."""
_GIF_BLOCK = b"\x21\xff\x0bICCRGBG1012"
"""How the block of a GIF begins that holds a profile (ICC.1:2022, annex B.5)."""
_GIF_SCREEN = 13
"""Bytes of a GIF before its palette."""
_BMP_HEADER, _BMP_EMBEDDED = 124, b"DEBM"
"""The bytes of the only header of a BMP that speaks of profiles, and what it then says of colors: "MBED", from the right."""


def profile_of(format: str, resource: Resource) -> bytes | None:
    """The profile that a GIF or BMP holds; None where there is none, and for other formats."""
    if format == "GIF":
        with as_file(resource) as file:
            return _gif_profile(file)
    return _bmp_profile(resource) if format == "BMP" else None


def _gif_profile(file: IO[bytes]) -> bytes | None:
    screen = file.read(_GIF_SCREEN)
    file.seek(_gif_palette_end(screen))
    while (kind := file.read(2)) and kind[:1] == b"\x21":
        name = next(blocks := _sub_blocks(file), b"")
        if kind + bytes([len(name)]) + name == _GIF_BLOCK:
            found = b""
            for block in blocks:
                found += block
                if len(found) > _MOST:
                    return None
            return found
        for _ in blocks:
            pass
    return None


def _gif_palette_end(screen: bytes) -> int:
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
    at = _gif_palette_end(data[:_GIF_SCREEN])
    pieces = [profile[i : i + 255] for i in range(0, len(profile), 255)]
    held = b"".join(bytes([len(piece)]) + piece for piece in pieces)
    return b"GIF89a" + data[6:at] + _GIF_BLOCK + held + b"\0" + data[at:]


def _bmp_profile(resource: Resource) -> bytes | None:
    head = resource.read(14, _BMP_HEADER)
    if len(head) < _BMP_HEADER or struct.unpack_from("<I", head)[0] != _BMP_HEADER or head[56:60] != _BMP_EMBEDDED:
        return None
    start, size = struct.unpack_from("<II", head, 112)
    found = resource.read(14 + start, size) if size <= _MOST else b""
    return found if found and len(found) == size else None


def bmp_colors(profile: bytes | None, start: int) -> bytes:
    """What a BMP header says of colors, behind the masks: sRGB, or the profile that begins at byte ``start`` of the file."""
    if profile is None:
        return b"BGRs" + bytes(48)
    images = 4  # the intent: perceptual
    return _BMP_EMBEDDED + bytes(48) + struct.pack("<IIII", images, start - 14, len(profile), 0)
