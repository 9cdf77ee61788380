"""``Image``: the face of the engine. Reading this class from top to bottom is reading the API.

A verb adds one node to the graph and returns at once. An image is a handle on a node; only ``thumbnail`` moves it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imgrs import config
from imgrs.errors import ArgumentError, ArgumentTypeError, said_by
from imgrs.graph.node import Node, Origin
from imgrs.graph.op import Op
from imgrs.graph.text import listing
from imgrs.ops import arithmetic, bands, color, filter, geometry, resample, source, stats, tiles, tone, verbs, warp
from imgrs.run.collection import Collection
from imgrs.verb import made, verb

if TYPE_CHECKING:
    import dask.array
    import networkx
    import PIL.Image
    import xarray

    from imgrs.bridges.tiles import Tiles
    from imgrs.pipelines import Pipeline
    from imgrs.previews import Preview, PreviewStep
    from imgrs.profile import Profile
    from imgrs.run.save import Output

PACKAGE = __name__.partition(".")[0]


class _ArrayFunction:
    """``__array_function__`` as NumPy finds it, which asks the class.

    Images have none: libraries such as xarray ask them for it, and take whatever has it for an array with all of NumPy's
    indexing. They call ``np.asarray`` instead.
    """

    def __get__(self, image: Image | None, owner: type[Image]) -> Callable[..., Any]:
        if image is not None:
            raise AttributeError(f"{owner.__name__} is not an array; np.asarray(img) is")
        return _array_function


def _array_function(image: Image, func: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
    from imgrs.bridges.numpy_functions import apply_function

    return apply_function(func, args, kwargs)


class Image(Collection):
    """A lazy image: what it is, and how to make it. Pixels are computed when they are asked for.

    Make one with ``imgrs.open``, ``new``, ``fromarray``, ``frombytes`` or ``from_dask``.
    """

    __slots__ = ()

    def apply(self, op: Op, *others: Image) -> Image:
        """This image (and others) as the input of an op; the way in for ops that have no verb."""
        return Image(Node(op, self._node, *(other._node for other in others), origin=_origin()))

    # What it is

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self._node.spec.size

    @property
    def width(self) -> int:
        """In pixels."""
        return self._node.spec.width

    @property
    def height(self) -> int:
        """In pixels."""
        return self._node.spec.height

    @property
    def mode(self) -> str:
        """Pillow's mode: ``"RGB"``, ``"L"``, ``"I;16"``, ...; ``"multiband"`` for other numbers of bands."""
        return self._node.spec.mode

    @property
    def bands(self) -> int:
        """The number of bands, alpha included."""
        return self._node.spec.bands

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of a sample: uint8, uint16, float32 or bool."""
        return np.dtype(self._node.spec.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array that ``compute`` gives."""
        return self._node.spec.shape

    @property
    def ndim(self) -> int:
        """The number of axes of that array."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """The size of all pixels in memory, in bytes."""
        return self._node.spec.nbytes

    @property
    def format(self) -> str | None:
        """The file format of an image as it was opened, None after any op."""
        op = self._node.op
        return op.reader.format if isinstance(op, source.Open) else None

    @property
    def n_frames(self) -> int:
        """How many images the file that was opened holds; 1 after an op."""
        op = self._node.op
        return op.reader.frames if isinstance(op, source.Open) else 1

    def page(self, number: int) -> Image:
        """Another image of the file that was opened, from 0. Raises ``ArgumentError`` for one that it does not have."""
        op = self._node.op
        if not isinstance(op, source.Open):
            raise ArgumentError("page: only an image as it was opened has pages; call page() before other operations")
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)):
            raise ArgumentTypeError(f"page: number must be a whole number, got {number!r}")
        return Image(Node(source.Open(op.reader.at(int(number)))))

    @property
    def info(self) -> dict[str, Any]:
        """Metadata of the file that this image comes from, under Pillow's names."""
        from imgrs.provenance import info_of

        return info_of(self._node)

    @property
    def metadata(self) -> dict[str, Any]:
        """``info`` as text, numbers, lists and dicts: EXIF by the names of its tags, a color profile by its own name."""
        from imgrs.io import metadata

        return metadata.plain(self.info)

    def damaged(self) -> list[tuple[tuple[int, int, int, int], str]]:
        """What cannot be decoded of the files that this image comes from, and why; empty where all of it can.

        Each part is a box (left, top, right, bottom) in pixels of the full-size image as its file has it, before it is set
        upright, shrunk or cropped: a tile, a strip, or all rows from the first bad one of a format that is decoded in
        order. ``DamagedImageWarning`` speaks of the same pixels. A box without rows says that only what stands behind the
        pixels is damaged. Decodes each file once at full size, a tile or strip at a time, and then its smaller copies (a
        pyramid): of those the reason says so, and the box is what they stand for.
        """
        from imgrs.io.fill import damage
        from imgrs.provenance import readers

        files = readers(self._node)
        if not files:
            raise ArgumentError("damaged: the image does not come from a file")
        return [((r.left, r.top, r.right, r.bottom), reason) for reader in files for r, reason in damage(reader)]

    def exif_transpose(self) -> Image:
        """Turn the image as its EXIF orientation asks, so that it is upright; the same image where it is already."""
        from imgrs.io import metadata

        turn = metadata.TURNS.get(metadata.orientation(self.info))
        return self if turn is None else self.apply(geometry.ExifTranspose(turn))

    @property
    def key(self) -> str:
        """A digest of the graph, equal for equal pipelines on equal sources, in every process."""
        return self._node.key

    # Tone

    brightness = verb(tone.Brightness)
    contrast = verb(tone.Contrast)
    gamma = verb(tone.Gamma)
    exposure_adjust = verb(tone.ExposureAdjust)
    invert = verb(tone.Invert)
    solarize = verb(tone.Solarize)
    posterize = verb(tone.Posterize)
    threshold = verb(tone.Threshold)
    levels = verb(tone.Levels)
    curve = verb(tone.Curve)

    # Color

    saturate = verb(color.Saturate)
    grayscale = verb(color.Grayscale)
    sepia = verb(color.Sepia)
    hue_rotate = verb(color.HueRotate)
    color_matrix = verb(color.ColorMatrix)
    convert = verb(color.Convert)
    astype = verb(color.AsType)

    def remove_transparency(self, background: float | Sequence[float] | str = "white") -> Image:
        """Lay the image over ``background`` (in the image's own units, or a name) and drop alpha."""
        color = made(verbs.RemoveTransparency, "remove_transparency", (background,), {}).background
        spec = self._node.spec
        if not spec.alpha:
            return self
        pixel = geometry.fill_pixel(color, _opaque(spec), "remove_transparency")
        below = Image(Node(source.New(_opaque(spec), tuple(float(v) for v in pixel)), origin=_origin()))
        return below.apply(bands.Blend(), self)

    # Neighborhood

    blur = verb(filter.Blur)
    box_blur = verb(filter.BoxBlur)
    sharpen = verb(filter.Sharpen)
    unsharp_mask = verb(filter.UnsharpMask)
    edge_detect = verb(filter.EdgeDetect)
    edge_enhance = verb(filter.EdgeEnhance)
    edge_enhance_more = verb(filter.EdgeEnhanceMore)
    emboss = verb(filter.Emboss)
    convolve = verb(filter.Convolve)

    def map_tiles(
        self, function: Callable[[npt.NDArray[Any]], npt.NDArray[Any]], margin: int = 0, out_mode: str | None = None
    ) -> Image:
        """Call ``function`` on each tile with ``margin`` pixels around it (edges replicated).

        It gets an array of shape (height + 2 margin, width + 2 margin[, bands]) and returns (height, width[, bands]) of
        ``out_mode`` (default: this image's). It must not depend on where the tile lies. ``explain()`` names it.

        >>> import imgrs, scipy.ndimage
        >>> def median(pixels):
        ...     return scipy.ndimage.median_filter(pixels, 3)[1:-1, 1:-1]
        >>> imgrs.new("L", (40, 30), 7).map_tiles(median, margin=1).compute().max()
        np.uint8(7)
        """
        return self.apply(tiles.MapTiles(function, margin, out_mode))

    # Geometry

    crop = verb(geometry.Crop)
    transpose = verb(geometry.Transpose)

    def pad(
        self, width: int | Sequence[int], mode: str = "constant", color: float | Sequence[float] | str = 0
    ) -> Image:
        """Add a border of ``width`` pixels: one for all sides, (horizontal, vertical), or (left, top, right, bottom).

        ``mode`` is ``"constant"`` (filled with ``color``, in the image's own units, or a name such as ``"white"``) or
        ``"edge"`` (the nearest pixel).
        """
        return self.apply(made(geometry.Pad, "pad", (width, mode, color), {}))

    def rotate(
        self,
        angle: float,
        *,
        resample: str | int = "bicubic",
        expand: bool = False,
        center: tuple[float, float] | None = None,
        translate: tuple[float, float] | None = None,
        fillcolor: float | Sequence[float] | str | None = None,
    ) -> Image:
        """Turn counter-clockwise by ``angle`` degrees around ``center`` (the middle unless given), as Pillow's ``rotate``.

        ``resample`` is nearest, bilinear or bicubic; ``expand`` enlarges the result to hold all of it; ``translate`` moves
        it by (right, down) afterward; what was outside becomes ``fillcolor`` (0 unless given; a
        name is taken, too). Half turns are exact, and quarter turns of squares or expanded images.
        """
        told = made(verbs.Rotate, "rotate", (angle, resample, expand, center, translate, fillcolor), {})
        if told.center is None and told.translate is None and told.angle % 90 == 0:
            quarters = int(told.angle % 360) // 90
            if quarters % 2 == 0 or expand or self.width == self.height:
                return self.copy() if quarters == 0 else self.transpose(f"rotate_{90 * quarters}")
        size, matrix = told.of(self.size)
        filter_ = "nearest" if self._node.spec.dtype == "bool" else told.resample
        return self.apply(made(warp.Affine, "rotate", (size, matrix, filter_, told.fillcolor), {}))

    def rotate90(self) -> Image:
        """Turn a quarter counter-clockwise."""
        return self.transpose("rotate_90")

    def rotate180(self) -> Image:
        """Turn by half."""
        return self.transpose("rotate_180")

    def rotate270(self) -> Image:
        """Turn a quarter clockwise."""
        return self.transpose("rotate_270")

    def rotate_left(self) -> Image:
        """Turn a quarter counter-clockwise."""
        return self.transpose("rotate_90")

    def rotate_right(self) -> Image:
        """Turn a quarter clockwise."""
        return self.transpose("rotate_270")

    def flip_left_right(self) -> Image:
        """Mirror left and right."""
        return self.transpose("flip_left_right")

    def flip_top_bottom(self) -> Image:
        """Mirror top and bottom."""
        return self.transpose("flip_top_bottom")

    def resize(
        self,
        size: tuple[int, int] | None = None,
        resample: str | int = "lanczos",
        box: tuple[float, float, float, float] | None = None,
        reducing_gap: float | None = None,
        *,
        width: int | None = None,
        height: int | None = None,
    ) -> Image:
        """Resize to ``size`` (width, height), antialiased when shrinking; ``box`` is the part of the source to use.

        In place of ``size``, ``width`` or ``height`` alone keeps the proportions of the image, or of ``box``: the other
        side is rounded to the nearest pixel, halves up, and has at least 1. Both together are the size.

        ``resample`` is Pillow's name or integer: nearest, box, bilinear, hamming, bicubic, lanczos. ``reducing_gap`` is
        taken for Pillow's sake: results are exact without it.

        >>> import imgrs
        >>> imgrs.new("RGB", (4000, 3000)).resize(width=800).size
        (800, 600)
        """
        told = resized(size, resample, box, reducing_gap, width, height)
        op = told.of(self.size) if isinstance(told, verbs.Resize) else told
        if self._node.spec.dtype == "bool":
            op = replace(op, resample="nearest")  # as Pillow has it: there is nothing between 0 and 1
        return self.apply(op)

    def thumbnail(self, size: tuple[int, int], resample: str | int = "bicubic") -> Image:
        """Shrink in place to fit ``size`` (width, height), keeping the aspect; never enlarges. Returns the image.

        On a file as opened, decoding at a reduced scale is part of its meaning where the format can (JPEG).
        """
        told = made(verbs.Thumbnail, "thumbnail", (size, resample), {})
        wide, high = told.size
        width, height = self.size
        if wide < width or high < height:
            if wide * height >= high * width:
                wide = max(1, round(width * high / height))
            else:
                high = max(1, round(height * wide / width))
            self._node = _shrunk(self._node, (wide, high))
            if (wide, high) != self.size:
                self._node = self.resize((wide, high), told.resample)._node
        return self

    # Bands and layers

    def split(self) -> tuple[Image, ...]:
        """The bands, each as a gray image."""
        return tuple(self.apply(bands.Band(index)) for index in range(self.bands))

    def getchannel(self, channel: int | str) -> Image:
        """One band, by its index or its letter (``"R"``, ``"A"``)."""
        channel = made(verbs.GetChannel, "getchannel", (channel,), {}).channel
        if isinstance(channel, str):
            letters = self.mode if self.mode in ("L", "LA", "RGB", "RGBA", "CMYK") else ""
            if channel not in letters:
                raise ArgumentError(f"getchannel: {self.mode} images have no channel {channel!r}")
            channel = letters.index(channel)
        return self.apply(bands.Band(channel))

    def blend(self, mode: str, other: Image, mask: Image | None = None, position: tuple[int, int] = (0, 0)) -> Image:
        """Lay ``other`` over this image at ``position``; ``mode`` is ``"normal"``. ``mask``, gray, scales its opacity."""
        if isinstance(mask, tuple):
            raise ArgumentTypeError(f"blend: mask must be an image, got {mask!r}; write position={mask!r} for a place")
        layers = [_image(other, "blend")] + ([] if mask is None else [_image(mask, "blend")])
        return self.apply(bands.Blend(mode, position), *layers)

    # Statistics: lazy small images

    def histogram(self) -> Statistic:
        """How many samples of each band lie in each of 256 equal parts of full range: (256, bands)."""
        return Statistic(self.apply(stats.Histogram())._node)

    def mean(self) -> Statistic:
        """The mean of each band, in the image's own units: (bands,)."""
        return Statistic(self.apply(stats.Mean())._node)

    def extrema(self) -> Statistic:
        """The smallest and the largest sample of each band: (bands, 2), or (2,) of a single band."""
        return Statistic(self.apply(stats.Extrema())._node)

    def auto_contrast(self, cutoff: float = 0.0) -> Image:
        """Stretch each band to full range, after cutting ``cutoff`` percent off each end of its histogram."""
        bins = 256 if self._node.spec.dtype == "uint8" else 65_536
        op = stats.AutoContrast(cutoff)
        op.check([self._node.spec])
        return self.apply(op, Image(Node(stats.Histogram(bins), self._node, origin=_origin())))

    # Arithmetic on raw sample values, saturating; alpha untouched

    def __add__(self, other: Any) -> Any:
        return self._arithmetic("add", other, False)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._arithmetic("subtract", other, False)

    def __rsub__(self, other: Any) -> Any:
        return self._arithmetic("subtract", other, True)

    def __mul__(self, other: Any) -> Any:
        return self._arithmetic("multiply", other, False)

    __rmul__ = __mul__

    def __abs__(self) -> Image:
        return self.apply(arithmetic.Absolute())

    def _arithmetic(self, name: str, other: Any, swapped: bool) -> Any:
        if isinstance(other, Image):
            return self.apply(arithmetic.Combine(name), other)
        if isinstance(other, (int, float, np.integer, np.floating)) and not isinstance(other, bool):
            return self.apply(arithmetic.WithNumber(name, float(other), swapped))
        return NotImplemented

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        from imgrs.bridges.numpy_functions import apply_ufunc

        return apply_ufunc(ufunc, method, inputs, kwargs)

    __array_function__ = _ArrayFunction()

    def __getitem__(self, key: Any) -> Image:
        """NumPy's slicing of rows, columns and bands: ``img[10:20, ::, 0]``; steps must be 1. Clips where ``crop`` raises.

        >>> import imgrs
        >>> imgrs.new("RGB", (40, 30))[10:99, :20, 0]
        <imgrs.Image 20x20 L uint8 band>
        """
        told = verbs.Slice.of(key)
        top, bottom, _ = slice(*told.rows).indices(self.height)
        left, right, _ = slice(*told.columns).indices(self.width)
        if bottom <= top or right <= left:
            raise ArgumentError(f"slice: {key!r} selects no pixels of the {self.width}x{self.height} image")
        part = self.crop((left, top, right, bottom))
        if told.band is None:
            return part
        if not -self.bands <= told.band < self.bands:
            raise ArgumentError(f"slice: band must be below {self.bands} for {self.mode} images, got {told.band}")
        return part.getchannel(told.band % self.bands)

    # Pixels

    def compute(self, **options: Any) -> npt.NDArray[Any]:
        """The pixels as an array of ``shape``; keywords are those of ``imgrs.options``.

        >>> import imgrs
        >>> imgrs.new("RGB", (40, 30)).blur(2).compute(workers=1).shape
        (30, 40, 3)

        Raises ``MemoryBudgetError`` before anything is read, ``ComputeError`` where an op fails, and what reading raises.
        """
        from imgrs.run.engine import to_array

        return to_array(self._node, config.settings(**options))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("an image is computed into a new array; it cannot be viewed without a copy")
        array = self.compute()
        return array if dtype is None else array.astype(dtype, copy=False)

    def tobytes(self) -> bytes:
        """The samples, row by row, as Pillow's ``tobytes``."""
        return self.compute().tobytes()

    to_bytes = tobytes

    def to_pil(self) -> PIL.Image.Image:
        """The image as Pillow's."""
        import PIL.Image

        if self._node.spec.encoding == "multiband" or (self.dtype != np.uint8 and self.bands > 1):
            raise ArgumentError(f"to_pil: Pillow has no {self.mode} images of {self.dtype}; astype('uint8') first")
        if self.mode == "CMYK":
            return PIL.Image.frombytes("CMYK", self.size, self.tobytes())
        return PIL.Image.fromarray(self.compute())

    def save(self, target: Any, format: str | None = None, **options: Any) -> None:
        """Write to a path, a URL or a binary file object; the format is ``format``'s or the extension's.

        Options are the format's, under Pillow's names, and the engine's (see ``imgrs.options``). Those that are used most,
        with what they are unless given; docs/formats.md has all:

        - TIFF: ``compression="deflate"``, ``level=1``, ``tile=512``, ``pyramid=False``, ``cog=False``
        - JPEG: ``quality=90``, ``subsampling=2``, ``progressive=False``
        - PNG: ``compress_level=3``
        - WebP: ``quality=80``, ``lossless=False``; AVIF: ``quality=75``, ``speed=6``; JPEG XL: ``quality=90``,
          ``lossless=False``, ``effort=7``
        - Zarr: ``compression="zstd"``, ``level=1``, ``tile=512``, ``pyramid=False``
        - Deep Zoom and IIIF: ``tile=256`` and 512, ``quality=85``; IIIF needs ``id``, the URL at which the folder will be
          served

        ``"-"`` is the standard output. What the source says beside its pixels (``info``) goes along where the format can
        hold it, unless ``metadata=False`` or an option says otherwise (``dpi``, ``exif``, ``icc_profile``, ``xmp``). The
        file appears when it is whole; until then the old one stays (behind a URL, a folder is moved at the end).

        A save with ``resume=True`` that is killed goes on where it stopped when it is called again with ``resume=True``:
        what is done lies in a folder beside the target. It is refused when the source, the pipeline, an option or
        ``chunks`` changed since.

        With ``recipe=True`` the file says how it was made, in its XMP: ``imgrs.Pipeline.from_file(path)`` reads it, and
        makes it again of the same sources.

        Raises ``ArgumentError`` before anything is computed, and ``SaveError``.
        """
        from imgrs.io.options import check_flag
        from imgrs.run.save import save

        engine, given = config.parted(options)
        with said_by("save"):
            resume = check_flag("resume", given.pop("resume", False))
        save([self._output(target, format, given)], config.settings(**engine), resume=resume)

    def _output(
        self,
        target: Any,
        format: str | None,
        options: Mapping[str, Any],
        name: str = "save",
        parameter: str = "format",
    ) -> Output:
        """A save of this image, checked; ``name`` and ``parameter`` are the method that was called, and its word for format."""
        from imgrs.io import exif, format_for, xmp
        from imgrs.io.options import check_flag
        from imgrs.pipelines import Pipeline, recipe_of, saved_with
        from imgrs.provenance import tell_of_losses
        from imgrs.run.landing import path_of
        from imgrs.run.save import Output

        given = dict(options)
        with said_by(name):
            if "exif" in given:
                given["exif"] = exif.given(given["exif"])
            keeps_metadata = check_flag("metadata", given.pop("metadata", True))
            recipe = given.pop("recipe", False)
            if not isinstance(recipe, Pipeline):
                recipe = recipe_of(self._node) if check_flag("recipe", recipe) else None
        info = self.info if keeps_metadata else {}
        if "xmp" in info:
            info["xmp"] = xmp.without_recipe(info["xmp"])
        text = None
        if recipe is not None:
            text = saved_with(recipe, given if format is None else {**given, "format": format}).to_json()
        with said_by(name):
            kind = format_for(path_of(target), format, parameter)
            output = Output.of(self._node, target, kind, info, given, text)
        if keeps_metadata and name == "save":
            tell_of_losses(self._node, kind, info, given, 3)
        return output

    def _foreseen(self, sink: str | None, options: Mapping[str, Any], name: str) -> Output | None:
        """The save that the method ``name`` is asked about, checked as ``save`` checks it; None for an array."""
        from imgrs.io.options import check_flag
        from imgrs.run.save import check_resumable

        if sink is None:
            if options:
                raise ArgumentTypeError(
                    f"{name}: {next(iter(options))!r} is not an option of the engine, which has {', '.join(config.NAMES)}; "
                    'those of a format need sink, such as sink="tiff"'
                )
            return None
        given = dict(options)
        with said_by(name):
            resume = check_flag("resume", given.pop("resume", False))
        output = self._output("-", sink, given, name, "sink")
        if resume:
            with said_by(name):
                check_resumable(output)
        return output

    def preview(self, max_side: int = 1024) -> Preview:
        """The whole image, lazy, at most ``max_side`` pixels wide and high; never larger than it is.

        Files are read at a reduced scale where their format can (JPEG, pyramids), and all operations are done at that
        scale: radii and matrices are scaled, boxes, borders and positions to whole pixels of the preview; tone and color
        are done as they are. ``approximate`` names the operations that do not mean the same there, such as kernels of 3x3
        pixels and statistics: they work on the smaller image. Where nothing needs reducing, the preview is exact.

        >>> import imgrs
        >>> small = imgrs.new("RGB", (8000, 6000), (200, 120, 40)).blur(40).sharpen().preview(1000)
        >>> small.size, small.approximate
        ((1000, 750), ('sharpen() at 1/8 scale',))
        """
        from imgrs.previews import preview

        return preview(self, max_side)

    def progressive(self, first_side: int = 256, **options: Any) -> Iterator[PreviewStep]:
        """The pixels from coarse to exact: a step at most ``first_side`` pixels wide and high, each next one four times
        larger, the last bit-identical to ``compute()``.

        Leave the loop at any time: a step is computed when it is asked for. The exact last step costs what ``compute()``
        costs. Keywords are those of ``imgrs.options``.

        >>> import imgrs
        >>> img = imgrs.new("L", (1200, 900), 7).blur(2)
        >>> [(step.pixels.shape, step.exact) for step in img.progressive()]
        [((192, 256), False), ((900, 1200), True)]
        """
        from imgrs.previews import progressive

        return progressive(self, first_side, config.settings(**options))

    # Neighbors: see docs/neighbours.md

    def to_xarray(self) -> xarray.DataArray:
        """The image as a lazy ``xarray.DataArray`` on Dask with the axes y, x and band; nothing is computed.

        Bands are labeled by their letters, rows and columns are counted. ``attrs`` has the mode and the metadata, flat:
        ``"exif.Model"``. Needs the extra ``xarray``.

        >>> import imgrs
        >>> imgrs.new("RGB", (640, 480), 7).to_xarray().sel(band="R").sizes
        Frozen({'y': 480, 'x': 640})
        """
        from imgrs.bridges.labeled import to_xarray

        return to_xarray(self)

    def to_multiscale(self, smallest: int = 512) -> list[dask.array.Array]:
        """The image and smaller copies, each half as large, as lazy Dask arrays: what viewers such as napari take.

        ``napari.view_image(img.to_multiscale(), multiscale=True)``. Copies are made until the longer side is at most
        ``smallest`` pixels, by ``preview``: files are read at a reduced scale where their format can (JPEG, pyramids).

        >>> import imgrs
        >>> [level.shape for level in imgrs.new("L", (4000, 3000), 7).blur(2).to_multiscale()]
        [(3000, 4000), (1500, 2000), (750, 1000), (375, 500)]
        """
        from imgrs.previews import multiscale

        return multiscale(self, smallest)

    def tiles(
        self, size: int | tuple[int, int], stride: int | tuple[int, int] | None = None, edge: str = "shift"
    ) -> Tiles:
        """Tiles of ``size`` as a map-style dataset for PyTorch: arrays of shape (bands, height, width), made when asked for.

        ``size`` is a number of pixels or (width, height); ``stride``, how far it is from one tile to the next (``size``
        unless given; less makes tiles overlap). Where the last ones do not fit, ``edge="shift"`` moves them in, so that
        they end with the image, and ``"drop"`` leaves them out. ``boxes`` of the result says where each tile lies.

        A format that is decoded from the top (PNG) is decoded for every tile anew: save such images as TIFF first.

        >>> import imgrs
        >>> tiles = imgrs.new("RGB", (640, 500), 7).blur(2).tiles(256, stride=192)
        >>> len(tiles), tiles[0].shape, tiles.boxes[-1]
        (9, (3, 256, 256), (384, 244, 640, 500))
        """
        from imgrs.bridges.tiles import Tiles

        return Tiles(self, size, stride, edge)

    def _repr_mimebundle_(
        self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None
    ) -> dict[str, Any]:
        """What notebooks show: a preview of at most 512 pixels a side, facts, and the graph to unfold.

        The preview is made only where its own forecast is at most half a second, and at most 8 MiB are fetched from URLs.
        ``display(img, include=["image/png"])`` gives the preview alone, as a PNG.
        """
        from imgrs.notebook import mimebundle

        return mimebundle(self, include, exclude)

    # The graph

    def explain(self, sink: str | None = None, costs: bool = True, as_json: bool = False, **options: Any) -> str:
        """What computing this will do, as text: the graph, the rules, the stages, bytes read, memory and tasks.

        ``sink`` is the format that it is saved in (``"tiff"``), None for an array; ``costs=False`` leaves out what depends
        on the machine; ``as_json=True`` gives the same as JSON, for programs. Keywords are those of ``imgrs.options`` and,
        with ``sink``, those that ``save`` takes (``pyramid=True``). Memory is that of the engine's arrays;
        ``imgrs.estimate`` adds up to 16 MiB for the machinery, and arrays that are handed out.

        >>> import imgrs
        >>> print(imgrs.new("L", (40, 30), 7).blur(2).explain(optimizer="off", costs=False))
        graph
          %1 = new((7))  40x30 L uint8
          %2 = blur(%1)  40x30 L uint8
        <BLANKLINE>
        stages
          1. blur: 1 tile of 40x30, margin 0, handed out
        <BLANKLINE>
        forecast
          tasks     1
          pixels    2,400 computed
          reads     0 B of 0 B
          memory    ... KiB at the peak, 0 B of it kept
        """
        import json

        from imgrs.plan.choose import plan
        from imgrs.plan.explain import as_dict, explain
        from imgrs.run.save import sink_of

        engine, given = config.parted(options)
        sinks = [sink_of(self._foreseen(sink, given, "explain"))]
        made = plan([self._node], config.settings(**engine), sinks)
        return json.dumps(as_dict(made, costs), indent=2) if as_json else explain(made, costs)

    def profile(self, sink: str | None = None, **options: Any) -> Profile:
        """Run the plan and measure it: ``print(img.profile())`` is ``explain()`` with what each op took beside its forecast.

        Nothing is kept of the pixels. With ``sink``, a format (``"tiff"``), they go to a temporary file. Keywords are
        those of ``imgrs.options`` and, with ``sink``, those that ``save`` takes. ``heat_map()`` of what is returned shows
        the seconds of each tile as an image.
        """
        from imgrs.profile import profile

        engine, given = config.parted(options)
        output = self._foreseen(sink, given, "profile")
        return profile(self._node, config.settings(**engine), output, resume=given.get("resume", False))

    def listing(self) -> str:
        """The graph as it was built, one line per node.

        >>> import imgrs
        >>> print(imgrs.new("L", (40, 30), 7).blur(2).brightness(20).listing())
        %1 = new((7))            40x30 L uint8
        %2 = blur(%1)            40x30 L uint8
        %3 = brightness(%2, 20)  40x30 L uint8
        """
        return listing([self._node])

    def recipe(self) -> Pipeline:
        """The graph as a ``Pipeline``, with holes in place of its files and arrays, in the order of their first use.

        ``img.recipe()(photo)`` does with another photograph what was done here.
        """
        from imgrs.pipelines import recipe_of

        return recipe_of(self._node)

    def to_networkx(self) -> networkx.MultiDiGraph[int]:
        """The graph for networkx."""
        from imgrs.graph.view import to_networkx

        return to_networkx([self._node])

    def to_dot(self) -> str:
        """The graph in Graphviz's DOT language."""
        from imgrs.graph.view import to_dot

        return to_dot([self._node])

    # A handle

    def copy(self) -> Image:
        """Another handle on the same node."""
        return type(self)(self._node)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Image:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._node,)

    def __eq__(self, other: object) -> bool:
        """Whether both have the same graph on the same sources; pixels are not compared."""
        return self._node.key == other._node.key if isinstance(other, Image) else NotImplemented

    def __hash__(self) -> int:
        return int(self._node.key[:15], 16)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<imgrs.Image {self._node.spec} {self._node.op.name}>"

    if not TYPE_CHECKING:  # for which every name would be there

        def __getattr__(self, name: str) -> Any:
            """What is not there: of Pillow's names, the error says what to use instead."""
            from imgrs.instead import INSTEAD

            if name in INSTEAD:
                told = f"{type(self).__name__!r} object has no attribute {name!r}; {INSTEAD[name]}"
                raise AttributeError(told, name=name, obj=None)  # with this image, Python would add a likely name
            return object.__getattribute__(self, name)  # raises as Python does, or what a property raised

    def close(self) -> None:
        """Nothing is held open; for code that closes Pillow's images."""

    def __enter__(self) -> Image:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Statistic(Image):
    """Numbers about an image, as lazy as an image: ``compute()``, ``list()`` and ``float()`` compute them."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.compute().tolist())

    def __len__(self) -> int:
        return self.shape[0]

    def __float__(self) -> float:
        values = self.compute()
        if values.size != 1:
            raise ArgumentTypeError(f"float: the image has {values.size} values; use list()")
        return float(values.item())


def resized(
    size: Any, resample_: Any, box: Any, reducing_gap: Any, width: Any, height: Any
) -> resample.Resize | verbs.Resize:
    """The op of ``resize``, its parameters checked; its verb, where one side depends on the image."""
    if reducing_gap is not None and not (isinstance(reducing_gap, (int, float)) and reducing_gap >= 1.0):
        raise ArgumentError(f"resize: reducing_gap must be at least 1.0, got {reducing_gap!r}")
    if size is None and (width is None or height is None):
        return verbs.Resize(width, height, resample_, box)
    if size is not None and (width is not None or height is not None):
        raise ArgumentError(f"resize: needs size, or width and height, got size={size!r} and one of those, too")
    if isinstance(size, int) and isinstance(resample_, int) and resample_ > len(resample.FILTERS):
        raise ArgumentTypeError(f"resize: takes a size as one value; write resize(({size}, {resample_}))")
    if isinstance(size, (int, float)):
        raise ArgumentTypeError(
            f"resize: size must be a size (width, height), got {size!r}; resize(width={size!r}) keeps the proportions"
        )
    return resample.Resize((width, height) if size is None else size, resample_, box)


def _image(value: object, name: str) -> Image:
    if isinstance(value, Image):
        return value
    raise ArgumentTypeError(f"{name}: needs an imgrs.Image, got {type(value).__name__}; use imgrs.fromarray()")


def _opaque(spec: Any) -> Any:
    return replace(spec, bands=spec.colors, alpha=False)


def _shrunk(node: Node, size: tuple[int, int]) -> Node:
    """A file as opened, decoded at the largest reduction that is still twice ``size``; other nodes as they are."""
    if not isinstance(node.op, source.Open) or node.op.shrink != 1:
        return node
    best = 1
    for shrink in node.op.reader.shrinks:
        spec = node.op.reader.shrunk(shrink)
        if shrink > best and spec.width >= 2 * size[0] and spec.height >= 2 * size[1]:
            best = shrink
    return node if best == 1 else Node(source.Open(node.op.reader, best), origin=node.origin)


def _origin() -> Origin | None:
    """The nearest line outside this package: the user's."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == PACKAGE:
        if frame.f_back is None:
            return None
        frame = frame.f_back
    return Origin(frame.f_code.co_filename, frame.f_lineno)
