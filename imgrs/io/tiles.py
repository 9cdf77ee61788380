"""Folders of small tiles at every halving, each tile a file of its own, for viewers in a browser.

What is common to Deep Zoom and IIIF: how tiles are compressed. Their names and documents are in modules beside this one.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from imgrs.errors import ArgumentError, UnsupportedFormatError
from imgrs.io.files import FolderEncoder
from imgrs.io.format import LOSSLESS, LOSSY, Choices, Format, Options, Reader
from imgrs.io.options import check_bytes, check_image, check_options, check_whole
from imgrs.io.png.chunks import SIGNATURE, chunk
from imgrs.io.resource import Resource
from imgrs.types import Pixels, Region, Spec

_PNG_HEAD = len(SIGNATURE) + 25
"""Bytes of a PNG up to the end of its header."""
_SEGMENT = 65_519
"""The most bytes of a profile in a segment of a JPEG."""
_SUFFIXES = {"jpg": "jpg", "jpeg": "jpg", "png": "png"}
_KINDS = {
    "jpg": [("L", "uint8"), ("RGB", "uint8")],
    "png": [
        ("L", "uint8"),
        ("LA", "uint8"),
        ("RGB", "uint8"),
        ("RGBA", "uint8"),
        ("I;16", "uint16"),
        ("RGB", "uint16"),
    ],
}


@dataclass(frozen=True)
class TilesEncoder(FolderEncoder):
    """A folder of square tiles; those at the right and lower edge are smaller."""

    spec: Spec
    side: int
    suffix: str
    quality: int
    icc_profile: bytes | None
    levels: int

    @classmethod
    def checked(cls, format: Format, spec: Spec, info: Mapping[str, Any], options: Options) -> Mapping[str, Any]:
        """The options that these formats share, and the color profile. Raises ``ArgumentError``."""
        name, given = format.name, {**format.usual, **options}
        check_options(name, options, format.options)
        suffix = options.get("tile_format", "png" if spec.alpha or spec.dtype == "uint16" else "jpg")
        if suffix not in _SUFFIXES:
            raise ArgumentError(f'{name} tile_format must be "jpg" or "png", got {suffix!r}')
        suffix = _SUFFIXES[suffix]
        check_image(f"{name} of {suffix}", spec, _KINDS[suffix])
        return {
            "side": check_whole(name, "tile", given["tile"], 16, 1 << 14),
            "suffix": suffix,
            "quality": check_whole(name, "quality", given["quality"], 1, 100),
            "icc_profile": check_bytes(name, "icc_profile", options.get("icc_profile", info.get("icc_profile"))),
        }

    @property
    def unit(self) -> tuple[int, int]:  # type: ignore[override]  # a property serves where the base declares an attribute
        return self.side, self.side

    @property
    def share(self) -> float:
        return LOSSLESS if self.suffix == "png" or self.quality > 90 else LOSSY

    def encode(self, region: Region, pixels: Pixels, level: int = 0) -> list[tuple[int, bytes]]:
        boxes = region.tiles(self.unit)
        return [(self.number(level, box), self._compressed(pixels[box.slices_in(region)])) for box in boxes]

    def _compressed(self, pixels: Pixels) -> bytes:
        import imagecodecs

        tile = np.ascontiguousarray(pixels[..., 0] if self.spec.bands == 1 else pixels)
        if self.suffix == "png":
            data = bytes(imagecodecs.png_encode(tile, level=3))
            return data if self.icc_profile is None else _png_with_profile(data, self.icc_profile)
        subsampling = None if self.spec.bands == 1 else "420"
        data = bytes(imagecodecs.jpeg8_encode(tile, level=self.quality, subsampling=subsampling))
        return data if self.icc_profile is None else _jpeg_with_profile(data, self.icc_profile)


def _png_with_profile(data: bytes, profile: bytes) -> bytes:
    """A PNG with a color profile behind its header (PNG Specification, Third Edition, 11.3.2.3)."""
    return data[:_PNG_HEAD] + chunk(b"iCCP", b"ICC\0\0" + zlib.compress(profile)) + data[_PNG_HEAD:]


def _jpeg_with_profile(data: bytes, profile: bytes) -> bytes:
    """A JPEG with a color profile behind its start, in segments (ICC.1:2022, B.4)."""
    parts = [profile[at : at + _SEGMENT] for at in range(0, len(profile), _SEGMENT)]
    segments = (b"ICC_PROFILE\0" + bytes((i, len(parts))) + part for i, part in enumerate(parts, start=1))
    return data[:2] + b"".join(struct.pack(">HH", 0xFFE2, 2 + len(each)) + each for each in segments) + data[2:]


class TilesFormat(Format):
    """A format that is written only: viewers read it."""

    is_read: ClassVar[bool] = False
    options: ClassVar[Choices] = {
        "tile": (16, 1 << 14), "tile_format": ("jpg", "png"), "quality": (1, 100), "icc_profile": bytes,
    }  # fmt: skip
    usual: ClassVar[Mapping[str, Any]] = {"tile": 256, "quality": 85}
    notes: ClassVar[Mapping[str, str]] = {"tile_format": "jpg, or png where there is alpha or 16 bits, unless given"}

    def matches(self, head: bytes) -> bool:
        return False

    def open(self, resource: Resource) -> Reader:
        raise UnsupportedFormatError(
            f"{resource.name} is {self.name}, which is written only, for viewers, and not read"
        )
