"""What an operation is, and the six localities that carry all logic about regions.

An op is a frozen value: a name and parameters. It says what comes out (``infer``), which part of its inputs a part of
its output needs (``demand``), and computes that part (``compute``). Concrete ops derive from a locality, write a
docstring, their parameters and one line that calls a kernel, and live in ``imgrs.ops``; none is known here.
"""

from __future__ import annotations

import dataclasses
import json
import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeVar, dataclass_transform

import numpy as np
import numpy.typing as npt

from imgrs.errors import ArgumentError
from imgrs.graph import parameters
from imgrs.types import Pixels, Region, Spec, Tile

C = TypeVar("C", bound=type[Any])

BLOCK = 384 << 10
"""Bytes of pixels that point ops take at a time, so that they stay in the processor's cache."""
FLOAT = 4
"""Bytes of the float32 samples in which color weighted by alpha is filtered."""


@dataclass_transform(
    frozen_default=True,
    field_specifiers=(
        parameters.number,
        parameters.whole,
        parameters.flag,
        parameters.choice,
        parameters.checked,
        dataclasses.field,
    ),
)
def op(cls: C) -> C:
    """Declare an operation: a frozen dataclass whose fields are its parameters."""
    declared: C = dataclass(frozen=True)(cls)  # type: ignore[assignment]  # the same class, completed
    return declared


@dataclass(frozen=True)
class Takes:
    """The kinds of image that an op accepts."""

    encodings: frozenset[str]
    dtypes: frozenset[str]

    def __contains__(self, spec: Spec) -> bool:
        return spec.encoding in self.encodings and spec.dtype in self.dtypes


_DEPTHS = frozenset({"uint8", "uint16", "float32"})
COLOR = Takes(frozenset({"gray", "srgb"}), _DEPTHS)
"""L, LA, RGB and RGBA at 8, 16 and 32 bits: what tone and color ops take."""
SAMPLES = Takes(frozenset({"gray", "srgb", "multiband"}), _DEPTHS)
"""The same, and any number of bands: what works on each sample alone."""
ANY = Takes(frozenset({"gray", "srgb", "cmyk", "multiband"}), _DEPTHS | {"bool"})
"""Every image: what moves pixels and does not change them."""


@dataclass(frozen=True)
class Reduced:
    """An op's place in a preview: its result is to be ``size``, at ``scale`` (below 1), as are the images it is applied to."""

    scale: float
    size: tuple[int, int]
    sources: tuple[Spec, ...]
    """Its images at full scale."""
    copies: tuple[Spec, ...]
    """The same as they are in the preview."""


class Op:
    """What is done to images, as a value: frozen, comparable, picklable, and unaware of graphs."""

    name: ClassVar[str] = "op"
    """What listings and messages call it: the class name in snake case unless given."""
    version: ClassVar[int] = 1
    """Raised when the same parameters come to mean other pixels, so that keys differ."""
    takes: ClassVar[Takes] = ANY
    arity: ClassVar[tuple[int, int]] = (1, 1)
    """How many inputs it has, at least and at most."""
    statistics: ClassVar[int] = 0
    """How many of these are statistics, not images: the last ones."""
    lasting: ClassVar[bool] = True
    """Whether equal keys mean equal pixels in every process and at any time, so that results may be kept between runs."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def __post_init__(self) -> None:
        parameters.normalize(self.name, self)

    @cached_property
    def encoded(self) -> bytes:
        """The canonical text of the op (name, version, parameters), the same in every process."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]  # ops are
        return json.dumps([self.name, self.version, fields], sort_keys=True, default=_canonical).encode()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "encoded"}

    def check(self, specs: Sequence[Spec]) -> None:
        """Raise ``ArgumentError`` for an input of a kind that the op does not take."""
        kinds = [spec.encoding == "statistic" for spec in specs]
        check_kinds(self.name, self.arity[1] - self.statistics, self.statistics, kinds)
        for spec in specs:
            if spec.encoding != "statistic" and spec not in self.takes:
                raise ArgumentError(f"{self.name} does not take {spec.mode} {spec.dtype} images; {self._way_out(spec)}")

    def _way_out(self, spec: Spec) -> str:
        if spec.encoding in self.takes.encodings:
            wanted = "uint8" if "uint8" in self.takes.dtypes else min(self.takes.dtypes)
            return 'convert("L") first' if spec.mode == "1" else f'astype("{wanted}") first'
        if spec.encoding == "multiband":
            return "choose bands with split() and imgrs.merge() first"
        return 'convert("RGB") first' if "srgb" in self.takes.encodings else 'convert("L") first'

    def infer(self, *specs: Spec) -> Spec:
        """What comes out, known without pixels. Raises ``ArgumentError`` for inputs that do not fit together."""
        return specs[0]

    def does_nothing(self, *specs: Spec) -> bool:
        """Whether every image of these specs comes out as it went in, bit for bit."""
        return False

    @abstractmethod
    def demand(self, region: Region, *specs: Spec) -> tuple[Region, ...]:
        """The part of each input that ``region`` of the output needs, clipped to the input; empty where none."""

    def prepare(self, *specs: Spec) -> Any:
        """Tables and coefficients, computed once when planning and handed to every ``compute``; they pickle."""
        return None

    @abstractmethod
    def compute(self, out: Region, tiles: Sequence[Tile], spec: Spec, prepared: Any) -> Pixels:
        """The pixels of ``out``, of the image that ``spec`` describes, from tiles that cover ``demand(out)``."""

    def source_scale(self, scale: float, spec: Spec, *sources: Spec) -> float:
        """At which scale images are needed for a preview of the result at ``scale``; 1 or more is full scale."""
        return scale

    def scaled(self, at: Reduced) -> tuple[Op, bool] | None:
        """The op that does this to smaller copies, and whether it means the same there, but for the scale.

        None where there is none: the op is then done at full scale, and its result made smaller.
        """
        return None

    def working_bytes(self, area: int, taken: int, spec: Spec, *sources: Spec) -> int:
        """The most memory, in bytes, that ``compute`` takes beside its tiles and what comes out.

        It makes ``area`` pixels of the image that ``spec`` describes from ``taken`` pixels of all ``sources`` together.
        What does not grow with these is left out.
        """
        return 0

    def compute_into(self, target: Pixels, out: Region, tiles: Sequence[Tile], spec: Spec, prepared: Any) -> None:
        """The same, written to ``target``, an array of their shape, which may be part of a larger one."""
        target[...] = self.compute(out, tiles, spec, prepared)

    def apply_to(self, *arrays: npt.ArrayLike) -> npt.NDArray[Any]:
        """Run the op on whole images given as arrays (two axes: gray, three: RGB or RGBA), outside any graph."""
        tiles = []
        for array in arrays:
            pixels = np.asarray(array)
            spec = spec_of(pixels)
            tiles.append(Tile(spec.region, pixels.reshape(spec.height, spec.width, spec.bands), spec))
        specs = [tile.spec for tile in tiles]
        self.check(specs)
        result = self.infer(*specs)
        return self.compute(result.region, tiles, result, self.prepare(*specs)).reshape(result.shape)


def check_kinds(name: str, images: int, statistics: int, are_statistics: Sequence[bool | None]) -> None:
    """Raise ``ArgumentError`` unless the first ``images`` inputs are images, and others statistics; None may be either."""
    for place, is_statistic in enumerate(are_statistics):
        wanted = statistics > 0 and place >= images
        if is_statistic is not None and is_statistic != wanted:
            way = "needs a statistic, such as histogram()" if wanted else "needs an image, not a statistic"
            raise ArgumentError(f"{name} {way}, as input {place + 1}")


def spec_of(array: npt.NDArray[Any]) -> Spec:
    """What an array is as an image: gray with two axes, else by its number of bands as Pillow has it."""
    height, width = array.shape[:2]
    bands = array.shape[2] if array.ndim == 3 else 1
    encoding = {1: "gray", 2: "gray", 3: "srgb", 4: "srgb"}.get(bands, "multiband")
    return Spec(width, height, bands, bands in (2, 4), array.dtype.name, encoding)


def _canonical(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (np.integer, np.floating, np.bool_)):
        return value.item()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [type(value).__name__, {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}]
    raise TypeError(
        f"{type(value).__name__} has no canonical text; a parameter is numbers, text, bytes or tuples of them"
    )


class Source(Op):
    """Makes an image from nothing but its parameters: a file, a color, an array. Has no inputs."""

    arity: ClassVar[tuple[int, int]] = (0, 0)
    reads_regions: ClassVar[bool] = True
    unit: ClassVar[tuple[int, int]] = (1, 1)
    """Width and height of what is decoded at a time."""
    decoding_bytes: ClassVar[int] = 0
    """The most memory that decoding takes beside what comes out: of a unit where ``reads_regions``, else of the image."""

    lag_bytes: ClassVar[int] = 0
    """Bytes of what comes out that are in memory at a time, at most, where it is decoded to a map of a file."""
    keeps_units: ClassVar[bool] = False
    """Whether decoded units that several tiles need are kept for a while."""
    streams: ClassVar[bool] = False
    """Whether ``strips`` comes in pieces that are small beside the image."""

    def at_size(self, size: tuple[int, int]) -> Source:
        """The same image as small as it can be read without being smaller than ``size``."""
        return self

    def decode_into(self, out: Pixels) -> None:
        """Decode the whole image to an array of its shape."""
        raise NotImplementedError(f"{self.name} reads regions")

    def strips(self) -> Iterator[Pixels]:
        """The whole image from the top down, in pieces of full width."""
        yield self.read(self.infer().region)

    def demand(self, region: Region, *specs: Spec) -> tuple[Region, ...]:
        return ()

    @abstractmethod
    def read(self, region: Region) -> Pixels:
        """The pixels of ``region``."""

    def stored_bytes(self, region: Region) -> int:
        """How many bytes ``read(region)`` fetches from a file."""
        return 0

    def compute(self, out: Region, tiles: Sequence[Tile], spec: Spec, prepared: Any) -> Pixels:
        return self.read(out)


class Point(Op):
    """Each output pixel depends on the input pixels at the same place, and on statistics as a whole."""

    def infer(self, *specs: Spec) -> Spec:
        images = [spec for spec in specs if spec.encoding != "statistic"]
        for other in images[1:]:
            if other.size != images[0].size:
                raise ArgumentError(
                    f"{self.name}: images must have one size, got {_size(images[0])} and {_size(other)}; "
                    "resize(), crop() or pad() one of them first"
                )
        return images[0]

    def demand(self, region: Region, *specs: Spec) -> tuple[Region, ...]:
        return tuple(spec.region if spec.encoding == "statistic" else region for spec in specs)

    def scaled(self, at: Reduced) -> tuple[Op, bool] | None:
        return self, True

    @abstractmethod
    def apply(self, *pixels: Pixels, spec: Spec, prepared: Any) -> Pixels:
        """The output for input arrays of one height and width; ``spec`` is the first input's.

        Statistics come whole, after the images.
        """

    def apply_into(self, target: Pixels, *pixels: Pixels, spec: Spec, prepared: Any) -> None:
        """The same, written to ``target``, whose rows may lie apart."""
        target[...] = self.apply(*pixels, spec=spec, prepared=prepared)

    def apply_to_color(self, *colors: tuple[npt.ArrayLike, Spec]) -> tuple[float, ...]:
        """What becomes of one color (a sample per band) of each image: point ops know no place."""
        specs = [spec for _, spec in colors]
        pixels = [np.asarray(color).astype(spec.dtype).reshape(1, 1, spec.bands) for color, spec in colors]
        result = self.apply(*pixels, spec=specs[0], prepared=self.prepare(*specs))
        return tuple(float(sample) for sample in result.reshape(-1))

    def compute(self, out: Region, tiles: Sequence[Tile], spec: Spec, prepared: Any) -> Pixels:
        target = np.empty((out.height, out.width, spec.bands), spec.dtype)
        self.compute_into(target, out, tiles, spec, prepared)
        return target

    def compute_into(self, target: Pixels, out: Region, tiles: Sequence[Tile], spec: Spec, prepared: Any) -> None:
        whole = [None if tile.spec.encoding == "statistic" else tile.crop(out) for tile in tiles]
        largest = max(pixels.nbytes for pixels in (target, *whole) if pixels is not None)
        rows = max(1, BLOCK * out.height // max(1, largest))
        for top in range(0, out.height, rows):
            blocks = (
                tile.pixels if pixels is None else np.ascontiguousarray(pixels[top : top + rows])
                for tile, pixels in zip(tiles, whole, strict=True)
            )
            self.apply_into(target[top : top + rows], *blocks, spec=tiles[0].spec, prepared=prepared)


class Sample(Point):
    """Each output sample depends on that sample alone; alpha is left alone.

    The author writes ``curve``. On 8- and 16-bit images it is run on every possible value into a table of that dtype;
    on float images it is evaluated in float64 and rounded to float32 once.
    """

    takes = SAMPLES

    @abstractmethod
    def curve(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The formula, element by element, on the 0..255 scale; not rounded, not clipped."""

    @property
    def affine(self) -> tuple[float, float] | None:
        """``(a, b)`` where the curve is ``a * x + b``, else None: floats then take a quicker path."""
        return None

    def does_nothing(self, *specs: Spec) -> bool:
        return self.affine == (1.0, 0.0)

    def prepare(self, *specs: Spec) -> Any:
        from imgrs.kernels import tone

        return None if specs[0].dtype == "float32" else tone.table_of(self.curve, specs[0].dtype)

    def apply(self, *pixels: Pixels, spec: Spec, prepared: Any) -> Pixels:
        from imgrs.kernels import tone

        (image,) = pixels
        colors = spec.colors
        if prepared is not None:
            return tone.apply_table(image, prepared, colors)
        if self.affine is not None:
            scale, offset = self.affine
            return tone.affine_f32(image, scale, offset / 255.0, colors)
        return tone.curve_f32(image, self.curve, colors)

    def apply_into(self, target: Pixels, *pixels: Pixels, spec: Spec, prepared: Any) -> None:
        from imgrs.kernels import tone

        if prepared is None:
            super().apply_into(target, *pixels, spec=spec, prepared=prepared)
        else:
            tone.apply_table(pixels[0], prepared, spec.colors, target)

    def compute_into(self, target: Pixels, out: Region, tiles: Sequence[Tile], spec: Spec, prepared: Any) -> None:
        if prepared is None:
            super().compute_into(target, out, tiles, spec, prepared)
        else:  # a table needs no cache
            self.apply_into(target, tiles[0].crop(out), spec=tiles[0].spec, prepared=prepared)


class Window(Op):
    """Each output pixel depends on the input pixels within ``margin`` of it; the image's own edge is replicated.

    ``alpha`` says what becomes of opacity: ``"straight"`` filters the color bands and leaves alpha alone;
    ``"premultiplied"`` filters color weighted by alpha, in float32, and alpha itself.
    """

    takes = COLOR
    alpha: ClassVar[str] = "straight"

    @property
    @abstractmethod
    def margin(self) -> tuple[int, int]:
        """How far the window reaches, across and down, in pixels."""

    @abstractmethod
    def apply(self, padded: Pixels, at: Region, prepared: Any) -> Pixels:
        """The pixels of ``at`` from an array that reaches ``margin`` further on each side.

        A float32 array gives a float32 array, neither rounded nor clipped, whatever the image's dtype.
        """

    def scaled(self, at: Reduced) -> tuple[Op, bool] | None:
        return self, False

    def demand(self, region: Region, *specs: Spec) -> tuple[Region, ...]:
        return (region.grow(*self.margin) & specs[0].region,)

    def working_bytes(self, area: int, taken: int, spec: Spec, *sources: Spec) -> int:
        (source,) = sources
        if source.alpha and self.alpha == "premultiplied":
            weighted = weighting_bytes(area, taken, source.bands)
        else:  # the tile with its edges replicated, or the bands that are filtered
            weighted = taken * source.pixel_bytes + (area * spec.pixel_bytes if source.alpha else 0)
        return weighted + self.filter_bytes(area * spec.bands, taken * source.bands, source)

    def filter_bytes(self, samples: int, taken: int, source: Spec) -> int:
        """The most memory that ``apply`` takes, in bytes, beside ``taken`` samples that it gets and those that it makes."""
        return 0

    def compute(self, out: Region, tiles: Sequence[Tile], spec: Spec, prepared: Any) -> Pixels:
        (tile,) = tiles
        padded = replicate(tile, out.grow(*self.margin))
        if not tile.spec.alpha:
            return self.apply(padded, out, prepared)
        if self.alpha == "premultiplied":
            from imgrs.kernels import color

            filtered = self.apply(color.premultiply(padded), out, prepared)
            return color.unpremultiply(filtered, tile.spec.dtype)
        colors = self.apply(np.ascontiguousarray(padded[..., :-1]), out, prepared)
        return np.concatenate([colors, tile.crop(out)[..., -1:]], axis=2)


class Remap(Op):
    """Each output pixel comes from some other place of one input: crops, turns, resizes, warps.

    ``index_map`` is true where every output pixel is one input pixel, unchanged: then anything that works on samples
    may be done on either side. ``alpha`` is as for ``Window``; an index map moves alpha with the rest.
    """

    alpha: ClassVar[str] = "straight"

    @property
    def index_map(self) -> bool:
        return False

    @abstractmethod
    def source_of(self, region: Region, spec: Spec) -> Region:
        """The box of the input (described by ``spec``) that ``region`` of the output is made from."""

    @abstractmethod
    def apply(self, tile: Tile, out: Region, spec: Spec, prepared: Any) -> Pixels:
        """The pixels of ``out`` (of the output described by ``spec``) from a tile that covers its source.

        A float32 tile gives float32 pixels, neither rounded nor clipped.
        """

    def demand(self, region: Region, *specs: Spec) -> tuple[Region, ...]:
        return (self.source_of(region, specs[0]) & specs[0].region,)

    def working_bytes(self, area: int, taken: int, spec: Spec, *sources: Spec) -> int:
        weighs = spec.alpha and self.alpha == "premultiplied" and not self.index_map
        return weighting_bytes(area, taken, spec.bands) if weighs else 0

    def compute(self, out: Region, tiles: Sequence[Tile], spec: Spec, prepared: Any) -> Pixels:
        (tile,) = tiles
        if self.does_nothing(tile.spec):  # also to color under alpha 0, which weighting would lose
            return tile.crop(out)
        wanted = self.demand(out, tile.spec)[0]
        tile = Tile(wanted, tile.crop(wanted), tile.spec)
        if not (tile.spec.alpha and self.alpha == "premultiplied") or self.index_map:
            return self.apply(tile, out, spec, prepared)
        from imgrs.kernels import color

        weighted = Tile(tile.region, color.premultiply(tile.pixels), tile.spec)
        return color.unpremultiply(self.apply(weighted, out, spec, prepared), tile.spec.dtype)


class Fold(Op):
    """A statistic of the whole image, gathered tile by tile; exact, so that it does not depend on the tiling."""

    takes = SAMPLES

    @abstractmethod
    def partial(self, tile: Tile) -> Any:
        """What one tile contributes; it pickles."""

    @abstractmethod
    def combine(self, first: Any, second: Any) -> Any:
        """Two contributions as one; associative and commutative to the last bit."""

    @abstractmethod
    def finish(self, total: Any, spec: Spec) -> Pixels:
        """The statistic, shaped (height, width, bands) as ``infer`` says; ``spec`` is the input's."""

    def scaled(self, at: Reduced) -> tuple[Op, bool] | None:
        return self, False

    def demand(self, region: Region, *specs: Spec) -> tuple[Region, ...]:
        return (specs[0].region,)

    def compute(self, out: Region, tiles: Sequence[Tile], spec: Spec, prepared: Any) -> Pixels:
        (tile,) = tiles
        return self.finish(self.partial(tile), tile.spec)


def replicate(tile: Tile, wanted: Region) -> Pixels:
    """The pixels of ``wanted``; beyond the image the nearest edge pixel. The tile covers what is inside."""
    inside = wanted & tile.spec.region
    pixels = tile.crop(inside)
    if inside == wanted:
        return np.ascontiguousarray(pixels)
    rows = (inside.top - wanted.top, wanted.bottom - inside.bottom)
    columns = (inside.left - wanted.left, wanted.right - inside.right)
    return np.pad(pixels, (rows, columns, (0, 0)), mode="edge")


def weighting_bytes(area: int, taken: int, bands: int) -> int:
    """What color weighted by alpha takes, in bytes: ``taken`` pixels while they are weighted, or they and what comes out."""
    return FLOAT * bands * max(2 * taken, taken + area)


def _size(spec: Spec) -> str:
    return f"{spec.width}x{spec.height}"
