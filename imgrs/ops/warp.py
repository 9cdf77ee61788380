"""Affine warps, with interpolation: what a rotation by any angle becomes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from imgrs.errors import ArgumentError
from imgrs.graph.op import Op, Reduced, Remap, op
from imgrs.graph.parameters import checked, choice
from imgrs.kernels import warp
from imgrs.ops.geometry import Color, fill_color, fill_pixel, image_size
from imgrs.types import Pixels, Region, Spec, Tile

Matrix = tuple[float, float, float, float, float, float]

_FILTERS: dict[str | int, str] = {"nearest": "nearest", "bilinear": "bilinear", "bicubic": "bicubic"}
FILTERS = _FILTERS | {0: "nearest", 2: "bilinear", 3: "bicubic"}
"""Pillow's names and integers of the filters that its transforms have."""
FARTHEST = 1 << 29
"""Pixels from the origin that coordinates reach without overflow."""


def _matrix(value: Any) -> Matrix:
    a, b, c, d, e, f = (float(v) for v in value)
    if not all(map(math.isfinite, (a, b, c, d, e, f))) or a * e == b * d:
        raise ValueError("must be six finite numbers (a, b, c, d, e, f) that can be inverted")
    return a, b, c, d, e, f


def fill(value: Any) -> Color | None:
    """A color or None, for the check of a parameter."""
    return None if value is None else fill_color(value)


def point(value: Any) -> tuple[float, float] | None:
    """A point (x, y) or None, for the check of a parameter."""
    if value is None:
        return None
    x, y = (float(v) for v in value)
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError("must be a point (x, y) of finite numbers")
    return x, y


@op
class Affine(Remap):
    """An image of ``size`` whose point (x, y) is the input's (a x + b y + c, d x + e y + f), as Pillow's ``AFFINE``.

    ``resample`` is nearest, bilinear or bicubic (Keys' cubic with a = -0.5). Pixels whose center falls outside the input
    become ``fillcolor`` (in the image's own units or by name; None is 0 in every band).
    """

    size: tuple[int, int] = checked(image_size, example=(47, 39))
    matrix: Matrix = checked(_matrix, example=(0.8, -0.55, 9.0, 0.55, 0.8, -8.0))
    resample: str = choice(FILTERS, default="bicubic")
    fillcolor: Color | None = checked(fill, default=None)

    @property
    def alpha(self) -> str:  # type: ignore[override]  # it follows from the filter
        return "straight" if self.resample == "nearest" else "premultiplied"

    def infer(self, *specs: Spec) -> Spec:
        (spec,) = specs
        if spec.dtype == "bool" and self.resample != "nearest":
            raise ArgumentError('affine: mode 1 takes resample="nearest" only; convert("L") for others')
        fill_pixel(self.fillcolor or (0.0,), spec, self.name)
        a, b, c, d, e, f = map(abs, self.matrix)
        if max(a * self.size[0] + b * self.size[1] + c, d * self.size[0] + e * self.size[1] + f) > FARTHEST:
            raise ArgumentError(f"affine: matrix reaches farther than {FARTHEST} pixels, got {self.matrix}")
        return Spec(*self.size, spec.bands, spec.alpha, spec.dtype, spec.encoding)

    def holds(self, spec: Spec) -> bool:
        """Whether the result shows all of an input that ``spec`` describes."""
        a, b, c, d, e, f = self.matrix
        area = a * e - b * d
        corners = [(x - c, y - f) for x in (0, spec.width) for y in (0, spec.height)]
        places = [((e * x - b * y) / area, (a * y - d * x) / area) for x, y in corners]
        return all(-0.5 <= x <= self.size[0] + 0.5 and -0.5 <= y <= self.size[1] + 0.5 for x, y in places)

    @property
    def _taps(self) -> int:
        return warp.TAPS[self.resample]

    def source_scale(self, scale: float, spec: Spec, *sources: Spec) -> float:
        a, b, _, d, e, _ = self.matrix
        return scale / min(math.hypot(a, d), math.hypot(b, e))

    def scaled(self, at: Reduced) -> tuple[Op, bool]:
        (full,), (copy,) = at.sources, at.copies
        larger = (self.size[0] / at.size[0], 0.0, 0.0, 0.0, self.size[1] / at.size[1], 0.0)
        smaller = (copy.width / full.width, 0.0, 0.0, 0.0, copy.height / full.height, 0.0)
        return Affine(at.size, then(then(larger, self.matrix), smaller), self.resample, self.fillcolor), True

    def source_of(self, region: Region, spec: Spec) -> Region:
        q = warp.coordinates(self.matrix, self._taps).tolist()
        sides = []
        for a, b, c in (q[:3], q[3:]):
            places = [
                a * x + b * y + c for x in (region.left, region.right - 1) for y in (region.top, region.bottom - 1)
            ]
            sides.append(((min(places) >> 32) - 1, (max(places) >> 32) + 3))
        (left, right), (top, bottom) = sides
        return Region(left, top, right, bottom)

    def apply(self, tile: Tile, out: Region, spec: Spec, prepared: Any) -> Pixels:
        fill = np.zeros(spec.bands, spec.dtype)
        if self.fillcolor is not None:
            fill = fill_pixel(self.fillcolor, spec, self.name)
        if tile.pixels.dtype != spec.dtype:  # color weighted by alpha
            fill = fill.astype(np.float32)
            fill[:-1] *= fill[-1]
        if tile.region.empty:
            return np.broadcast_to(fill, (out.height, out.width, spec.bands)).copy()
        corner, box = (tile.region.left, tile.region.top), (out.left, out.top, out.right, out.bottom)
        q = warp.coordinates(self.matrix, self._taps)
        return warp.affine(tile.pixels, corner, tile.spec.size, box, q, self._taps, fill)


def then(outer: Matrix, inner: Matrix) -> Matrix:
    """The matrix that takes a point through ``outer``, then through ``inner``."""
    a, b, c, d, e, f = outer
    g, h, i, j, k, m = inner
    return g * a + h * d, g * b + h * e, g * c + h * f + i, j * a + k * d, j * b + k * e, j * c + k * f + m
