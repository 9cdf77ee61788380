"""Bands and layers: taking an image apart, putting it together, and laying one image over another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from imgrs.errors import ArgumentError
from imgrs.graph.op import ANY, COLOR, FLOAT, Op, Point, Reduced, op
from imgrs.graph.parameters import checked, choice, whole
from imgrs.kernels import color
from imgrs.ops.geometry import whole_numbers
from imgrs.types import Pixels, Region, Spec, Tile


@op
class Band(Point):
    """The band at ``index``, as a gray image; alpha is the last."""

    takes = ANY
    index: int = whole(0, 65_535, example=0)

    def infer(self, *specs: Spec) -> Spec:
        (spec,) = specs
        if self.index >= spec.bands:
            raise ArgumentError(f"band: index must be below {spec.bands} for {spec.mode} images, got {self.index}")
        return Spec(*spec.size, 1, False, spec.dtype, "gray")

    def apply(self, *pixels: Pixels, spec: Spec, prepared: Any) -> Pixels:
        return np.ascontiguousarray(pixels[0][..., self.index : self.index + 1])


_LAYOUTS = {
    "L": (1, False, "gray"),
    "LA": (2, True, "gray"),
    "RGB": (3, False, "srgb"),
    "RGBA": (4, True, "srgb"),
    "CMYK": (4, False, "cmyk"),
}


@op
class Merge(Point):
    """One image from single bands of one size and depth: L, LA, RGB, RGBA, CMYK, or any number as ``"multiband"``."""

    arity: ClassVar[tuple[int, int]] = (1, 65_536)
    mode: str = choice({**{m.lower(): m for m in _LAYOUTS}, "multiband": "multiband"}, example="LA")

    def infer(self, *specs: Spec) -> Spec:
        bands, alpha, encoding = _LAYOUTS.get(self.mode, (len(specs), False, "multiband"))
        if len(specs) != bands:
            raise ArgumentError(f"merge: {self.mode} needs {bands} bands, got {len(specs)}")
        first = super().infer(*specs)
        if any(spec.bands != 1 or spec.dtype != first.dtype for spec in specs):
            raise ArgumentError(
                "merge: every image must have one band, and all the same depth; split() or astype() them first"
            )
        return Spec(*first.size, bands, alpha, first.dtype, encoding)

    def apply(self, *pixels: Pixels, spec: Spec, prepared: Any) -> Pixels:
        return np.concatenate(pixels, axis=2)


def _position(value: Any) -> tuple[int, int]:
    x, y = whole_numbers(value, 2, "a position (x, y)")
    return x, y


def _alike(base: Spec, over: Spec) -> str:
    """What makes one image fit over another, as it is to be written: color is kept, and the depth of the lower one."""
    steps = []
    if over.dtype != base.dtype:
        steps.append(f'astype("{base.dtype}") the upper one')
    if over.colors != base.colors:
        place, gray = ("upper", over) if over.colors < base.colors else ("lower", base)
        steps.append(f'convert("RGB{"A" * gray.alpha}") the {place} one')
    return " and ".join(steps)


@op
class Blend(Op):
    """Lay the second image over the first at ``position``: W3C normal blending, source-over.

    A third input, a gray image of the second one's size, scales its opacity. The result has the first one's mode; parts
    that fall outside are cut off.
    """

    takes = COLOR
    arity: ClassVar[tuple[int, int]] = (2, 3)
    mode: str = choice({"normal": "normal"}, default="normal")
    position: tuple[int, int] = checked(_position, default=(0, 0))

    def infer(self, *specs: Spec) -> Spec:
        base, over, *mask = specs
        if (over.colors, over.dtype) != (base.colors, base.dtype):
            raise ArgumentError(f"blend: cannot lay {over} over {base}; {_alike(base, over)} first")
        if mask and (mask[0].size != over.size or mask[0].bands != 1 or mask[0].dtype != over.dtype):
            raise ArgumentError(
                f"blend: the mask must be a gray image of the upper one's size and depth, got {mask[0]}"
            )
        return base

    def demand(self, region: Region, *specs: Spec) -> tuple[Region, ...]:
        shifted = region.shift(-self.position[0], -self.position[1])
        return region, *(shifted & spec.region for spec in specs[1:])

    def scaled(self, at: Reduced) -> tuple[Op, bool]:
        return Blend(self.mode, (round(self.position[0] * at.scale), round(self.position[1] * at.scale))), True

    def working_bytes(self, area: int, taken: int, spec: Spec, *sources: Spec) -> int:
        return min(area, taken - area) * 4 * FLOAT * (1 + spec.colors)  # opacities and weighted colors

    def compute(self, out: Region, tiles: Sequence[Tile], spec: Spec, prepared: Any) -> Pixels:
        base = tiles[0].crop(out)
        if len(tiles) < 2 or tiles[1].region.empty:
            return base
        where = out.shift(-self.position[0], -self.position[1]) & tiles[1].spec.region
        if where.empty:
            return base
        result = base.copy()
        rows, columns = where.shift(*self.position).slices_in(out)
        mask = tiles[2].crop(where) if len(tiles) > 2 else None
        result[rows, columns] = color.source_over(
            base[rows, columns], spec.alpha, tiles[1].crop(where), tiles[1].spec.alpha, mask
        )
        return result
