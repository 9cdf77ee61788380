"""The few values that every layer speaks: where pixels are, what an image is, and a piece of one.

Nothing here reads, computes or knows about operations; NumPy is the only thing it builds on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Pixels: TypeAlias = npt.NDArray[Any]  # the dtype is known at run time only: it is the image's
"""An array of shape (height, width, bands), C order."""


@dataclass(frozen=True, slots=True)
class Region:
    """A half-open box of pixels: ``left <= x < right`` and ``top <= y < bottom``."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def area(self) -> int:
        """The number of pixels; 0 for an empty region."""
        width, height = self.right - self.left, self.bottom - self.top
        return width * height if width > 0 and height > 0 else 0

    @property
    def empty(self) -> bool:
        return self.right <= self.left or self.bottom <= self.top

    def grow(self, x: int, y: int | None = None) -> Region:
        """Move every side outward, by ``x`` pixels across and ``y`` (default ``x``) down."""
        y = x if y is None else y
        return Region(self.left - x, self.top - y, self.right + x, self.bottom + y)

    def shift(self, x: int, y: int) -> Region:
        return Region(self.left + x, self.top + y, self.right + x, self.bottom + y)

    def __and__(self, other: Region) -> Region:
        """The part that both cover; empty where they do not meet."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        return Region(left, top, max(left, min(self.right, other.right)), max(top, min(self.bottom, other.bottom)))

    def __or__(self, other: Region) -> Region:
        """The smallest region that covers both."""
        if self.empty:
            return other
        if other.empty:
            return self
        return Region(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )

    def __contains__(self, other: Region) -> bool:
        return other.empty or (
            self.left <= other.left
            and self.top <= other.top
            and other.right <= self.right
            and other.bottom <= self.bottom
        )

    def tiles(self, size: tuple[int, int]) -> Iterator[Region]:
        """Cut the region into tiles of ``size`` (width, height), row by row; the last ones may be smaller."""
        width, height = size
        for top in range(self.top, self.bottom, height):
            for left in range(self.left, self.right, width):
                yield Region(left, top, min(left + width, self.right), min(top + height, self.bottom))

    def slices_in(self, outer: Region) -> tuple[slice, slice]:
        """Where this region lies in an array that covers ``outer``: ``array[rows, columns]``."""
        return (
            slice(self.top - outer.top, self.bottom - outer.top),
            slice(self.left - outer.left, self.right - outer.left),
        )

    def __str__(self) -> str:
        return f"({self.left}, {self.top}, {self.right}, {self.bottom})"


FULL_SCALE = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0, "bool": 1.0}
"""What a sample of each dtype is at full intensity."""

_MODES = {
    ("gray", "uint8", 1): "L",
    ("gray", "uint16", 1): "I;16",
    ("gray", "float32", 1): "F",
    ("gray", "bool", 1): "1",
}


@dataclass(frozen=True, slots=True)
class Spec:
    """What an image is, without its pixels.

    ``dtype`` is the NumPy name of a sample's type; ``encoding`` names the color space: ``"gray"``, ``"srgb"``,
    ``"cmyk"``, ``"multiband"`` (no color meaning), or ``"statistic"`` (numbers about an image, not an image).
    When ``alpha`` is true the last band is the opacity, and ``bands`` counts it.
    """

    width: int
    height: int
    bands: int
    alpha: bool = False
    dtype: str = "uint8"
    encoding: str = "srgb"

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height

    @property
    def region(self) -> Region:
        """The whole image."""
        return Region(0, 0, self.width, self.height)

    @property
    def colors(self) -> int:
        """The number of bands that are not alpha."""
        return self.bands - self.alpha

    @property
    def itemsize(self) -> int:
        return np.dtype(self.dtype).itemsize

    @property
    def pixel_bytes(self) -> int:
        return self.bands * self.itemsize

    @property
    def nbytes(self) -> int:
        """The size of all pixels in memory, in bytes."""
        return self.width * self.height * self.pixel_bytes

    @property
    def full_scale(self) -> float:
        """The value of a sample at full intensity: 255, 65535 or 1.0."""
        return FULL_SCALE[self.dtype]

    @property
    def mode(self) -> str:
        """Pillow's name where it has one; RGB keeps its name at every depth, other band counts are ``"multiband"``."""
        if self.encoding == "gray":
            return "LA" if self.alpha else _MODES[self.encoding, self.dtype, self.bands]
        if self.encoding == "srgb":
            return "RGBA" if self.alpha else "RGB"
        return self.encoding.upper() if self.encoding == "cmyk" else self.encoding

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the public array: two axes for one band, three otherwise; one for a one-row statistic."""
        if self.encoding == "statistic" and self.height == 1:
            return (self.width,)
        return (self.height, self.width) if self.bands == 1 else (self.height, self.width, self.bands)

    def __str__(self) -> str:
        return f"{self.width}x{self.height} {self.mode} {self.dtype}"


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A piece of an image: the region, its pixels, and the spec of the whole image that it belongs to."""

    region: Region
    pixels: Pixels
    spec: Spec

    def crop(self, region: Region) -> Pixels:
        """The pixels of ``region``, which lies inside this tile, as a view."""
        rows, columns = region.slices_in(self.region)
        return self.pixels[rows, columns]
