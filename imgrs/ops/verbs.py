"""Verbs whose meaning depends on the image, as values: their parameters, checked before there is an image.

``Image``'s methods of these names take them apart; a pipeline keeps them until it meets an image. Ops are the other
verbs: those mean the same on every image.
"""

from __future__ import annotations

import dataclasses
import json
import math
import operator
from functools import cached_property
from typing import Any, ClassVar

from imgrs.errors import ArgumentError
from imgrs.graph import parameters
from imgrs.graph.op import op
from imgrs.graph.parameters import checked, choice, flag, number, whole
from imgrs.ops import resample, source, warp
from imgrs.ops.geometry import Color, fill_color, fill_pixel, fill_values, image_size
from imgrs.ops.resample import Resize as ToSize
from imgrs.ops.resample import part
from imgrs.types import Spec


class Verb:
    """A method of ``Image`` with its parameters, under the names that the method has for them."""

    name: ClassVar[str] = "verb"
    version: ClassVar[int] = 1
    arity: ClassVar[tuple[int, int]] = (1, 1)

    def __post_init__(self) -> None:
        parameters.normalize(self.name, self)

    @cached_property
    def encoded(self) -> bytes:
        """The canonical text of the verb, the same in every process."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        return json.dumps(["verb", self.name, self.version, fields], sort_keys=True).encode()


@op
class Rotate(Verb):
    """A turn by ``angle`` degrees counter-clockwise, as Pillow's ``rotate`` has it."""

    name = "rotate"
    angle: float = number(-1e9, 1e9, example=33)
    resample: str = choice(warp.FILTERS, default="bicubic")
    expand: bool = flag(default=False)
    center: tuple[float, float] | None = checked(warp.point, default=None)
    translate: tuple[float, float] | None = checked(warp.point, default=None)
    fillcolor: Color | None = checked(warp.fill, default=None)

    def of(self, size: tuple[int, int]) -> tuple[tuple[int, int], warp.Matrix]:
        """The size and matrix of the ``Affine`` that turns an image of ``size``."""
        width, height = size
        x, y = self.center or (width / 2, height / 2)
        right, down = self.translate or (0.0, 0.0)
        turn = math.radians(self.angle % 360)
        a, b = round(math.cos(turn), 15), round(-math.sin(turn), 15)
        d, e = -b, a
        c = a * (-x - right) + b * (-y - down) + x
        f = d * (-x - right) + e * (-y - down) + y
        if self.expand:
            corners = [(0, 0), (width, 0), (width, height), (0, height)]
            xs = [a * px + b * py + c for px, py in corners]
            ys = [d * px + e * py + f for px, py in corners]
            wide, high = math.ceil(max(xs)) - math.floor(min(xs)), math.ceil(max(ys)) - math.floor(min(ys))
            left, up = -(wide - width) / 2, -(high - height) / 2
            c, f = a * left + b * up + c, d * left + e * up + f
            width, height = wide, high
        return (width, height), (a, b, c, d, e, f)


@op
class Thumbnail(Verb):
    """Shrink to fit ``size`` (width, height), keeping the aspect."""

    name = "thumbnail"
    size: tuple[int, int] = checked(image_size, example=(20, 20))
    resample: str = choice(resample.FILTERS, default="bicubic")


def _side(value: Any) -> int | None:
    return None if value is None else int(parameters.checked_by(whole(1, 1 << 31), value))


@op
class Resize(Verb):
    """Resize to a ``width`` or a ``height``; the other side keeps the proportions of the image, or of ``box``."""

    name = "resize"
    width: int | None = checked(_side, default=None, example=20)
    height: int | None = checked(_side, default=None)
    resample: str = choice(resample.FILTERS, default="lanczos")
    box: tuple[float, float, float, float] | None = checked(part, default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.width is None) == (self.height is None):
            raise ArgumentError(
                f"resize: needs size, or one of width and height, got width={self.width} and height={self.height}"
            )

    def of(self, size: tuple[int, int]) -> ToSize:
        """The op for an image of ``size``: halves are rounded up, and a side has at least 1 pixel."""
        left, top, right, bottom = self.box or (0, 0, *size)
        wide, high = right - left, bottom - top
        sides = (
            self.width or max(1, math.floor((self.height or 0) * wide / high + 0.5)),
            self.height or max(1, math.floor((self.width or 0) * high / wide + 0.5)),
        )
        return ToSize(sides, self.resample, self.box)


@op
class AutoContrast(Verb):
    """Stretch each band to full range by the image's own histogram."""

    name = "auto_contrast"
    cutoff: float = number(0, 49, default=0.0)


@op
class ExifTranspose(Verb):
    """Turn the image as its own EXIF asks."""

    name = "exif_transpose"


@op
class RemoveTransparency(Verb):
    """Lay the image over ``background``, where it has alpha."""

    name = "remove_transparency"
    background: Color = checked(fill_color, default="white")


@op
class Page(Verb):
    """Another image of the file that was opened."""

    name = "page"
    number: int = whole(0, 1 << 31, example=0)


def _channel(value: Any) -> int | str:
    if isinstance(value, str):
        if len(value) != 1 or value not in "LARGBCMYK":
            raise ValueError("must be an index or a letter, such as 'R' or 'A'")
        return value
    index: int = parameters.checked_by(whole(0, 65_535), value)
    return index


@op
class GetChannel(Verb):
    """One band, by its index or its letter."""

    name = "getchannel"
    channel: int | str = checked(_channel, example="R")


Span = tuple[int | None, int | None]


def _span(value: Any) -> Span:
    meaning = "(first, last), each a whole number or None"
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise TypeError(f"must be {meaning}")
    parts = tuple(value)
    if len(parts) != 2:
        raise ValueError(f"must be {meaning}")
    try:
        start, stop = (part if part is None else operator.index(part) for part in parts)
    except TypeError:
        raise TypeError(f"must be {meaning}") from None
    return start, stop


def _band(value: Any) -> int | None:
    if value is None:
        return None
    index: int = parameters.checked_by(whole(-65_536, 65_535), value)
    return index


@op
class Slice(Verb):
    """NumPy's slice of rows and columns, and one band of them."""

    name = "slice"
    rows: Span = checked(_span, default=(None, None))
    columns: Span = checked(_span, default=(None, None))
    band: int | None = checked(_band, default=None)

    @classmethod
    def of(cls, key: Any) -> Slice:
        """What stands in the brackets. Raises ``ArgumentError`` for what no image takes."""
        keys = key if isinstance(key, tuple) else (key,)
        if len(keys) > 3 or not all(isinstance(k, slice) and k.step in (None, 1) for k in keys[:2]):
            raise ArgumentError(f"slice: must be image[top:bottom, left:right] with steps of 1, got {key!r}")
        rows, columns = (*((k.start, k.stop) for k in keys[:2]), (None, None))[:2]
        return cls(rows, columns, keys[2] if len(keys) > 2 else None)

    @property
    def key(self) -> tuple[Any, ...]:
        """What stands in the brackets."""
        return slice(*self.rows), slice(*self.columns), *(() if self.band is None else (self.band,))


@op
class ShrinkOnLoad(Verb):
    """Decode a file as opened at 1/``shrink``, as ``thumbnail`` does with a JPEG; any other image is reduced as much.

    Where an image is not a file as opened, or its format does not decode at that scale, each pixel is the mean of a square
    of ``shrink`` x ``shrink`` pixels, and sizes are rounded up: ``resize(..., "box")``.
    """

    name = "shrink_on_load"
    shrink: int = whole(2, 1 << 20, example=2)


_DEEP = ("uint8", "uint16", "float32")
_LAYOUTS: dict[str, tuple[int, bool, str, tuple[str, ...]]] = {
    "1": (1, False, "gray", ("bool",)),
    "L": (1, False, "gray", ("uint8",)),
    "I;16": (1, False, "gray", ("uint16",)),
    "F": (1, False, "gray", ("float32",)),
    "LA": (2, True, "gray", _DEEP),
    "RGB": (3, False, "srgb", _DEEP),
    "RGBA": (4, True, "srgb", _DEEP),
    "CMYK": (4, False, "cmyk", _DEEP),
}
"""Bands, alpha, encoding, and the depths that a mode has."""


@op
class New(Verb):
    """An image of one color; ``color`` holds one sample for each band, in the image's own units."""

    name = "new"
    arity: ClassVar[tuple[int, int]] = (0, 0)
    mode: str = choice({mode.lower(): mode for mode in _LAYOUTS}, example="RGB")
    dtype: str = choice({name: name for name in ("bool", *_DEEP)}, example="uint8")
    size: tuple[int, int] = checked(image_size, example=(20, 10))
    color: tuple[float, ...] = checked(fill_values, example=(1, 2, 3))

    def __post_init__(self) -> None:
        super().__post_init__()
        bands, _, _, dtypes = _LAYOUTS[self.mode]
        if self.dtype not in dtypes:
            raise ArgumentError(f"new: dtype of {self.mode} must be {' or '.join(dtypes)}, got {self.dtype!r}")
        if len(self.color) != bands:
            raise ArgumentError(f"new: color of {self.mode} must have {bands} numbers, got {len(self.color)}")
        pixel = fill_pixel(self.color, self.spec, self.name)
        object.__setattr__(self, "color", tuple(float(v) for v in pixel))

    @classmethod
    def of(cls, made: source.New) -> New:
        return cls(made.spec.mode, made.spec.dtype, made.spec.size, made.color)

    @property
    def spec(self) -> Spec:
        bands, alpha, encoding, _ = _LAYOUTS[self.mode]
        return Spec(*self.size, bands, alpha, self.dtype, encoding)

    @property
    def source(self) -> source.New:
        """The op that makes it."""
        return source.New(self.spec, self.color)
