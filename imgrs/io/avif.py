"""AVIF: still images are described by ``imgrs.io.avif_header`` and decoded at once; those of 10 and 12 bits as uint16.

Sequences are left to Pillow.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from imgrs.io import metadata
from imgrs.io.avif_header import parse
from imgrs.io.format import Choices, Reader
from imgrs.io.pillow import PillowFormat, PillowReader
from imgrs.io.resource import Resource
from imgrs.io.whole import WholeReader, at_full_scale, decoding
from imgrs.types import Pixels, Spec


@dataclass(frozen=True)
class AvifFormat(PillowFormat):
    name: ClassVar[str] = "AVIF"
    extensions: ClassVar[tuple[str, ...]] = (".avif", ".avifs")
    kinds = (("RGB", "uint8"), ("RGBA", "uint8"))
    options: ClassVar[Choices] = {
        "quality": (0, 100), "speed": (0, 10), "subsampling": ("4:4:4", "4:2:2", "4:2:0", "4:0:0"),
        "icc_profile": bytes, "exif": bytes, "xmp": bytes,
    }  # fmt: skip
    usual: ClassVar[Mapping[str, Any]] = {"quality": 75, "speed": 6, "subsampling": "4:2:0"}
    notes: ClassVar[Mapping[str, str]] = {"speed": "from small to quick"}
    carried = ("icc_profile", "exif", "xmp")
    longest = 65_536

    def matches(self, head: bytes) -> bool:
        return head[4:8] == b"ftyp" and (b"avif" in head[8:40] or b"avis" in head[8:40])

    def open(self, resource: Resource) -> Reader:
        return PillowReader(resource, self.name) if resource.read(8, 4) == b"avis" else AvifReader(resource)


class AvifReader(WholeReader):
    """A still AVIF. Pickles as its resource."""

    def __init__(self, resource: Resource) -> None:
        with decoding(resource.name, "AVIF"):
            self._header = header = parse(resource)
            info: dict[str, Any] = metadata.with_orientation(header.metadata, header.orientation)
        bands = (1 if header.gray else 3) + header.alpha
        dtype, encoding = "uint8" if header.bits == 8 else "uint16", "gray" if header.gray else "srgb"
        super().__init__(
            resource, "AVIF", Spec(header.width, header.height, bands, header.alpha, dtype, encoding), info
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return AvifReader, (self.resource,)

    def decoded(self, shrink: int) -> Pixels:
        import imagecodecs

        pixels: Pixels = imagecodecs.avif_decode(self.resource.read(), index=0, numthreads=os.cpu_count())
        return at_full_scale(pixels, (1 << self._header.bits) - 1)
