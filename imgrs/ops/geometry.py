"""Geometry without arithmetic: crops, turns, flips and borders. Every output pixel is one input pixel, or a fill."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from imgrs.errors import ArgumentError
from imgrs.graph.op import Op, Point, Reduced, Remap, op
from imgrs.graph.parameters import checked, choice
from imgrs.kernels import move
from imgrs.ops.color import depth
from imgrs.types import Pixels, Region, Spec, Tile

Box = tuple[int, int, int, int]
Color = tuple[float, ...] | str
"""Samples in an image's own units, or a name of Pillow's."""


def whole_numbers(value: Any, count: int, meaning: str) -> tuple[int, ...]:
    """``count`` integers from a sequence, for the check of a parameter."""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise TypeError(f"must be {meaning}")
    parts = tuple(value)
    if len(parts) != count:
        raise ValueError(f"must be {meaning}")
    try:
        return tuple(int(v) if isinstance(v, float) and v.is_integer() else operator.index(v) for v in parts)
    except TypeError:
        raise TypeError(f"must be {meaning}, in whole pixels") from None


def image_size(value: Any) -> tuple[int, int]:
    """A size (width, height) of at least one pixel, for the check of a parameter."""
    width, height = whole_numbers(value, 2, "a size (width, height)")
    if width < 1 or height < 1:
        raise ValueError("must be a size (width, height) of at least 1x1")
    return width, height


def _box(value: Any) -> Box:
    left, top, right, bottom = whole_numbers(value, 4, "a box (left, top, right, bottom)")
    if right <= left or bottom <= top:
        raise ValueError("must be a box (left, top, right, bottom) with at least one pixel")
    return left, top, right, bottom


@op
class Crop(Remap):
    """Cut out ``box`` (left, top, right, bottom), which lies inside the image."""

    box: Box = checked(_box, example=(1, 2, 5, 6))

    @property
    def index_map(self) -> bool:
        return True

    def check(self, specs: Sequence[Spec]) -> None:
        if specs[0].encoding != "statistic":  # of which a part is one, too
            super().check(specs)

    def infer(self, *specs: Spec) -> Spec:
        (spec,) = specs
        box = Region(*self.box)
        if box not in spec.region:
            raise ArgumentError(f"crop: box {box} leaves the {spec.width}x{spec.height} image; pad() it first")
        return Spec(box.width, box.height, spec.bands, spec.alpha, spec.dtype, spec.encoding)

    def does_nothing(self, *specs: Spec) -> bool:
        return Region(*self.box) == specs[0].region

    def scaled(self, at: Reduced) -> tuple[Op, bool]:
        (copy,) = at.copies
        left, top = (
            min(round(first * at.scale), whole - part)
            for first, whole, part in zip(self.box[:2], copy.size, at.size, strict=True)
        )
        return Crop((left, top, left + at.size[0], top + at.size[1])), True

    def source_of(self, region: Region, spec: Spec) -> Region:
        return region.shift(self.box[0], self.box[1])

    def apply(self, tile: Tile, out: Region, spec: Spec, prepared: Any) -> Pixels:
        return tile.pixels


# Each element of the square's symmetry as (swap axes first, then flip columns, then flip rows).
ELEMENTS = {
    "flip_left_right": (False, True, False),
    "flip_top_bottom": (False, False, True),
    "rotate_180": (False, True, True),
    "transpose": (True, False, False),
    "rotate_90": (True, False, True),
    "rotate_270": (True, True, False),
    "transverse": (True, True, True),
}
"""Names are Pillow's ``Image.Transpose``; quarter turns are counter-clockwise."""
_PILLOW = ["flip_left_right", "flip_top_bottom", "rotate_90", "rotate_180", "rotate_270", "transpose", "transverse"]


@op
class Transpose(Remap):
    """Flip or turn by quarters, by Pillow's names or integers: ``"flip_left_right"``, ``"rotate_90"``, ``"transpose"``, ..."""

    method: str = choice({**{n: n for n in _PILLOW}, **dict(enumerate(_PILLOW))}, example="rotate_90")

    @property
    def index_map(self) -> bool:
        return True

    @property
    def element(self) -> tuple[bool, bool, bool]:
        """Whether axes are swapped, and then columns and rows flipped."""
        return ELEMENTS[self.method]

    def infer(self, *specs: Spec) -> Spec:
        (spec,) = specs
        width, height = (spec.height, spec.width) if self.element[0] else spec.size
        return Spec(width, height, spec.bands, spec.alpha, spec.dtype, spec.encoding)

    def scaled(self, at: Reduced) -> tuple[Op, bool]:
        return self, True

    def source_of(self, region: Region, spec: Spec) -> Region:
        swap, columns, rows = self.element
        width, height = (spec.height, spec.width) if swap else spec.size
        left, right = (width - region.right, width - region.left) if columns else (region.left, region.right)
        top, bottom = (height - region.bottom, height - region.top) if rows else (region.top, region.bottom)
        return Region(top, left, bottom, right) if swap else Region(left, top, right, bottom)

    def working_bytes(self, area: int, taken: int, spec: Spec, *sources: Spec) -> int:
        return area * spec.pixel_bytes  # turned first, then flipped

    def apply(self, tile: Tile, out: Region, spec: Spec, prepared: Any) -> Pixels:
        return move.turned(tile.pixels, *self.element)


@op
class ExifTranspose(Transpose):
    """The turn that sets a photograph upright; what is known about the image then says so too."""


def composed(first: tuple[bool, bool, bool], second: tuple[bool, bool, bool]) -> tuple[bool, bool, bool]:
    """The element that does ``first``, then ``second``."""
    swap, columns, rows = first
    if second[0]:
        columns, rows = rows, columns
    return swap != second[0], columns != second[1], rows != second[2]


def _border(value: Any) -> Box:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = (value,) * 4
    elif hasattr(value, "__len__") and len(value) == 2:
        value = (value[0], value[1], value[0], value[1])
    border = whole_numbers(value, 4, "a width, (horizontal, vertical) or (left, top, right, bottom)")
    if min(border) < 0:
        raise ValueError("must not be negative")
    return border[0], border[1], border[2], border[3]


COLORS = "a number, one for each band, or the name of a color"
"""What a color may be."""


def fill_values(value: Any) -> tuple[float, ...]:
    """A color as numbers, for the check of a parameter."""
    if isinstance(value, (str, bytes)):
        raise TypeError("must be a number, or one for each band")
    values = tuple(float(v) for v in value) if hasattr(value, "__iter__") else (float(value),)
    if not values or not all(np.isfinite(values)):
        raise ValueError("must be a number, or one for each band")
    return values


def fill_color(value: Any) -> Color:
    """A color as numbers, or its name, for the check of a parameter."""
    if not isinstance(value, str):
        try:
            return fill_values(value)
        except TypeError:
            raise TypeError(f"must be {COLORS}") from None
    from PIL import ImageColor

    try:
        ImageColor.getrgb(value)
    except ValueError:
        raise ValueError(f"must be {COLORS}") from None
    return value.lower()


def fill_pixel(color: Color, spec: Spec, name: str) -> Pixels:
    """A color (one number, or one per band, in the image's own units; or a name) as one pixel of ``spec``."""
    if isinstance(color, str):
        return _named_pixel(color, spec, name)
    if len(color) not in (1, spec.colors, spec.bands):
        several = f" or {spec.bands}" if spec.bands > 1 else ""
        raise ArgumentError(f"{name}: color must have 1{several} numbers for {spec.mode}, got {len(color)}")
    values = list(color) * spec.colors if len(color) == 1 else list(color)
    if len(values) < spec.bands:
        values.append(spec.full_scale)
    if spec.dtype != "float32" and not all(0 <= v <= spec.full_scale for v in values):
        raise ArgumentError(f"{name}: color must be from 0 to {spec.full_scale:g} for {spec.dtype}, got {color}")
    return np.array(values).astype(spec.dtype)


def _named_pixel(color: str, spec: Spec, name: str) -> Pixels:
    if spec.encoding not in ("gray", "srgb"):
        raise ArgumentError(f"{name}: color {color!r} is for gray and RGB; give numbers for {spec.mode}")
    from PIL import ImageColor

    mode = ("L" if spec.encoding == "gray" else "RGB") + "A" * spec.alpha
    return depth(np.array(ImageColor.getcolor(color, mode), np.uint8).reshape(spec.bands), spec.dtype)


@op
class Pad(Remap):
    """Add a border of ``width`` pixels (or (horizontal, vertical), or (left, top, right, bottom)).

    ``mode`` is ``"constant"`` (filled with ``color``, in the image's own units or by name) or ``"edge"`` (the nearest
    pixel).
    """

    width: Box = checked(_border, example=(2, 1, 3, 4))
    mode: str = choice({"constant": "constant", "edge": "edge", "replicate": "edge"}, default="constant")
    color: Color = checked(fill_color, default=(0.0,))

    def infer(self, *specs: Spec) -> Spec:
        (spec,) = specs
        left, top, right, bottom = self.width
        fill_pixel(self.color, spec, self.name)
        size = (spec.width + left + right, spec.height + top + bottom)
        return Spec(*size, spec.bands, spec.alpha, spec.dtype, spec.encoding)

    def does_nothing(self, *specs: Spec) -> bool:
        return not any(self.width)

    def scaled(self, at: Reduced) -> tuple[Op, bool]:
        (copy,) = at.copies
        across, down = at.size[0] - copy.width, at.size[1] - copy.height
        left, top = min(round(self.width[0] * at.scale), across), min(round(self.width[1] * at.scale), down)
        return Pad((left, top, across - left, down - top), self.mode, self.color), True

    def source_of(self, region: Region, spec: Spec) -> Region:
        shifted = region.shift(-self.width[0], -self.width[1])
        if self.mode == "constant":
            return shifted & spec.region
        left, right = (min(max(x, 0), spec.width - 1) for x in (shifted.left, shifted.right - 1))
        top, bottom = (min(max(y, 0), spec.height - 1) for y in (shifted.top, shifted.bottom - 1))
        return Region(left, top, right + 1, bottom + 1)

    def apply(self, tile: Tile, out: Region, spec: Spec, prepared: Any) -> Pixels:
        inside = tile.region.shift(self.width[0], self.width[1])
        if self.mode == "edge":
            rows = np.clip(np.arange(out.top, out.bottom), inside.top, inside.bottom - 1) - inside.top
            columns = np.clip(np.arange(out.left, out.right), inside.left, inside.right - 1) - inside.left
            return tile.pixels[rows[:, None], columns]
        pixels = np.empty((out.height, out.width, spec.bands), spec.dtype)
        pixels[:] = fill_pixel(self.color, spec, self.name)
        if not tile.region.empty:
            pixels[inside.slices_in(out)] = tile.pixels
        return pixels

    def after(self, point: Point, spec: Spec) -> Pad:
        """The border that this one becomes when ``point`` is done before it, on the image that ``spec`` describes."""
        return Pad(self.width, self.mode, point.apply_to_color((fill_pixel(self.color, spec, self.name), spec)))
