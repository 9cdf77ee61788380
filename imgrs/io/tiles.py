"""Folders of small tiles at every halving, each tile a file of its own, for viewers in a browser.

What is common to Deep Zoom and IIIF: how tiles are compressed. Their names and documents are in modules beside this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from imgrs.errors import ArgumentError, UnsupportedFormatError
from imgrs.io.files import FolderEncoder
from imgrs.io.format import LOSSLESS, LOSSY, Choices, Format, Options, Reader
from imgrs.io.options import check_image, check_options, check_whole
from imgrs.io.resource import Resource
from imgrs.types import Pixels, Region, Spec

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
    levels: int

    @classmethod
    def checked(cls, format: Format, spec: Spec, options: Options) -> Mapping[str, Any]:
        """The options that these formats share. Raises ``ArgumentError``."""
        name, given = format.name, {**format.usual, **options}
        check_options(name, options, format.options)
        suffix = options.get("tile_format", "png" if spec.alpha or spec.dtype == "uint16" else "jpg")
        if suffix not in _SUFFIXES:
            raise ArgumentError(f'save: {name} tile_format must be "jpg" or "png", got {suffix!r}')
        suffix = _SUFFIXES[suffix]
        check_image(f"{name} of {suffix}", spec, _KINDS[suffix])
        return {
            "side": check_whole(name, "tile", given["tile"], 16, 1 << 14),
            "suffix": suffix,
            "quality": check_whole(name, "quality", given["quality"], 1, 100),
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
            return bytes(imagecodecs.png_encode(tile, level=3))
        subsampling = None if self.spec.bands == 1 else "420"
        return bytes(imagecodecs.jpeg8_encode(tile, level=self.quality, subsampling=subsampling))


class TilesFormat(Format):
    """A format that is written only: viewers read it."""

    is_read: ClassVar[bool] = False
    options: ClassVar[Choices] = {
        "tile": (16, 1 << 14), "tile_format": ("jpg", "png"), "quality": (1, 100),
    }  # fmt: skip
    usual: ClassVar[Mapping[str, Any]] = {"tile": 256, "quality": 85}
    notes: ClassVar[Mapping[str, str]] = {"tile_format": "jpg, or png where there is alpha or 16 bits, unless given"}

    def matches(self, head: bytes) -> bool:
        return False

    def open(self, resource: Resource) -> Reader:
        raise UnsupportedFormatError(
            f"{resource.name} is {self.name}, which is written only, for viewers, and not read"
        )
