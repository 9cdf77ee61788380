"""Writing TIFF: tiles are compressed apart, in the tasks that make them; tables are written at the end.

The layout follows TIFF 6.0, its Technical Note 3 (predictor 3), and the BigTIFF proposal of AWare Systems; with
``cog``, OGC 21-026 (Cloud Optimized GeoTIFF).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imgrs.errors import ArgumentError
from imgrs.io.deflate import FAST, FASTEST, zlib_data
from imgrs.io.format import Options, Placed, TileEncoder
from imgrs.io.metadata import orientation
from imgrs.io.options import check_bytes, check_flag, check_image, check_whole
from imgrs.io.tiff.directory import Entry, tables
from imgrs.io.tiff.ome import ome_xml
from imgrs.io.tiff.predictor import differences
from imgrs.types import Pixels, Region, Spec

TILE = 512
"""Side of a tile unless the ``tile`` option says otherwise."""
LEVEL = 40
"""Bits of a tile's number below those that say on which copy it is."""
BIG_ABOVE = 3_900_000_000
"""Bytes of pixels from which offsets may not fit 32 bits."""

YCBCR = 6
"""The photometric interpretation of color as JPEG stores it."""
FULL_COLOR = 90
"""The quality from which JPEG keeps a sample of color for each pixel."""

CODES = {"none": 1, "lzw": 5, "jpeg": 7, "deflate": 8, "zstd": 50000, "webp": 50001}
_NAMES = {
    "none": "none", "raw": "none", "lzw": "lzw", "tiff_lzw": "lzw", "jpeg": "jpeg", "tiff_jpeg": "jpeg",
    "deflate": "deflate", "zip": "deflate", "tiff_deflate": "deflate", "tiff_adobe_deflate": "deflate", "zstd": "zstd",
    "webp": "webp",
}  # fmt: skip
_PREDICTED = ("deflate", "zstd", "lzw")
_LEVELS = {"deflate": (0, 12, 1), "zstd": (1, 22, 1)}
_USED = {
    "quality": ("jpeg", "webp"),
    "level": ("deflate", "zstd"),
    "lossless": ("webp", "none", *_PREDICTED),
    "predictor": _PREDICTED,
}
"""The compressions that an option says something to."""
_KINDS = [
    *((mode, dtype) for mode in ("LA", "RGB", "RGBA", "CMYK", "multiband") for dtype in ("uint8", "uint16", "float32")),
    ("L", "uint8"), ("I;16", "uint16"), ("F", "float32"), ("1", "bool"),
]  # fmt: skip
_HELD = {"jpeg": (("L", "uint8"), ("RGB", "uint8")), "webp": (("RGB", "uint8"), ("RGBA", "uint8"))}
"""Kinds that a compression is limited to."""


@dataclass(frozen=True)
class TiffEncoder(TileEncoder):
    """One TIFF to be written, its options checked."""

    spec: Spec
    unit: tuple[int, int]
    compression: str
    level: int
    predictor: bool
    big: bool
    dpi: tuple[float, float] | None
    icc_profile: bytes | None
    xmp: bytes | None
    exif: bytes | None
    orientation: int
    levels: int = 1
    cog: bool = False
    """Whether tables and small copies stand in front (Cloud Optimized GeoTIFF, without a place on the earth)."""
    ome: bool = False
    """Whether OME-XML describes the image, and smaller copies hang below it."""
    lossless: bool = False

    @classmethod
    def of(cls, spec: Spec, info: Mapping[str, Any], options: Options, ome: bool = False) -> TiffEncoder:
        """Check the options of a save. Raises ``ArgumentError`` naming the one that is wrong."""
        check_image("TIFF", spec, _KINDS)
        compression = _compression(options.get("compression"))
        if compression in _HELD:
            check_image(f"TIFF of compression {compression!r}", spec, _HELD[compression])
        low, high, usual = _LEVELS.get(compression, (1, 100, 90))
        name = "quality" if compression in _HELD else "level"
        check_used(options)
        flags = {
            "predictor": compression in _PREDICTED and spec.dtype != "bool",
            "bigtiff": spec.nbytes * (1 + any(options.get(name) for name in ("pyramid", "cog")) / 3) > BIG_ABOVE,
            "pyramid": False,
            "cog": False,
            "lossless": False,
        }
        flags = {key: check_flag(f"TIFF {key}", options.get(key, default)) for key, default in flags.items()}
        unit = _tile(options.get("tile"), spec)
        return cls(
            spec,
            unit,
            compression,
            check_whole("TIFF", name, options.get(name, usual), low, high),
            flags["predictor"] and compression in _PREDICTED,
            flags["bigtiff"],
            _dpi(options.get("dpi", info.get("dpi"))),
            check_bytes("TIFF", "icc_profile", options.get("icc_profile", info.get("icc_profile"))),
            check_bytes("TIFF", "xmp", options.get("xmp", info.get("xmp"))),
            check_bytes("TIFF", "exif", options.get("exif", info.get("exif"))),
            orientation({"exif": options["exif"]} if options.get("exif") else info),
            _levels(spec, unit) if flags["pyramid"] or flags["cog"] else 1,
            flags["cog"],
            ome,
            flags["lossless"],
        )

    def begin(self, path: str) -> int:
        head = self._head(0)
        with open(path, "wb") as file:
            file.write(head)
        return len(head)

    def _head(self, first: int) -> bytes:
        """The head of a file whose first directory is at ``first``."""
        if self.big:
            return struct.pack("<2sHHHQ", b"II", 43, 8, 0, first)
        return struct.pack("<2sHI", b"II", 42, first)

    @property
    def _photometric(self) -> int:
        """How color is stored: as JPEG does it best, else as it is."""
        if self.compression == "jpeg" and self.spec.bands == 3:
            return YCBCR
        return {"gray": 1, "srgb": 2, "cmyk": 5}.get(self.spec.encoding, 1)

    @property
    def _sampling(self) -> int:
        """Pixels for each sample of color, along each axis: at high quality, one."""
        return 2 if self.level < FULL_COLOR else 1

    @property
    def encoding_bytes(self) -> int:
        """A tile cut out, as differences (of floats, in another order before), as bytes, and room for what is compressed."""
        return (6 if self.spec.dtype == "float32" else 4) * self.unit[0] * self.unit[1] * self.spec.pixel_bytes

    @property
    def share(self) -> float:
        return 1.0 if self.compression == "none" else super().share

    def encode(self, region: Region, pixels: Pixels, level: int = 0) -> list[tuple[int, bytes]]:
        width, height = self.unit
        columns = -(-self._size(level)[0] // width)
        encoded = []
        for box in region.tiles(self.unit):
            rows, cols = box.slices_in(region)
            tile = pixels[rows, cols]
            missing = (height - box.height, width - box.width)
            if any(missing):
                tile = np.pad(tile, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
            index = box.top // height * columns + box.left // width
            encoded.append((level << LEVEL | index, self._compressed(np.ascontiguousarray(tile))))
        return encoded

    def _size(self, level: int) -> tuple[int, int]:
        width, height = self.spec.size
        return -(-width >> level), -(-height >> level)

    def _compressed(self, tile: Pixels) -> bytes:
        import imagecodecs

        if tile.dtype == bool:
            tile = np.packbits(tile[..., 0], axis=1)[..., None]
        if self.compression == "jpeg":
            gray, sampling = self.spec.bands == 1, "420" if self._sampling == 2 else "444"
            plane = tile[..., 0] if gray else tile
            return bytes(imagecodecs.jpeg8_encode(plane, level=self.level, subsampling=None if gray else sampling))
        if self.compression == "webp":
            return bytes(imagecodecs.webp_encode(tile, level=self.level, lossless=self.lossless))
        if self.predictor:
            tile = (
                imagecodecs.floatpred_encode(tile.astype("<f4"), axis=-2, dist=1)
                if tile.dtype == np.float32
                else differences(tile)
            )
        data = np.ascontiguousarray(tile).tobytes()
        if self.compression == "deflate":
            return _deflated(data, self.level, self.spec.nbytes)
        if self.compression == "zstd":
            return bytes(imagecodecs.zstd_encode(data, level=self.level))
        return bytes(imagecodecs.lzw_encode(data)) if self.compression == "lzw" else data

    def place(self, path: str, offset: int, tiles: list[tuple[int, bytes]]) -> tuple[int, list[Placed]]:
        placed = []
        with open(path, "r+b") as file:
            file.seek(offset)
            for index, data in tiles:
                file.write(data)
                placed.append((index, offset, len(data)))
                offset += len(data)
                if offset % 2:  # TIFF wants even offsets
                    file.write(b"\0")
                    offset += 1
        return offset, placed

    def finish(self, path: str, offset: int, placed: list[Placed]) -> None:
        levels: list[list[Placed]] = [[] for _ in range(self.levels)]
        for row in sorted(placed):
            levels[row[0] >> LEVEL].append(row)
        if self.cog:
            self._finish_in_front(path, levels)
            return
        offset += -offset % 8
        directories = self._tables(levels, offset)
        self._check_length(offset + len(directories))
        with open(path, "r+b") as file:
            file.seek(8 if self.big else 4)
            file.write(struct.pack("<Q" if self.big else "<I", offset))
            file.seek(offset)
            file.write(directories)

    def _finish_in_front(self, path: str, levels: Sequence[Sequence[Placed]]) -> None:
        """Lay the file out anew, as a reader of ranges wants it: all tables first, and small copies before large ones."""
        start = 16 if self.big else 8
        end = start + len(self._tables(levels, start))
        moved: list[list[Placed]] = [[] for _ in levels]
        for level in reversed(range(self.levels)):
            for number, _, length in levels[level]:
                moved[level].append((number, end, length))
                end += length + length % 2
        self._check_length(end)
        with open(path, "rb") as old, open(f"{path}-cog", "wb") as new:
            new.write(self._head(start) + self._tables(moved, start))
            for level in reversed(range(self.levels)):
                for (_, offset, length), (_, place, _) in zip(levels[level], moved[level], strict=True):
                    old.seek(offset)
                    new.seek(place)
                    new.write(old.read(length))
        os.replace(f"{path}-cog", path)

    def _tables(self, levels: Sequence[Sequence[Placed]], offset: int) -> bytes:
        images = [self._entries(level, rows) for level, rows in enumerate(levels)]
        images[0] += self._metadata()
        return tables(images, self.exif, offset, self.big, nested=self.ome)

    def _check_length(self, length: int) -> None:
        if not self.big and length > 0xFFFF_FFFF:
            raise ArgumentError("save: the file is larger than 4 GiB; save with bigtiff=True")

    def _entries(self, level: int, rows: Sequence[Placed]) -> list[Entry]:
        """The tags of a copy whose tiles stand where ``rows`` says."""
        spec = self.spec
        width, height = self._size(level)
        bits = 1 if spec.dtype == "bool" else 8 * spec.itemsize
        wide = "Q" if self.big else "I"
        entries: list[Entry] = [
            (256, "I", [width]),
            (257, "I", [height]),
            (258, "H", [bits] * spec.bands),
            (259, "H", [CODES[self.compression]]),
            (262, "H", [self._photometric]),
            (277, "H", [spec.bands]),
            (284, "H", [1]),
            (322, "I", [self.unit[0]]),
            (323, "I", [self.unit[1]]),
            (324, wide, [row[1] for row in rows]),
            (325, wide, [row[2] for row in rows]),
            (339, "H", [3 if spec.dtype == "float32" else 1] * spec.bands),
        ]
        if self.levels > 1:
            entries.append((254, "I", [int(level > 0)]))
        if self.predictor:
            entries.append((317, "H", [3 if spec.dtype == "float32" else 2]))
        if self._photometric == YCBCR:
            entries.append((530, "H", [self._sampling, self._sampling]))
        extra = spec.bands - {"gray": 1, "srgb": 3, "cmyk": 4}.get(spec.encoding, 1)
        if extra:
            entries.append((338, "H", [2] if spec.alpha else [0] * extra))
        return entries

    def _metadata(self) -> list[Entry]:
        entries: list[Entry] = []
        if self.ome:
            entries.append((270, "A", [ome_xml(self.spec, self.dpi)]))
        if self.dpi is not None:
            entries += [(282, "R", [self.dpi[0]]), (283, "R", [self.dpi[1]]), (296, "H", [2])]
        if self.icc_profile is not None:
            entries.append((34675, "B", [self.icc_profile]))
        if self.xmp is not None:
            entries.append((700, "B", [self.xmp]))
        if self.orientation != 1:
            entries.append((274, "H", [self.orientation]))
        return entries


def _deflated(data: bytes, level: int, image_bytes: int) -> bytes:
    """Zlib data: at the fast levels several times faster than zlib's for the same size; else by libdeflate."""
    if FASTEST <= level <= FAST:
        return zlib_data(data, level, image_bytes)
    import imagecodecs

    return bytes(imagecodecs.deflate_encode(data, level=level))


def check_used(options: Options) -> None:
    """Raise ``ArgumentError`` for an option that says nothing to the compression, as Pillow does."""
    compression = _compression(options.get("compression"))
    for name, compressions in _USED.items():
        if options.get(name) not in (None, False) and compression not in compressions:
            known = " and ".join(compressions)
            raise ArgumentError(f"TIFF {name} is of {known}, and the compression is {compression!r}; give compression=")


def _compression(value: Any) -> str:
    if value is None:
        return "deflate"
    found = _NAMES.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise ArgumentError(f"TIFF compression must be one of {', '.join(CODES)}, got {value!r}")
    return found


def _levels(spec: Spec, unit: tuple[int, int]) -> int:
    """Copies until one fits a tile, the image itself included."""
    levels = 1
    while any(-(-side >> (levels - 1)) > tile for side, tile in zip(spec.size, unit, strict=True)):
        levels += 1
    return levels


def _tile(value: Any, spec: Spec) -> tuple[int, int]:
    if value is None:
        sides = [min(TILE, -(-side // 16) * 16) for side in spec.size]
        return sides[0], sides[1]
    sides = [value, value] if isinstance(value, int) else list(value)
    if len(sides) != 2 or any(not isinstance(s, int) or s < 16 or s % 16 for s in sides):
        raise ArgumentError(f"TIFF tile must be (width, height) in multiples of 16, got {value!r}")
    return sides[0], sides[1]


def _dpi(value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    across, down = (value, value) if isinstance(value, (int, float)) else value
    if not (across > 0 and down > 0):
        raise ArgumentError(f"TIFF dpi must be positive, got {value!r}")
    return float(across), float(down)
