"""WebP: the header and the chunks around the pixels are read here, so that nothing is decoded at open.

The layout is that of RFC 9649. A still image is decoded by libwebp at once; the frames of an animation by Pillow, which
puts each on the ones before it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from imgrs.errors import ArgumentError, CorruptImageError
from imgrs.io.format import Choices, Encoder, Reader
from imgrs.io.pillow import PillowFormat, PillowReader
from imgrs.io.resource import Resource
from imgrs.io.whole import WholeReader, decoding
from imgrs.types import Pixels, Spec

_ANIMATED, _ALPHA = 0x02, 0x10
"""Flags of an extended header."""
_CHUNKS = {b"ICCP": "icc_profile", b"EXIF": "exif", b"XMP ": "xmp"}
_MOST = 100_000
"""Chunks in a file, at most: a file of nothing but heads is not walked for ever."""


@dataclass(frozen=True)
class WebpFormat(PillowFormat):
    name: ClassVar[str] = "WEBP"
    extensions: ClassVar[tuple[str, ...]] = (".webp",)
    kinds = (("RGB", "uint8"), ("RGBA", "uint8"))
    options: ClassVar[Choices] = {
        "quality": (0, 100), "lossless": bool, "method": (0, 6), "icc_profile": bytes, "exif": bytes,
        "xmp": bytes,
    }  # fmt: skip
    usual: ClassVar[Mapping[str, Any]] = {"quality": 80, "method": 4}
    notes: ClassVar[Mapping[str, str]] = {"method": "from quick to small"}
    carried = ("icc_profile", "exif", "xmp")
    longest = 16_383

    def matches(self, head: bytes) -> bool:
        return head[:4] == b"RIFF" and head[8:12] == b"WEBP"

    def open(self, resource: Resource) -> Reader:
        return WebpReader(resource)

    def checked_encoder(self, spec: Spec, options: dict[str, Any]) -> Encoder:
        exact = bool(options.get("lossless"))  # colors that are not seen are lost otherwise
        return super().checked_encoder(spec, {**options, "exact": exact})


class WebpReader(WholeReader):
    """A WebP file, or one frame of it. Pickles as its resource."""

    def __init__(self, resource: Resource, page: int = 0) -> None:
        with decoding(resource.name, "WEBP"):
            size, alpha, self._animated, info, missing = _described(resource)
        bands = 4 if alpha else 3
        super().__init__(resource, "WEBP", Spec(*size, bands, alpha), info, page)
        self.missing = missing

    def __reduce__(self) -> tuple[Any, ...]:
        return WebpReader, (self.resource, self.page)

    def decoded(self, shrink: int) -> Pixels:
        if self._animated:
            return PillowReader(self.resource, "WEBP", self.page).read(self.spec.region)
        import imagecodecs

        pixels: Pixels = imagecodecs.webp_decode(self.resource.read(), hasalpha=self.spec.alpha)
        return pixels

    @cached_property
    def frames(self) -> int:
        return sum(kind == b"ANMF" for kind, _, _ in _chunks(self.resource)) if self._animated else 1

    def at(self, page: int) -> Reader:
        if page == self.page:
            return self
        if not 0 <= page < self.frames:
            raise ArgumentError(f"open: page must be from 0 to {self.frames - 1} for {self.resource.name}, got {page}")
        return WebpReader(self.resource, page)


def _chunks(resource: Resource) -> Iterator[tuple[bytes, int, int]]:
    """Type, start and length of each chunk; the file may be too short for the last one."""
    at = 12
    for _ in range(_MOST):
        head = resource.read(at, 8)
        if len(head) < 8:
            return
        kind, length = struct.unpack("<4sI", head)
        yield kind, at + 8, length
        at += 8 + length + length % 2
    raise CorruptImageError(f"{resource.name} holds more than {_MOST:,} chunks")


def _described(resource: Resource) -> tuple[tuple[int, int], bool, bool, dict[str, Any], str | None]:
    """Size, whether there is alpha, whether there are frames, metadata, and what to say of a file that is too short."""
    chunks = _chunks(resource)
    missing = None
    kind, start, length = next(chunks, (b"", 0, 0))
    head = resource.read(start, min(length, 10))
    if start + length > resource.size:
        missing = f"{resource.name} ends within its {kind!r} chunk"
    if kind == b"VP8 ":
        if head[3:6] != b"\x9d\x01\x2a":
            raise CorruptImageError(f"{resource.name}: the WEBP header is damaged")
        width, height = struct.unpack_from("<HH", head, 6)
        return (width & 0x3FFF, height & 0x3FFF), False, False, {}, missing
    if kind == b"VP8L":
        if head[:1] != b"\x2f":
            raise CorruptImageError(f"{resource.name}: the WEBP header is damaged")
        (bits,) = struct.unpack_from("<I", head, 1)
        return (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)), bool(bits >> 28 & 1), False, {}, missing
    if kind != b"VP8X":
        raise CorruptImageError(f"{resource.name}: a WEBP begins with pixels or a header, not with {kind!r}")
    flags, low, high = struct.unpack_from("<BxxxHB", head)
    width = 1 + (low | high << 16)
    low, high = struct.unpack_from("<HB", head, 7)
    info: dict[str, Any] = {}
    for kind, start, length in chunks:
        if start + length > resource.size:
            missing = f"{resource.name} ends within its {kind!r} chunk"
        elif kind in _CHUNKS:
            info[_CHUNKS[kind]] = resource.read(start, length)
        elif kind == b"ANIM":
            (info["loop"],) = struct.unpack("<4xH", resource.read(start, 6))
    return (width, 1 + (low | high << 16)), bool(flags & _ALPHA), bool(flags & _ANIMATED), info, missing
