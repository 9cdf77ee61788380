"""TIFF and BigTIFF: tiles and strips read where a region meets them, tiles encoded apart and placed in order.

tifffile reads the header and imagecodecs decodes; every table is checked against the file's size first.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from imgrs.errors import CorruptImageError, ImgrsError, TruncatedImageError, UnsupportedFormatError
from imgrs.io import segments
from imgrs.io.format import Encoder, Format, Options, Reader
from imgrs.io.limits import check_unit
from imgrs.io.metadata import TURNS
from imgrs.io.resource import Resource, as_file
from imgrs.types import Pixels, Region, Spec

COMPRESSIONS = {1: "raw", 5: "tiff_lzw", 7: "jpeg", 8: "tiff_adobe_deflate", 32773: "packbits", 32946: "tiff_deflate"}
COMPRESSIONS |= {50000: "zstd", 34926: "zstd"}
"""Pillow's names of the compressions that are read."""
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


class TiffReader(Reader):
    """The first image of a TIFF file. Pickles as its resource, and reads the header again where it lands."""

    format = "TIFF"
    reads_regions = True

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        page = _page(resource)
        self._page = page
        self.spec, self.info = page.spec, page.info
        self.unit = page.unit

    def __reduce__(self) -> tuple[Any, ...]:
        return TiffReader, (self.resource,)

    def read(self, region: Region, shrink: int = 1) -> Pixels:
        if shrink != 1:
            raise ValueError(f"TIFF cannot be read at 1/{shrink}")
        page = self._page
        out = np.empty((region.height, region.width, self.spec.bands), page.stored)
        for index, box, plane in page.meeting(region):
            pixels = self._segment(index)
            shared = box & region
            target = out[shared.slices_in(region)]
            source = pixels[shared.slices_in(box)]
            if plane is None:
                target[...] = source[..., : self.spec.bands]
            else:
                target[..., plane] = source[..., 0]
        return page.finish(out)

    def stored_bytes(self, region: Region, shrink: int = 1) -> int:
        if region == self.spec.region:
            return int(self._page.lengths.sum())
        return sum(int(self._page.lengths[index]) for index, _, _ in self._page.meeting(region))

    def _segment(self, index: int) -> Pixels:
        resource, page = self.resource, self._page
        return segments.shared((resource.identity, index), lambda: self._decoded(resource, page, index))

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

    def __init__(self, resource: Resource) -> None:
        import tifffile

        name = resource.name
        try:
            with tifffile.TiffFile(as_file(resource), _multifile=False) as file:
                page = file.pages[0]
                self._read(name, resource.size, page)
        except ImgrsError:
            raise
        except Exception as error:  # a damaged header fails in many ways, all with the same meaning
            raise CorruptImageError(f"{name}: the TIFF header cannot be read: {error}") from error

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


@functools.lru_cache(maxsize=64)
def _page(resource: Resource) -> _Page:
    return _Page(resource)


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
