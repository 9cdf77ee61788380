"""What the tables of a TIFF page say, checked against the file: where its tiles or strips are, and how they are stored."""

from __future__ import annotations

from typing import Any

import numpy as np

from imgrs.errors import CorruptImageError, UnsupportedFormatError
from imgrs.io.limits import check_ratio, check_unit
from imgrs.io.resource import Resource
from imgrs.io.tiff.decode import FAX, JPEGS, LZW, NAMES, OLD_JPEG, PACKBITS, PICTURES, Coding
from imgrs.io.tiff.meaning import RGB, YCBCR, meaning_of
from imgrs.types import Pixels, Region

MOST_TABLES = 1 << 26
"""Tiles or strips that a header may claim."""
_REACH = dict.fromkeys(JPEGS, "jpeg") | {
    LZW: "lzw", 8: "deflate", 32946: "deflate", PACKBITS: "packbits", 34925: "lzma", 34926: "zstd", 50000: "zstd",
}  # fmt: skip
"""Compressions of which it is known how much a byte can stand for."""
PIECE = 1 << 20
"""Bytes of rows that are read at a time where nothing is compressed, about."""
_DIFFERENCES = (LZW, 8, 32946, 34925, 34926, 50000)
"""The compressions before which a predictor may stand; libtiff, too, overlooks it elsewhere."""


class Page:
    """One image of a file: its spec, and for each tile or strip its place in the image and in the file."""

    def __init__(self, resource: Resource, page: Any, place: tuple[int, ...], skipped: int = 0) -> None:
        """``page`` is tifffile's; its pixels begin ``skipped`` bytes behind those that its tables name."""
        self.place = place
        """Which of the file's images this is: the page, and the copy within it."""
        name = resource.name
        compression = int(page.compression)
        if compression not in NAMES:
            raise UnsupportedFormatError(
                f"{name}: TIFF compression {page.compression!r} is not supported; rewrite the file with deflate"
            )
        self.compression = NAMES[compression]
        width, height = int(page.imagewidth), int(page.imagelength)
        if width < 1 or height < 1:
            raise CorruptImageError(f"{name}: the header claims {width}x{height} pixels")
        if int(page.imagedepth) > 1:
            raise UnsupportedFormatError(f"{name}: volumes of {page.imagedepth} slices a page are not supported")
        self.meaning = meaning_of(name, page, compression)
        self.spec = self.meaning.spec
        self.planar = int(page.planarconfig) == 2 and int(page.samplesperpixel) > 1
        self.coding = _coding(name, page, compression, self.planar)
        self.fill = page.nodata
        """The stored sample of tiles that are left out."""
        self.kind = "tile" if page.is_tiled else "strip"
        if page.is_tiled:
            self.unit = int(page.tilewidth), int(page.tilelength)
        else:
            self.unit = width, min(int(page.rowsperstrip) or height, height)
        offsets, lengths = page.dataoffsets, page.databytecounts
        if compression == OLD_JPEG:  # one stream, however the strips cut it
            offsets, lengths = _old_jpeg(name, page)
            self.unit = width, height
        self._lay_out(name, resource.size, offsets, lengths, skipped)

    def _lay_out(self, name: str, file_size: int, offsets: Any, lengths: Any, skipped: int) -> None:
        width, height = self.spec.size
        if min(self.unit) < 1:
            raise CorruptImageError(f"{name}: the header claims {self.kind}s of {self.unit[0]}x{self.unit[1]} pixels")
        self.columns, self.rows = -(-width // self.unit[0]), -(-height // self.unit[1])
        self.planes = int(self.spec.bands) if self.planar else 1
        count = self.columns * self.rows * self.planes
        needed = f"{name}: {width}x{height} pixels need {count:,} {self.kind}s"
        if count > MOST_TABLES:
            raise CorruptImageError(f"{needed}, more than {MOST_TABLES:,} are taken for damage")
        if len(offsets) < count or len(lengths) < count:
            there = f"the tables that are there have {len(offsets):,} offsets and {len(lengths):,} lengths"
            raise CorruptImageError(f"{needed}, {there}; the file may have been cut off within its tables")
        self.offsets = np.asarray(offsets[:count], np.int64) + skipped
        self.lengths = np.asarray(lengths[:count], np.int64)
        self.beyond: str | None = None
        """Why not all of the image can be there; None where it may be."""
        if self.offsets.min() < 0 or self.lengths.min() < 0:
            raise CorruptImageError(f"{name}: the tables of {self.kind}s hold negative numbers")
        if self.offsets.max() > file_size:
            beyond = int(np.argmax(self.offsets))
            self.beyond = f"{name}: {self.kind} {beyond} starts beyond the end of the file"
        if self.kind == "strip" and self.coding.compression == 1 and self.coding.subsampling == (1, 1):
            self._cut_anew()

    def check_limits(self, name: str, file_size: int) -> None:
        """Raise ``LimitError`` where a tile is too large, or all that are stored claim more than their bytes can hold.

        Tiles that are left out claim nothing, and several may share the same bytes.
        """
        check_unit(name, f"a {self.kind}", self.unit_bytes, self.unit[0] * self.unit[1])
        check_ratio(name, "the image", self.spec.nbytes, file_size)
        if self.coding.compression in _REACH:
            stored = int(np.count_nonzero(self.lengths))
            claimed = stored * self.coding.stored_row(self.unit[0]) * self.unit[1]
            if self.kind == "strip":  # the last may be shorter
                claimed = min(claimed, self.coding.stored_row(self.unit[0]) * self.spec.height * self.planes)
            check_ratio(name, "the image", claimed, int(self.lengths.sum()), _REACH[self.coding.compression])

    @property
    def unit_bytes(self) -> int:
        """What a tile or strip decodes to."""
        return self.unit[0] * self.unit[1] * self.coding.samples * self.coding.itemsize

    def _cut_anew(self) -> None:
        """Rows that are stored as they are, one behind the other, can be read in any number, whatever the strips."""
        (width, height), row = self.spec.size, self.coding.stored_row(self.spec.width)
        stored = row * np.minimum(self.unit[1], height - np.arange(self.rows) * self.unit[1])
        offsets = self.offsets.reshape(self.planes, self.rows)
        if (np.diff(offsets) != stored[:-1]).any() or (self.lengths.reshape(offsets.shape) < stored).any():
            return
        self.unit = width, min(height, max(1, PIECE // row))
        self.rows = -(-height // self.unit[1])
        tops = np.arange(self.rows) * self.unit[1]
        self.offsets = (offsets[:, :1] + tops * row).ravel()
        self.lengths = np.tile(np.minimum(self.unit[1], height - tops) * row, self.planes)

    def box(self, index: int) -> tuple[Region, int | None]:
        """The pixels that a tile or strip holds, and its plane where planes are stored apart."""
        plane, place = divmod(index, self.columns * self.rows)
        row, column = divmod(place, self.columns)
        left, top = column * self.unit[0], row * self.unit[1]
        box = Region(left, top, min(left + self.unit[0], self.spec.width), min(top + self.unit[1], self.spec.height))
        return box, plane if self.planar else None

    def meeting(self, region: Region) -> list[tuple[int, Region, int | None]]:
        """The index, box and plane of every tile or strip that ``region`` meets."""
        found = []
        for plane in range(self.planes):
            for row in range(region.top // self.unit[1], -(-region.bottom // self.unit[1])):
                for column in range(region.left // self.unit[0], -(-region.right // self.unit[0])):
                    index = (plane * self.rows + row) * self.columns + column
                    found.append((index, *self.box(index)))
        return found

    def missing(self, box: Region) -> Pixels:
        """What a tile that was left out stands for, as GDAL reads it."""
        return np.full((box.height, box.width, self.coding.samples), self.fill, self.stored)

    @property
    def stored(self) -> np.dtype[Any]:
        """The type of a stored sample, in this machine's byte order."""
        return np.dtype(self.coding.dtype).newbyteorder("=")


def _coding(name: str, page: Any, compression: int, planar: bool) -> Coding:
    bits, samples = int(page.bitspersample), 1 if planar else int(page.samplesperpixel)
    photometric, predictor = int(page.photometric), int(page.predictor)
    kind = "f" if np.dtype(page.dtype).kind == "f" else "u"
    itemsize = 1 if bits <= 8 else 2 if bits <= 16 else 4
    if compression in PICTURES and (bits != 8 * itemsize or (compression in JPEGS and bits != 8)):
        raise UnsupportedFormatError(f"{name}: {NAMES[compression]} of {bits}-bit samples is not supported")
    if compression in FAX and (bits, samples) != (1, 1):
        raise CorruptImageError(f"{name}: fax compression of {samples} samples of {bits} bits")
    if compression not in _DIFFERENCES:
        predictor = 1
    if predictor not in (1, 2, 3) or (predictor == 3 and kind != "f") or (predictor == 2 and bits != 8 * itemsize):
        raise UnsupportedFormatError(f"{name}: predictor {predictor} of {bits}-bit samples is not supported")
    subsampling = (1, 1)
    if photometric == YCBCR and compression not in PICTURES:
        across, down = page.subsampling or (2, 2)
        subsampling = int(across), int(down)
        if not {*subsampling} <= {1, 2, 4} or (planar and subsampling != (1, 1)):
            raise UnsupportedFormatError(f"{name}: chroma subsampled by {subsampling} is not supported")
    colors: tuple[int | None, int | str | None] = (None, None)
    if compression in JPEGS and not planar and not page.extrasamples:
        stream = RGB if photometric == RGB and not page.is_jfif else None  # found in Aperio slides
        colors = stream, {RGB: "RGB", YCBCR: "RGB", 5: "CMYK"}.get(photometric)
    return Coding(
        compression,
        f"{page.parent.byteorder}{kind}{itemsize}",
        bits,
        samples,
        predictor,
        int(page.fillorder) == 2,
        subsampling,
        int(page.tags.valueof(292) or 0),
        page.jpegtables,
        page.jpegheader,
        colors,
    )


def _old_jpeg(name: str, page: Any) -> tuple[tuple[int], tuple[int]]:
    """Offset and length of the whole JPEG stream in a page of the compression that TIFF 6.0 had first."""
    start, length = page.tags.valueof(513), page.tags.valueof(514)
    start, length = (value[0] if isinstance(value, tuple) and value else value for value in (start, length))
    if not isinstance(start, int) or not isinstance(length, int):
        raise UnsupportedFormatError(
            f"{name}: old-style JPEG in pieces is not supported; rewrite the file with deflate"
        )
    return (start,), (length,)
