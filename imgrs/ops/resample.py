"""Resizing, by Pillow's filters. Phase comes from global coordinates, so tiles join without a seam."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from imgrs.errors import ArgumentError
from imgrs.graph.op import FLOAT, Op, Reduced, Remap, op
from imgrs.graph.parameters import checked, choice
from imgrs.kernels import resample
from imgrs.ops.geometry import image_size
from imgrs.types import Pixels, Region, Spec, Tile

_FILTERS = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]  # in the order of Pillow's integers
FILTERS: dict[str | int, str] = {**{n: n for n in _FILTERS}, **dict(enumerate(_FILTERS)), "antialias": "lanczos"}


def part(value: Any) -> tuple[float, float, float, float] | None:
    """The part of an image that is resized, or None for all of it, for the check of a parameter."""
    if value is None:
        return None
    left, top, right, bottom = (float(v) for v in value)
    if not all(np.isfinite((left, top, right, bottom))) or right <= left or bottom <= top:
        raise ValueError("must be a box (left, top, right, bottom) that is not empty")
    return left, top, right, bottom


@op
class Resize(Remap):
    """Resize ``box`` of the image (all of it unless given) to ``size`` (width, height), antialiased when shrinking.

    ``resample`` is Pillow's name or integer: nearest, box, bilinear, hamming, bicubic, lanczos. 8-bit images without
    alpha equal Pillow's bytes.
    """

    alpha: ClassVar[str] = "premultiplied"
    size: tuple[int, int] = checked(image_size, example=(23, 17))
    resample: str = choice(FILTERS, default="lanczos")
    box: tuple[float, float, float, float] | None = checked(part, default=None)

    @property
    def index_map(self) -> bool:
        return self.resample == "nearest"

    def infer(self, *specs: Spec) -> Spec:
        (spec,) = specs
        left, top, right, bottom = self._box(spec)
        if left < 0 or top < 0 or right > spec.width or bottom > spec.height:
            raise ArgumentError(f"resize: box {self.box} leaves the {spec.width}x{spec.height} image")
        if spec.dtype == "bool" and not self.index_map:
            raise ArgumentError('resize: mode 1 resizes with resample="nearest" only; convert("L") for others')
        return Spec(*self.size, spec.bands, spec.alpha, spec.dtype, spec.encoding)

    def does_nothing(self, *specs: Spec) -> bool:
        spec = specs[0]
        return self.size == spec.size and self._box(spec) == (0.0, 0.0, *map(float, spec.size))

    def _box(self, spec: Spec) -> tuple[float, float, float, float]:
        return self.box or (0.0, 0.0, float(spec.width), float(spec.height))

    def prepare(self, *specs: Spec) -> Any:
        (spec,) = specs
        left, top, right, bottom = self._box(spec)
        if self.index_map:
            across = resample.nearest(spec.width, self.size[0], left, right)
            return across, resample.nearest(spec.height, self.size[1], top, bottom)
        axes = ((spec.width, self.size[0], left, right), (spec.height, self.size[1], top, bottom))
        return tuple(
            None
            if (size_in, 0.0, size_in) == (size_out, start, stop)
            else resample.coefficients(size_in, size_out, self.resample, start, stop)
            for size_in, size_out, start, stop in axes
        )

    def source_of(self, region: Region, spec: Spec) -> Region:
        box = self._box(spec)
        left, right = self._span(region.left, region.right, spec.width, self.size[0], box[0], box[2])
        top, bottom = self._span(region.top, region.bottom, spec.height, self.size[1], box[1], box[3])
        return Region(left, top, right, bottom)

    def _span(self, first: int, last: int, size_in: int, size_out: int, start: float, stop: float) -> tuple[int, int]:
        """The source pixels of outputs ``first <= x < last`` along one axis: what ``coefficients`` reaches."""
        scale = (stop - start) / size_out
        if not self.index_map and (size_in, 0.0, float(size_in)) == (size_out, start, stop):
            return first, last
        reach = 0.5 if self.index_map else resample.FILTERS[self.resample][1] * max(scale, 1.0)
        low = start + (first + 0.5) * scale - reach
        high = start + (last - 0.5) * scale + reach
        return max(int(low) - 1, 0), min(int(high) + 2, size_in)

    def source_scale(self, scale: float, spec: Spec, *sources: Spec) -> float:
        left, top, right, bottom = self._box(sources[0])
        return scale * max(self.size[0] / (right - left), self.size[1] / (bottom - top))

    def scaled(self, at: Reduced) -> tuple[Op, bool]:
        (full,), (copy,) = at.sources, at.copies
        left, top, right, bottom = self._box(full)
        across, down = copy.width / full.width, copy.height / full.height
        box = (left * across, top * down, min(right * across, copy.width), min(bottom * down, copy.height))
        return Resize(at.size, self.resample, None if self.box is None else box), True

    def working_bytes(self, area: int, taken: int, spec: Spec, *sources: Spec) -> int:
        if self.index_map:
            return 0
        left, top, right, bottom = self._box(sources[0])
        scale = max(self.size[0] / (right - left), self.size[1] / (bottom - top))
        sample = 1 if spec.dtype == "uint8" and not spec.alpha else FLOAT
        between = round(taken * scale) * spec.bands * sample  # the passes across and down
        return between + super().working_bytes(area, taken, spec, *sources)

    def apply(self, tile: Tile, out: Region, spec: Spec, prepared: Any) -> Pixels:
        across, down = prepared
        if self.index_map:
            rows, columns = down[out.top : out.bottom], across[out.left : out.right]
            picked: Pixels = tile.pixels[(rows - tile.region.top)[:, None], columns - tile.region.left]
            return picked
        if (tile.region, out) == (tile.spec.region, spec.region) and resample.pillow_pays(tile.pixels):
            return resample.resize_by_pillow(tile.pixels, across, down, self.resample, self._box(tile.spec))
        corner = (tile.region.left, tile.region.top)
        return resample.resize(tile.pixels, corner, across, down, (out.left, out.top, out.right, out.bottom))
