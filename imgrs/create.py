"""How images come to be: from files, colors, arrays, bytes and Dask arrays."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imgrs.errors import ArgumentError, ArgumentTypeError, said_by
from imgrs.graph.node import Node
from imgrs.graph.op import spec_of
from imgrs.image import Image
from imgrs.ops import bands, geometry, source
from imgrs.types import Spec

if TYPE_CHECKING:
    import dask.array

_MODES = {
    "1": (1, False, "bool", "gray"),
    "L": (1, False, "uint8", "gray"),
    "LA": (2, True, "uint8", "gray"),
    "I;16": (1, False, "uint16", "gray"),
    "F": (1, False, "float32", "gray"),
    "RGB": (3, False, "uint8", "srgb"),
    "RGBA": (4, True, "uint8", "srgb"),
    "CMYK": (4, False, "uint8", "cmyk"),
}
_numbers = itertools.count()


def open(source_: Any, /, *, page: int = 0, orient: bool = False, on_error: str = "raise") -> Image:
    """Open a path, a URL, bytes or a binary file object. Only the header is read; the content decides the format.

    A path or a URL may be that of a folder that is an image, a Zarr store. ``page`` picks one of several images in the
    file, from 0 (of a store: a time and a depth, the depth changing first); ``orient=True`` sets a photograph upright, as
    ``exif_transpose`` does. A damaged file is an error when its pixels are read; with ``on_error="fill"`` each tile,
    strip or file that cannot be decoded is 0 instead, a ``DamagedImageWarning`` says so once, and ``damaged()`` lists
    them.

    Raises ``ImageNotFoundError``, ``UnsupportedFormatError``, ``CorruptImageError`` or ``LimitError``.
    """
    from imgrs.io import open_source
    from imgrs.io.options import check_flag

    with said_by("open"):
        turned = check_flag("orient", orient)
    if on_error not in ("raise", "fill"):
        raise ArgumentError(f'open: on_error must be "raise" or "fill", got {on_error!r}')
    reader = open_source(source_, fill=on_error == "fill")
    img = Image(Node(source.Open(reader if page == 0 else reader.at(_page("open", page)))))
    return img.exif_transpose() if turned else img


def open_raw(
    source_: Any, /, mode: str, size: tuple[int, int], *, dtype: npt.DTypeLike | None = None, offset: int = 0
) -> Image:
    """Samples without a header, in rows from the top, pixel after pixel; read by region, as needed.

    ``mode`` and ``size`` say what the samples mean. ``dtype`` is theirs, where it is not the mode's own: ``"uint16"``, or
    ``">u2"`` where the high byte comes first. ``offset`` is the byte at which they begin.

    Raises ``ImageNotFoundError``, or ``TruncatedImageError`` where the file is shorter than that.
    """
    from imgrs.io.raw import open_samples

    spec = _spec("open_raw", mode, size)
    stored = np.dtype(spec.dtype if dtype is None else dtype)
    if stored.name not in ("uint8", "uint16", "float32", "bool"):
        raise ArgumentTypeError(f"open_raw: dtype must be uint8, uint16, float32 or bool, got {stored}")
    if spec.bands == 1 and stored.name != spec.dtype:
        one = {"uint8": "L", "uint16": "I;16", "float32": "F", "bool": "1"}[stored.name]
        raise ArgumentError(f"open_raw: samples of {stored} in one band are of mode {one!r}, got {mode!r}")
    if stored.name == "bool" and spec.bands > 1:
        raise ArgumentError(f"open_raw: bool samples are of mode '1', got {mode!r}")
    if isinstance(offset, bool) or not isinstance(offset, (int, np.integer)) or offset < 0:
        raise ArgumentError(f"open_raw: offset must be a number of bytes, got {offset!r}")
    spec = replace(spec, dtype=stored.name)
    return Image(Node(source.Open(open_samples(source_, spec, stored.str, int(offset)))))


def new(mode: str, size: tuple[int, int], color: Any = 0) -> Image:
    """An image of one color: ``color`` is one number, or one per band, in the mode's own units. Default is black.

    Of gray and RGB it may be a name or a code, as Pillow has them: ``"white"``, ``"#c87828"``, ``"hsl(30, 50%, 40%)"``.

    >>> import imgrs
    >>> imgrs.new("RGB", (4, 3), (200, 120, 40)).compute()[0, 0].tolist()
    [200, 120, 40]
    """
    spec = _spec("new", mode, size)
    if isinstance(color, str):
        try:
            known = geometry.fill_color(color)
        except ValueError as error:
            raise ArgumentError(f"new: color {error}, got {color!r}") from None
        color = tuple(geometry.fill_pixel(known, spec, "new").tolist())
    values = tuple(color) if isinstance(color, Sequence) else (color,)
    if not all(isinstance(v, (int, float, np.integer, np.floating)) and np.isfinite(v) for v in values):
        raise ArgumentTypeError(f"new: color must be a number, or one for each band, got {color!r}")
    if color == 0:
        values = (0,) * spec.bands
    pixel = geometry.fill_pixel(tuple(float(v) for v in values), spec, "new")
    return Image(Node(source.New(spec, tuple(float(v) for v in pixel))))


def fromarray(array: npt.ArrayLike, mode: str | None = None) -> Image:
    """An array of (height, width) or (height, width, bands) as an image; it is viewed, not copied, until computed.

    dtypes: uint8, uint16, float32 and bool, others are refused, never wrapped. Bands: 1 is L, 2 LA, 3 RGB, 4 RGBA, or
    ``"CMYK"`` by ``mode``; other counts are multiband. Do not change the array afterwards.

    >>> import imgrs, numpy as np
    >>> img = imgrs.fromarray(np.zeros((30, 40, 3), "uint16"))
    >>> img.size, img.mode, img.dtype
    ((40, 30), 'RGB', dtype('uint16'))
    """
    pixels = np.asarray(array)
    if pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise ArgumentError(f"fromarray: array must be (height, width) or (height, width, bands), got {pixels.shape}")
    if pixels.dtype.name not in ("uint8", "uint16", "float32", "bool"):
        raise ArgumentTypeError(
            f"fromarray: array must be uint8, uint16, float32 or bool, got {pixels.dtype}; array.astype() it first"
        )
    view = pixels.reshape(*pixels.shape[:2], -1).view()
    view.flags.writeable = False
    spec = _with_mode("fromarray", spec_of(view), mode)
    return Image(Node(source.FromArray(view, spec, next(_numbers))))


def frombytes(mode: str, size: tuple[int, int], data: bytes) -> Image:
    """Samples in rows, as ``tobytes`` gives them.

    >>> import imgrs
    >>> imgrs.frombytes("L", (3, 2), bytes(range(6))).compute().tolist()
    [[0, 1, 2], [3, 4, 5]]
    """
    spec = _spec("frombytes", mode, size)
    if len(data) != spec.nbytes:
        raise ArgumentError(f"frombytes: {spec} takes {spec.nbytes} bytes, got {len(data)}")
    array = np.frombuffer(data, spec.dtype).reshape(spec.height, spec.width, spec.bands)
    return Image(Node(source.FromArray(array, spec, next(_numbers))))


def from_dask(array: dask.array.Array, mode: str | None = None) -> Image:
    """A ``dask.array`` of (height, width) or (height, width, bands) as an image; nothing is computed.

    The bands of a pixel must be in one chunk, and sizes known.

    >>> import imgrs, dask.array
    >>> array = dask.array.full((300, 400), 7, dtype="uint8", chunks=100)
    >>> imgrs.from_dask(array).brightness(10).crop((0, 0, 2, 1)).compute().tolist()
    [[17, 17]]
    """
    if array.ndim not in (2, 3) or any(np.isnan(side) for side in array.shape) or 0 in array.shape:
        raise ArgumentError(f"from_dask: array must be (height, width[, bands]) of known size, got {array.shape}")
    if array.dtype.name not in ("uint8", "uint16", "float32", "bool"):
        raise ArgumentTypeError(f"from_dask: array must be uint8, uint16, float32 or bool, got {array.dtype}")
    if array.ndim == 3 and array.numblocks[2] != 1:
        array = array.rechunk({2: -1})
    bands_ = array.shape[2] if array.ndim == 3 else 1
    encoding = {1: "gray", 2: "gray", 3: "srgb", 4: "srgb"}.get(bands_, "multiband")
    height, width = (int(side) for side in array.shape[:2])
    spec = Spec(width, height, bands_, bands_ in (2, 4), array.dtype.name, encoding)
    return Image(Node(source.FromDask(array, _with_mode("from_dask", spec, mode), array.name)))


def merge(mode: str, images: Sequence[Image]) -> Image:
    """Single-band images of one size and depth as one: L, LA, RGB, RGBA, CMYK, or any number as ``"multiband"``.

    >>> import imgrs
    >>> red, green, blue = imgrs.new("RGB", (4, 3), (200, 120, 40)).split()
    >>> imgrs.merge("RGB", [blue, green, red]).compute()[0, 0].tolist()
    [40, 120, 200]
    """
    if not images or not all(isinstance(image, Image) for image in images):
        raise ArgumentTypeError("merge: needs a sequence of imgrs images, one for each band")
    first, *rest = images
    return first.apply(bands.Merge(mode), *rest)


def images_equal(first: Image, second: Image) -> bool:
    """Whether two images have the same size, mode, depth and pixels; computes both unless their graphs are equal.

    >>> import imgrs
    >>> img = imgrs.new("L", (4, 3), 7)
    >>> img.invert().invert() == img, imgrs.images_equal(img.invert().invert(), img)
    (False, True)
    """
    one, other = first._node.spec, second._node.spec
    return one == other and (first == second or bool(np.array_equal(first.compute(), second.compute())))


def _page(name: str, page: Any) -> int:
    if isinstance(page, bool) or not isinstance(page, (int, np.integer)):
        raise ArgumentTypeError(f"{name}: page must be a whole number, got {page!r}")
    return int(page)


def _spec(name: str, mode: str, size: tuple[int, int]) -> Spec:
    if mode not in _MODES:
        raise ArgumentError(f"{name}: mode must be one of {', '.join(_MODES)}, got {mode!r}")
    width, height = (int(side) for side in _checked_size(name, size))
    return Spec(width, height, *_MODES[mode])


def _checked_size(name: str, size: Any) -> tuple[int, ...]:
    try:
        sides = geometry.whole_numbers(size, 2, "a size (width, height)")
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{name}: size {error}, got {size!r}") from None
    if min(sides) < 1:
        raise ArgumentError(f"{name}: size must be at least 1x1, got {size!r}")
    return sides


def _with_mode(name: str, spec: Spec, mode: str | None) -> Spec:
    if mode is None or mode == spec.mode:
        return spec
    if mode == "CMYK" and spec.bands == 4:
        return Spec(*spec.size, 4, False, spec.dtype, "cmyk")
    raise ArgumentError(f"{name}: an array of {spec.bands} bands of {spec.dtype} is {spec.mode}, not {mode!r}")
