"""Writing OME-Zarr 0.5 (Zarr 3): whole shards of compressed chunks, each encoded and written by the task that made it.

A shard is put together here, as the sharding codec of Zarr 3 has it (https://zarr-specs.readthedocs.io), by the thread that
made its pixels; docs/decisions has the reasons. zarr-python reads it back in tests.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from imgrs.errors import ArgumentError
from imgrs.io import metadata
from imgrs.io.files import FolderEncoder
from imgrs.io.format import Options
from imgrs.io.options import check_bytes, check_flag, check_whole
from imgrs.io.zarr import ngff
from imgrs.types import Pixels, Region, Spec

TILE = 512
"""Side of a chunk unless the ``tile`` option says otherwise."""
TILE_BYTES = 4 << 20
"""Bytes of the pixels of a chunk and all its bands, at most, unless the ``tile`` option says otherwise."""
SHARD_BYTES = 16 << 20
"""Bytes of the pixels of a shard, at most, unless the ``shard`` option says otherwise."""
PYRAMID_SHARD_BYTES = 2 << 20
"""The same where smaller copies are written: a task then makes 16 shards, which all are to be whole at each halving."""
LARGEST_SHARD = 4096
MISSING = (1 << 64) - 1
"""What the index of a shard says of a chunk that lies outside the image."""
LARGEST_KEPT = 16 << 20
"""Bytes of profile, EXIF and XMP: readers take no document of more than some megabytes, and base64 makes them more."""
MICROMETERS = 25_400.0
"""In an inch."""

_LEVELS = {"zstd": (1, 22, 1), "blosc": (0, 9, 3), "none": (0, 0, 0)}


@dataclass(frozen=True)
class ZarrEncoder(FolderEncoder):
    """One OME-Zarr to be written, its options checked. The group's document, which makes it an image, comes last."""

    folder: ClassVar[str] = "zarr.json"
    spec: Spec
    tile: tuple[int, int]
    """Width and height of a chunk, the unit of reading."""
    unit: tuple[int, int]
    """Width and height of a shard, a file."""
    compression: str
    level: int
    pixel: tuple[float, float] | None
    title: str | None
    channels: tuple[dict[str, Any], ...]
    kept: tuple[tuple[str, bytes], ...]
    """Metadata by the names of ``ngff.KEPT``."""
    levels: int = 1

    @classmethod
    def of(cls, spec: Spec, info: Mapping[str, Any], options: Options) -> ZarrEncoder:
        """Check the options of a save. Raises ``ArgumentError`` naming the one that is wrong."""
        if spec.encoding == "statistic":
            raise ArgumentError("ZARR holds images, not statistics; compute() gives their numbers")
        compression = options.get("compression") or "zstd"
        if not isinstance(compression, str) or compression not in _LEVELS:
            raise ArgumentError(f"ZARR compression must be one of {', '.join(_LEVELS)}, got {compression!r}")
        low, high, usual = _LEVELS[compression]
        level = check_whole("ZARR", "level", options.get("level", usual), low, high)
        pyramid = check_flag("pyramid", options.get("pyramid", False))
        side = options.get("tile")
        tile = _sides("tile", side) if side else _tile(spec)
        shard = options.get("shard")
        unit = _sides("shard", shard) if shard else _shard(spec, tile, PYRAMID_SHARD_BYTES if pyramid else SHARD_BYTES)
        if unit[0] % tile[0] or unit[1] % tile[1]:
            raise ArgumentError(f"ZARR shard must be a multiple of the tile {tile}, got {unit}")
        levels = 1
        while pyramid and any(-(-side >> (levels - 1)) > limit for side, limit in zip(spec.size, tile, strict=True)):
            levels += 1
        pixel = _pixel(options.get("dpi", info.get("dpi")))
        if pixel is None and options.get("dpi") is not None:
            raise ArgumentError(f"ZARR dpi must be positive, one number or two, got {options['dpi']!r}")
        name = info.get("name")
        title = name if isinstance(name, str) else None
        channels = ngff.channels(spec, info.get("channels"))
        exif = metadata.exif_bytes(info)
        carried = {**info, "exif": exif} if exif is not None else info
        kept = {name: check_bytes("ZARR", name, options.get(name, carried.get(name))) for name in ngff.KEPT}
        held = tuple((name, data) for name, data in kept.items() if data)
        if sum(len(data) for _, data in held) > LARGEST_KEPT:
            raise ArgumentError(
                f'ZARR holds {LARGEST_KEPT:,} bytes of metadata in its document; leave some out, such as xmp=b""'
            )
        return cls(spec, tile, unit, compression, level, pixel, title, channels, held, levels)

    @property
    def axes(self) -> str:
        return "yx" if self.spec.bands == 1 else "cyx"

    @property
    def together(self) -> int:
        """Bands in a chunk: all of a color, one where each has a meaning of its own."""
        return 1 if self.spec.encoding == "multiband" else self.spec.bands

    def name(self, level: int, column: int, row: int) -> str:
        return f"{level}/c/{'0/' * (self.spec.bands > 1)}{row}/{column}"

    @property
    def share(self) -> float:
        """Chunks are compressed as they are, not as differences: photographs to 0.9 by zstd, what was enlarged to 0.1."""
        return 1.0 if self.compression == "none" else max(0.7, super().share)

    @property
    def encoding_bytes(self) -> int:
        """A chunk as planes, and compressed; and the room that a shard has while it grows."""
        (width, height), (across, down) = self.tile, self.unit
        return (2 * width * height + across * down // 8) * self.spec.pixel_bytes

    def encode(self, region: Region, pixels: Pixels, level: int = 0) -> list[tuple[int, bytes]]:
        return [
            (self.number(level, box), self._shard(pixels[box.slices_in(region)])) for box in region.tiles(self.unit)
        ]

    def _shard(self, pixels: Pixels) -> bytes:
        """Chunks, one behind the other; then where each begins and how long it is; then a checksum of that."""
        (width, height), bands = self.tile, self.spec.bands
        columns, rows = self.unit[0] // width, self.unit[1] // height
        index = np.full((bands // self.together, rows, columns, 2), MISSING, "<u8")
        shard = io.BytesIO()  # which hands out what it holds without a copy
        end = 0
        whole = Region(0, 0, pixels.shape[1], pixels.shape[0])
        planes = np.empty((bands, height, width), pixels.dtype)
        for box in whole.tiles(self.tile):
            _split(pixels[box.slices_in(whole)], planes)
            for first in range(0, bands, self.together):
                data = self._compressed(planes[first : first + self.together])
                shard.write(data)
                shard.write(_checksum(data))
                place = (first // self.together, box.top // height, box.left // width)
                index[place] = end, len(data) + 4
                end += len(data) + 4
        table = index.tobytes()
        shard.write(table)
        shard.write(_checksum(table))
        return shard.getvalue()

    def _compressed(self, planes: Pixels) -> bytes:
        import imagecodecs

        data: Any = planes  # the types of imagecodecs leave arrays out, which it takes
        if self.compression == "zstd":
            return bytes(imagecodecs.zstd_encode(data, level=self.level))
        if self.compression == "blosc":
            size, shuffle = planes.itemsize, _shuffle(self.spec)
            encode = imagecodecs.blosc_encode
            return bytes(encode(data, self.level, compressor="zstd", shuffle=shuffle, typesize=size, numthreads=1))
        return planes.tobytes()

    def documents(self) -> dict[str, bytes]:
        arrays = {f"{level}/zarr.json": self._array(level) for level in range(self.levels)}
        said = ngff.attributes(self.axes, self.levels, self.pixel, self.title, self.channels, dict(self.kept))
        group = {"zarr_format": 3, "node_type": "group", "attributes": said}
        return {name: json.dumps(found, indent=2).encode() for name, found in {**arrays, "zarr.json": group}.items()}

    def _array(self, level: int) -> dict[str, Any]:
        (width, height), bands, floats = self.size(level), self.spec.bands, self.spec.dtype == "float32"
        several = bands > 1
        little = {"name": "bytes", "configuration": {"endian": "little"}}
        codecs = [little, *self._codec(), {"name": "crc32c"}]
        chunk = {
            "chunk_shape": [*[self.together] * several, self.tile[1], self.tile[0]],
            "codecs": codecs,
            "index_codecs": [little, {"name": "crc32c"}],
            "index_location": "end",
        }
        shard = [*[bands] * several, self.unit[1], self.unit[0]]
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [*[bands] * several, height, width],
            "data_type": self.spec.dtype,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": False if self.spec.dtype == "bool" else 0.0 if floats else 0,
            "codecs": [{"name": "sharding_indexed", "configuration": chunk}],
            "attributes": {},
            "dimension_names": list(self.axes),
        }

    def _codec(self) -> list[dict[str, Any]]:
        if self.compression == "zstd":
            return [{"name": "zstd", "configuration": {"level": self.level, "checksum": False}}]
        if self.compression == "blosc":
            configuration = {
                "cname": "zstd",
                "clevel": self.level,
                "shuffle": _shuffle(self.spec),
                "typesize": self.spec.itemsize,
                "blocksize": 0,
            }
            return [{"name": "blosc", "configuration": configuration}]
        return []


def _split(pixels: Pixels, planes: Pixels) -> None:
    """Put the bands of a tile one behind the other into (bands, height, width), with zeros where the tile is smaller."""
    import cv2

    height, width, bands = pixels.shape
    if (height, width) == planes.shape[1:] and 1 < bands <= 4 and pixels.dtype != bool:
        cv2.split(pixels, list(planes))  # NumPy alone takes longer than compressing
        return
    planes[...] = 0
    planes[:, :height, :width] = np.moveaxis(pixels, 2, 0)


def _checksum(data: bytes) -> bytes:
    import google_crc32c

    value: int = google_crc32c.value(data)
    return value.to_bytes(4, "little")


def _shuffle(spec: Spec) -> str:
    """Bits of single bytes are sorted, and bytes of larger samples."""
    return "bitshuffle" if spec.itemsize == 1 else "shuffle"


def _tile(spec: Spec) -> tuple[int, int]:
    """Chunks of ``TILE``, smaller for small images, and for those of many bands."""
    side = TILE
    while side > 64 and side * side * spec.pixel_bytes > TILE_BYTES:
        side >>= 1
    sides = [min(side, -(-length // 16) * 16) for length in spec.size]
    return sides[0], sides[1]


def _shard(spec: Spec, tile: tuple[int, int], most: int) -> tuple[int, int]:
    """As many chunks as ``most`` bytes hold, in a square if the chunks are, and no more than the image has."""
    across = down = 1
    while 2 * across * tile[0] <= LARGEST_SHARD and 4 * across * down * math.prod(tile) * spec.pixel_bytes <= most:
        across, down = 2 * across, 2 * down
    return min(across, -(-spec.width // tile[0])) * tile[0], min(down, -(-spec.height // tile[1])) * tile[1]


def _sides(name: str, value: Any) -> tuple[int, int]:
    sides = [value, value] if isinstance(value, int) else list(value) if isinstance(value, (list, tuple)) else []
    if len(sides) != 2 or any(isinstance(s, bool) or not isinstance(s, int) or s < 16 or s > 1 << 15 for s in sides):
        raise ArgumentError(f"ZARR {name} must be (width, height), each from 16 to 32,768, got {value!r}")
    return sides[0], sides[1]


def _pixel(dpi: Any) -> tuple[float, float] | None:
    """Width and height of a pixel in micrometers; None where a resolution is no positive number, or two."""
    try:
        across, down = (float(value) for value in (dpi if isinstance(dpi, (tuple, list)) else (dpi, dpi)))
    except (TypeError, ValueError, ArithmeticError):
        return None
    return (MICROMETERS / across, MICROMETERS / down) if min(across, down) > 0 and max(across, down) < 1e9 else None
