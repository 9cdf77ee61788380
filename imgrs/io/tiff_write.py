"""Writing TIFF: tiles are compressed apart, in the tasks that make them; tables are written at the end.

The layout follows TIFF 6.0, its Technical Note 3 (predictor 3), and the BigTIFF proposal of AWare Systems.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from imgrs.errors import ArgumentError
from imgrs.io.format import Options, Placed, TileEncoder
from imgrs.io.metadata import orientation
from imgrs.io.options import check_image, check_options, check_whole
from imgrs.types import Pixels, Region, Spec

TILE = 512
"""Side of a tile unless the ``tile`` option says otherwise."""
LEVEL = 40
"""Bits of a tile's number below those that say on which copy it is."""
BIG_ABOVE = 3_900_000_000
"""Bytes of pixels from which offsets may not fit 32 bits."""

CODES = {"none": 1, "lzw": 5, "jpeg": 7, "deflate": 8, "zstd": 50000}
_NAMES = {
    "none": "none", "raw": "none", "lzw": "lzw", "tiff_lzw": "lzw", "jpeg": "jpeg", "tiff_jpeg": "jpeg",
    "deflate": "deflate", "zip": "deflate", "tiff_deflate": "deflate", "tiff_adobe_deflate": "deflate", "zstd": "zstd",
}  # fmt: skip
_LEVELS = {"deflate": (0, 12, 1), "zstd": (1, 22, 1)}
_KINDS = [
    *((mode, dtype) for mode in ("LA", "RGB", "RGBA", "CMYK", "multiband") for dtype in ("uint8", "uint16", "float32")),
    ("L", "uint8"), ("I;16", "uint16"), ("F", "float32"), ("1", "bool"),
]  # fmt: skip
_OPTIONS = ("compression", "level", "predictor", "tile", "bigtiff", "quality", "dpi", "icc_profile", "xmp", "pyramid")


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
    orientation: int
    levels: int = 1

    @classmethod
    def of(cls, spec: Spec, info: Mapping[str, Any], options: Options) -> TiffEncoder:
        """Check the options of a save. Raises ``ArgumentError`` naming the one that is wrong."""
        check_image("TIFF", spec, _KINDS)
        check_options("TIFF", options, _OPTIONS)
        compression = _compression(options.get("compression"))
        if compression == "jpeg" and (spec.mode, spec.dtype) not in (("L", "uint8"), ("RGB", "uint8")):
            raise ArgumentError("save: TIFF compression 'jpeg' holds 8-bit L and RGB images; use 'deflate'")
        low, high, usual = _LEVELS.get(compression, (1, 100, 90))
        name = "quality" if compression == "jpeg" else "level"
        level = check_whole("TIFF", name, options.get(name, usual), low, high)
        predictor = options.get("predictor", compression in ("deflate", "zstd", "lzw") and spec.dtype != "bool")
        big = options.get("bigtiff", spec.nbytes > BIG_ABOVE)
        pyramid = options.get("pyramid", False)
        for key, value in (("predictor", predictor), ("bigtiff", big), ("pyramid", pyramid)):
            if not isinstance(value, bool):
                raise ArgumentError(f"save: TIFF {key} must be True or False, got {value!r}")
        unit = _tile(options.get("tile"), spec)
        return cls(
            spec,
            unit,
            compression,
            level,
            predictor and compression in ("deflate", "zstd", "lzw"),
            big,
            _dpi(options.get("dpi", info.get("dpi"))),
            options.get("icc_profile", info.get("icc_profile")),
            options.get("xmp", info.get("xmp")),
            orientation(info),
            _levels(spec, unit) if pyramid else 1,
        )

    def begin(self, path: str) -> int:
        head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if self.big else struct.pack("<2sHI", b"II", 42, 0)
        with open(path, "wb") as file:
            file.write(head)
        return len(head)

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
            space = None if self.spec.bands == 1 else "RGB"
            return bytes(
                imagecodecs.jpeg8_encode(
                    tile[..., 0] if self.spec.bands == 1 else tile,
                    level=self.level,
                    colorspace=space,
                    outcolorspace=space,
                )
            )
        if self.predictor:
            tile = (
                imagecodecs.floatpred_encode(tile.astype("<f4"), axis=-2, dist=1)
                if tile.dtype == np.float32
                else imagecodecs.delta_encode(tile, axis=-2)
            )
        data = np.ascontiguousarray(tile).tobytes()
        if self.compression == "deflate":
            return _deflated(data, self.level)
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
        rows = sorted(placed)
        if not self.big and offset + 16 * len(rows) + (1 << 16) > 0xFFFF_FFFF:
            raise ArgumentError("save: the file is larger than 4 GiB; save with bigtiff=True")
        link = 8 if self.big else 4  # where the offset of the next directory is written
        with open(path, "r+b") as file:
            for level in range(self.levels):
                tiles = [row for row in rows if row[0] >> LEVEL == level]
                entries = self._entries(level, [row[1] for row in tiles], [row[2] for row in tiles])
                offset += offset % 2
                file.seek(link)
                file.write(struct.pack("<Q" if self.big else "<I", offset))
                directory = _directory(entries, offset, self.big)
                file.seek(offset)
                file.write(directory)
                head, entry = (8, 20) if self.big else (2, 12)
                link = offset + head + entry * len(entries)
                offset += len(directory)

    def _entries(self, level: int, offsets: list[int], lengths: list[int]) -> list[tuple[int, str, list[Any]]]:
        """The tags: number, type as ``struct`` has it ("R" for a ratio, "B" for bytes), values."""
        spec = self.spec
        width, height = self._size(level)
        bits = 1 if spec.dtype == "bool" else 8 * spec.itemsize
        photometric = {"gray": 1, "srgb": 2, "cmyk": 5}.get(spec.encoding, 1)
        sample_format = 3 if spec.dtype == "float32" else 1
        wide = "Q" if self.big else "I"
        entries: list[tuple[int, str, list[Any]]] = [
            (256, "I", [width]),
            (257, "I", [height]),
            (258, "H", [bits] * spec.bands),
            (259, "H", [CODES[self.compression]]),
            (262, "H", [photometric]),
            (277, "H", [spec.bands]),
            (284, "H", [1]),
            (322, "I", [self.unit[0]]),
            (323, "I", [self.unit[1]]),
            (324, wide, offsets),
            (325, wide, lengths),
            (339, "H", [sample_format] * spec.bands),
        ]
        if self.levels > 1:
            entries.append((254, "I", [int(level > 0)]))
        if self.predictor:
            entries.append((317, "H", [3 if spec.dtype == "float32" else 2]))
        extra = spec.bands - {"gray": 1, "srgb": 3, "cmyk": 4}.get(spec.encoding, 1)
        if extra:
            entries.append((338, "H", [2] if spec.alpha else [0] * extra))
        if level == 0:
            entries += self._metadata()
        return sorted(entries, key=lambda entry: entry[0])

    def _metadata(self) -> list[tuple[int, str, list[Any]]]:
        entries: list[tuple[int, str, list[Any]]] = []
        if self.dpi is not None:
            entries += [(282, "R", [self.dpi[0]]), (283, "R", [self.dpi[1]]), (296, "H", [2])]
        if self.icc_profile is not None:
            entries.append((34675, "B", [self.icc_profile]))
        if self.xmp is not None:
            entries.append((700, "B", [self.xmp]))
        if self.orientation != 1:
            entries.append((274, "H", [self.orientation]))
        return entries


_TYPES = {"H": 3, "I": 4, "R": 5, "B": 7, "Q": 16}


def _directory(entries: list[tuple[int, str, list[Any]]], offset: int, big: bool) -> bytes:
    """The image file directory at ``offset``, with what does not fit its entries behind it."""
    inline, count_format = (8, "<Q") if big else (4, "<H")
    entry_size = 20 if big else 12
    length = struct.calcsize(count_format) + entry_size * len(entries) + (8 if big else 4)
    head = struct.pack(count_format, len(entries))
    tail = b""
    for tag, kind, values in entries:
        data, count = _packed(kind, values)
        if len(data) <= inline:
            field = data.ljust(inline, b"\0")
        else:
            tail += b"\0" * (-(offset + length + len(tail)) % 8)
            field = struct.pack("<Q" if big else "<I", offset + length + len(tail))
            tail += data
        head += struct.pack("<HHQ" if big else "<HHI", tag, _TYPES[kind], count) + field
    return head + (b"\0" * (8 if big else 4)) + tail


def _packed(kind: str, values: list[Any]) -> tuple[bytes, int]:
    if kind == "B":
        return values[0], len(values[0])
    if kind == "R":
        ratios = [Fraction(value).limit_denominator(10_000) for value in values]
        return b"".join(struct.pack("<II", r.numerator, r.denominator) for r in ratios), len(values)
    return np.array(values, {"H": "<u2", "I": "<u4", "Q": "<u8"}[kind]).tobytes(), len(values)


def _deflated(data: bytes, level: int) -> bytes:
    """Zlib data: by ISA-L at levels 0 to 3, several times faster than zlib for the same size; else by libdeflate."""
    if level <= 3:
        from isal import isal_zlib

        return bytes(isal_zlib.compress(data, min(level, 3)))
    import imagecodecs

    return bytes(imagecodecs.deflate_encode(data, level=level))


def _compression(value: Any) -> str:
    if value is None:
        return "deflate"
    found = _NAMES.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise ArgumentError(f"save: TIFF compression must be one of {', '.join(CODES)}, got {value!r}")
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
        raise ArgumentError(f"save: TIFF tile must be (width, height) in multiples of 16, got {value!r}")
    return sides[0], sides[1]


def _dpi(value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    across, down = (value, value) if isinstance(value, (int, float)) else value
    if not (across > 0 and down > 0):
        raise ArgumentError(f"save: TIFF dpi must be positive, got {value!r}")
    return float(across), float(down)
