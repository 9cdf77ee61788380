"""TIFF and BigTIFF: tiles and strips read where a region meets them, tiles encoded apart and placed in order.

tifffile reads the header and imagecodecs decodes; every table is checked against the file's size first.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from imgrs.errors import ArgumentError, CorruptImageError, ImgrsError, TruncatedImageError, UnsupportedFormatError
from imgrs.io import segments
from imgrs.io.format import Encoder, Format, Options, Reader
from imgrs.io.limits import check_unit
from imgrs.io.metadata import TURNS
from imgrs.io.resource import Resource, as_file
from imgrs.types import Pixels, Region, Spec

COMPRESSIONS = {1: "raw", 5: "tiff_lzw", 7: "jpeg", 8: "tiff_adobe_deflate", 32773: "packbits", 32946: "tiff_deflate"}
COMPRESSIONS |= {50000: "zstd", 34926: "zstd", 50001: "webp"}
"""Pillow's names of the compressions that are read."""
REDUCED = 1
"""The bit of NewSubfileType that says: a smaller copy of another page."""
MOST_LEVELS = 32
"""Reduced copies of a page that are looked for."""
MOST_TABLES = 1 << 26
"""Tiles or strips that a header may claim."""


@dataclass(frozen=True)
class TiffFormat(Format):
    name: ClassVar[str] = "TIFF"
    extensions: ClassVar[tuple[str, ...]] = (".tif", ".tiff")

    def matches(self, head: bytes) -> bool:
        return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

    def open(self, resource: Resource) -> Reader:
        return TiffReader(resource)

    def encoder(self, spec: Spec, info: Mapping[str, Any], options: Options) -> Encoder:
        from imgrs.io.tiff_write import TiffEncoder

        return TiffEncoder.of(spec, info, options)


@dataclass(frozen=True)
class OmeTiffFormat(TiffFormat):
    """A TIFF with OME-XML, by its name; it is opened as any TIFF."""

    name: ClassVar[str] = "OME-TIFF"
    extensions: ClassVar[tuple[str, ...]] = (".ome.tif", ".ome.tiff")
    is_read: ClassVar[bool] = False

    def encoder(self, spec: Spec, info: Mapping[str, Any], options: Options) -> Encoder:
        from imgrs.io.tiff_write import TiffEncoder

        return TiffEncoder.of(spec, info, options, ome=True)


class TiffReader(Reader):
    """One page of a TIFF file, with its reduced copies. Pickles as its resource, and reads the header again where it lands."""

    format = "TIFF"
    reads_regions = True

    def __init__(self, resource: Resource, page: int = 0) -> None:
        self.resource, self.page = resource, page
        self._levels = _levels(resource, page)
        full = self._levels[1]
        self.spec, self.info, self.unit = full.spec, full.info, full.unit
        self.shrinks = tuple(self._levels)

    def __reduce__(self) -> tuple[Any, ...]:
        return TiffReader, (self.resource, self.page)

    @property
    def frames(self) -> int:
        with _parsed(self.resource) as file:
            return len(file.pages)

    def at(self, page: int) -> TiffReader:
        return TiffReader(self.resource, page)

    def shrunk(self, shrink: int) -> Spec:
        return self._level(shrink).spec

    def unit_at(self, shrink: int) -> tuple[int, int]:
        return self._level(shrink).unit

    def _level(self, shrink: int) -> _Page:
        if shrink not in self._levels:
            raise ValueError(f"{self.resource.name} has no copy at 1/{shrink}")
        return self._levels[shrink]

    def read(self, region: Region, shrink: int = 1) -> Pixels:
        page = self._level(shrink)
        out = np.empty((region.height, region.width, page.spec.bands), page.stored)
        for index, box, plane in page.meeting(region):
            pixels = self._segment(page, index)
            shared = box & region
            target = out[shared.slices_in(region)]
            source = pixels[shared.slices_in(box)]
            if plane is None:
                target[...] = source[..., : page.spec.bands]
            else:
                target[..., plane] = source[..., 0]
        return page.finish(out)

    def stored_bytes(self, region: Region, shrink: int = 1) -> int:
        page = self._level(shrink)
        if region == page.spec.region:
            return int(page.lengths.sum())
        return sum(int(page.lengths[index]) for index, _, _ in page.meeting(region))

    def _segment(self, page: _Page, index: int) -> Pixels:
        key = (self.resource.identity, page.place, index)
        return segments.shared(key, lambda: self._decoded(self.resource, page, index))

    def _decoded(self, resource: Resource, page: _Page, index: int) -> Pixels:
        box, _ = page.box(index)
        where = f"{resource.name}: {page.kind} {index} at {box}"
        offset, length = int(page.offsets[index]), int(page.lengths[index])
        height, width = box.height, box.width
        if not length:
            return np.zeros((height, width, page.samples), page.stored)  # a missing tile, as GDAL reads it
        if offset + length > resource.size:
            raise TruncatedImageError(f"{where} ends beyond the file, at byte {offset + length:,} of {resource.size:,}")
        data = resource.read(offset, length)
        try:
            decoded, _, _ = page.decode(data, index, jpegtables=page.jpegtables)
        except Exception as error:  # tifffile and imagecodecs raise many kinds; each means the data is bad
            raise CorruptImageError(f"{where} cannot be decoded: {error}") from error
        if decoded is None:
            raise CorruptImageError(f"{where} holds no data")
        pixels: Pixels = decoded.reshape(decoded.shape[-3:])
        if pixels.shape[0] < height or pixels.shape[1] < width or pixels.shape[2] < page.samples:
            raise TruncatedImageError(f"{where} holds {pixels.shape[1]}x{pixels.shape[0]} pixels")
        return np.ascontiguousarray(pixels[:height, :width])


class _Page:
    """What a TIFF's tables say, checked."""

    def __init__(self, resource: Resource, page: Any, place: tuple[int, ...]) -> None:
        self.place = place
        """Which of the file's directories this is: the page, and the copy within it."""
        self._read(resource.name, resource.size, page)

    def _read(self, name: str, file_size: int, page: Any) -> None:
        width, height, samples = int(page.imagewidth), int(page.imagelength), int(page.samplesperpixel)
        if width < 1 or height < 1:
            raise CorruptImageError(f"{name}: the header claims {width}x{height} pixels")
        compression = int(page.compression)
        if compression not in COMPRESSIONS:
            raise UnsupportedFormatError(f"{name}: TIFF compression {page.compression!r} is not supported")
        bits = page.bitspersample
        if not isinstance(bits, int) or page.dtype is None:
            raise UnsupportedFormatError(f"{name}: samples of {bits} bits are not supported")
        stored = np.dtype(page.dtype)
        if (stored.kind, bits) not in (("u", 8), ("u", 16), ("f", 32), ("u", 1), ("b", 1)):
            raise UnsupportedFormatError(f"{name}: {bits}-bit samples of type {stored} are not supported")
        self.stored = stored.newbyteorder("=")
        self.planar = int(page.planarconfig) == 2 and samples > 1
        self.kind = "tile" if page.is_tiled else "strip"
        rows = int(page.rowsperstrip) if not page.is_tiled and page.rowsperstrip else height
        self.unit = (int(page.tilewidth), int(page.tilelength)) if page.is_tiled else (width, min(rows, height))
        self.samples = 1 if self.planar else samples
        self.width, self.height = width, height
        self.columns, self.rows = -(-width // self.unit[0]), -(-height // self.unit[1])
        count = self.columns * self.rows * (samples if self.planar else 1)
        if count > MOST_TABLES or len(page.dataoffsets) < count or len(page.databytecounts) < count:
            raise CorruptImageError(
                f"{name}: {width}x{height} pixels need {count:,} {self.kind}s, the tables have {len(page.dataoffsets):,}"
            )
        check_unit(name, f"a {self.kind}", self.unit[0] * self.unit[1] * self.samples * self.stored.itemsize)
        self.offsets = np.asarray(page.dataoffsets[:count], np.int64)
        self.lengths = np.asarray(page.databytecounts[:count], np.int64)
        if self.offsets.min() < 0 or self.lengths.min() < 0 or self.offsets.max() > file_size:
            beyond = int(np.argmax(self.offsets))
            raise TruncatedImageError(f"{name}: {self.kind} {beyond} starts beyond the end of the file")
        if self.offsets.max() + 0 == 0 and count and not self.lengths.any() and width * height > 1 << 28:
            raise CorruptImageError(f"{name}: {width}x{height} pixels are claimed, and none is stored")
        self.decode, self.jpegtables = page.decode, page.jpegtables
        self._meaning(name, page, samples, bits)
        self.info = _info(page, COMPRESSIONS[compression])

    def _meaning(self, name: str, page: Any, samples: int, bits: int) -> None:
        photometric = int(page.photometric)
        extra = tuple(int(v) for v in page.extrasamples)
        self.inverted = photometric == 0
        self.palette = None
        alpha = bool(extra) and extra[-1] in (1, 2)
        self.associated = alpha and extra[-1] == 1
        bands, encoding = samples, "multiband"
        if photometric == 3:
            if samples != 1 or page.colormap is None:
                raise CorruptImageError(f"{name}: a palette image without a palette")
            self.palette = np.ascontiguousarray((np.asarray(page.colormap).T >> 8).astype(np.uint8))
            bands, encoding, alpha = 3, "srgb", False
        elif photometric in (0, 1) and samples - alpha == 1:
            encoding = "gray"
        elif photometric in (2, 6) and samples - alpha == 3:
            encoding = "srgb"
        elif photometric == 2 and samples == 4:
            encoding, alpha = "srgb", True
        elif photometric == 5 and samples == 4:
            encoding, alpha = "cmyk", False
        if encoding == "multiband":
            alpha = False
        dtype = "bool" if bits == 1 else self.stored.name
        if bits == 1 and (encoding, bands) != ("gray", 1):
            raise UnsupportedFormatError(f"{name}: 1-bit images of {bands} bands are not supported")
        self.spec = Spec(self.width, self.height, bands, alpha, dtype, encoding)

    def box(self, index: int) -> tuple[Region, int | None]:
        """The pixels that a tile or strip holds, and its plane where planes are stored apart."""
        per_plane = self.columns * self.rows
        plane, place = divmod(index, per_plane)
        row, column = divmod(place, self.columns)
        left, top = column * self.unit[0], row * self.unit[1]
        box = Region(left, top, min(left + self.unit[0], self.width), min(top + self.unit[1], self.height))
        return box, plane if self.planar else None

    def meeting(self, region: Region) -> list[tuple[int, Region, int | None]]:
        """The index, box and plane of every tile or strip that ``region`` meets."""
        found = []
        planes = len(self.offsets) // (self.columns * self.rows)
        for plane in range(planes):
            for row in range(region.top // self.unit[1], -(-region.bottom // self.unit[1])):
                for column in range(region.left // self.unit[0], -(-region.right // self.unit[0])):
                    index = (plane * self.rows + row) * self.columns + column
                    found.append((index, *self.box(index)))
        return found

    def finish(self, pixels: Pixels) -> Pixels:
        """Stored samples as those of the spec: palettes expanded, WhiteIsZero inverted, alpha made straight."""
        if self.palette is not None:
            expanded: Pixels = self.palette[pixels[..., 0]]
            return expanded
        if self.spec.dtype == "bool":
            return np.equal(pixels, 0) if self.inverted else np.not_equal(pixels, 0)
        if self.inverted:
            pixels = np.asarray(self.spec.full_scale, pixels.dtype) - pixels
        if self.associated:
            return _straight(pixels, self.spec)
        return pixels


@contextmanager
def _parsed(resource: Resource) -> Iterator[Any]:
    """A TIFF as tifffile parses it; whatever it raises on the way means that the header is damaged."""
    import tifffile

    try:
        with tifffile.TiffFile(as_file(resource), _multifile=False) as file:
            yield file
    except ImgrsError:
        raise
    except Exception as error:  # a damaged header fails in many ways, all with the same meaning
        raise CorruptImageError(f"{resource.name}: the TIFF header cannot be read: {error}") from error


@functools.lru_cache(maxsize=64)
def _levels(resource: Resource, number: int) -> dict[int, _Page]:
    """A page and its reduced copies, by how much they are reduced: those in its own directory, else those that follow."""
    with _parsed(resource) as file:
        pages = file.pages
        if not len(pages):
            raise CorruptImageError(f"{resource.name}: the TIFF header leads to no image")
        if not 0 <= number < len(pages):
            raise ArgumentError(f"open: page must be from 0 to {len(pages) - 1} for {resource.name}, got {number}")
        page = pages[number]
        full = _Page(resource, page, (number,))
        copies: list[tuple[tuple[int, ...], Any]] = [((number, i), copy) for i, copy in enumerate(page.pages or ())]
        if not copies and not int(page.subfiletype) & REDUCED:
            following = range(number + 1, min(len(pages), number + MOST_LEVELS))
            copies = [((i,), pages[i]) for i in following]
        levels = {1: full}
        for place, copy in copies:
            if not int(copy.subfiletype) & REDUCED:
                break
            level = _Page(resource, copy, place)
            shrink = _reduction(full.spec, level.spec)
            if shrink is not None:
                levels[shrink] = level
        return levels


def _reduction(full: Spec, level: Spec) -> int | None:
    """How often the sides of a reduced copy go into those of the page; None where it is something else."""
    shrink = round(full.width / level.width)
    fits = all(
        small in (-(-large // shrink), large // shrink) for small, large in zip(level.size, full.size, strict=True)
    )
    same = (level.bands, level.dtype, level.encoding, level.alpha) == (
        full.bands,
        full.dtype,
        full.encoding,
        full.alpha,
    )
    return shrink if shrink > 1 and fits and same else None


def _info(page: Any, compression: str) -> dict[str, Any]:
    info: dict[str, Any] = {"compression": compression}
    tags = page.tags
    resolution = tags.valueof("XResolution"), tags.valueof("YResolution")
    if all(isinstance(value, tuple) and value[1] for value in resolution):
        unit = {2: 1.0, 3: 2.54}.get(int(page.resolutionunit), 0.0)
        if unit:
            info["dpi"] = tuple(value[0] / value[1] * unit for value in resolution)
    profile = tags.valueof("InterColorProfile")
    if isinstance(profile, bytes):
        info["icc_profile"] = profile
    packet = tags.valueof("XMP")
    if packet:
        info["xmp"] = packet if isinstance(packet, bytes) else str(packet).encode()
    lies = tags.valueof("Orientation")
    if lies is not None and int(lies) in TURNS:
        info["orientation"] = int(lies)
    return info


def _straight(pixels: Pixels, spec: Spec) -> Pixels:
    """Color that was stored multiplied by alpha, without; black where alpha is 0. Integers are rounded half up."""
    full, alpha = np.float64(spec.full_scale), pixels[..., -1:].astype(np.float64)
    straight = pixels.astype(np.float64)
    straight[..., :-1] = np.divide(
        straight[..., :-1] * full, alpha, out=np.zeros_like(straight[..., :-1]), where=alpha > 0
    )
    if spec.dtype != "float32":
        straight = np.clip(np.floor(straight + 0.5), 0, full)
    return straight.astype(spec.dtype)
