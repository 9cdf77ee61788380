"""Formats whose pixels are not compressed: a header, then rows at known places, read by region and written by tile."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from imgrs.errors import TruncatedImageError
from imgrs.io.format import Placed, Reader, TileEncoder
from imgrs.io.limits import check_ratio
from imgrs.io.resource import Resource
from imgrs.io.whole import at_full_scale
from imgrs.types import Pixels, Region, Spec

SKIPPED = 64 << 10
"""Bytes of a row that are worth a read of their own: reading them takes as long as asking once more."""


@dataclass(frozen=True, eq=False)
class PlainReader(Reader):
    """Rows of samples from byte ``start``.

    ``dtype`` is NumPy's name of a stored sample with its byte order (``">u2"``); ``order`` says which stored band is the
    first, the second, .... Samples from 0 to ``most`` are scaled to the full range; None leaves them as they are. Rows take
    a multiple of ``align`` bytes, and come from the last to the first where ``upward``. ``packed`` rows have eight samples
    a byte, the first highest; ``inverted`` ones mean black by 1.
    """

    resource: Resource
    format: str
    spec: Spec
    start: int
    dtype: str
    most: int | None = None
    order: tuple[int, ...] = ()
    align: int = 1
    upward: bool = False
    packed: bool = False
    inverted: bool = False
    info: Mapping[str, Any] = field(default_factory=dict)
    told: str = ""

    def __post_init__(self) -> None:
        stored = self.resource.size - self.start
        check_ratio(self.resource.name, "the image", self.spec.height * self._row, max(0, stored))

    @property
    def missing(self) -> str | None:  # type: ignore[override]  # a property serves where the base declares an attribute
        needed, size = self.start + self.spec.height * self._row, self.resource.size
        return (
            f"{self.resource.name}: {self.spec} needs {needed:,} bytes, the file has {size:,}"
            if needed > size
            else None
        )

    @property
    def reads_regions(self) -> bool:  # type: ignore[override]  # a property serves where the base declares an attribute
        return True

    @property
    def unit(self) -> tuple[int, int]:  # type: ignore[override]  # a property serves where the base declares an attribute
        return self.spec.width, 1

    @property
    def _row(self) -> int:
        return -(-self._bytes(0, self.spec.width)[1] // self.align) * self.align

    def _bytes(self, left: int, right: int) -> tuple[int, int]:
        """Where the samples of some columns begin and end within a row."""
        if self.packed:
            return left // 8, -(-right // 8)
        pixel = self.spec.bands * np.dtype(self.dtype).itemsize
        return left * pixel, right * pixel

    def _columns(self, region: Region) -> tuple[int, int]:
        """The bytes of each row that are read: those of the region, where the others are many."""
        first, last = self._bytes(region.left, region.right)
        return (first, last) if self._row - (last - first) > SKIPPED else (0, self._row)

    def read(self, region: Region, shrink: int = 1) -> Pixels:
        first, last = self._columns(region)
        rows = range(region.top, region.bottom)
        if self.upward:
            rows = range(self.spec.height - region.bottom, self.spec.height - region.top)
        if self.start + rows.stop * self._row > self.resource.size:
            raise TruncatedImageError(f"{self.missing}; rows {region.top:,} to {region.bottom:,} are not all there")
        if (first, last) == (0, self._row):
            data = self.resource.read(self.start + rows.start * self._row, len(rows) * self._row)
        else:
            starts = [self.start + y * self._row + first for y in rows]
            data = b"".join(self.resource.read(start, last - first) for start in starts)
        stored = np.frombuffer(data, np.uint8).reshape(region.height, last - first)
        return self._meant(stored[:: -1 if self.upward else 1], region, first)

    def _meant(self, rows: Pixels, region: Region, first: int) -> Pixels:
        """The pixels of a region from rows of bytes, each from byte ``first`` of its row."""
        spec, (left, right) = self.spec, self._bytes(region.left, region.right)
        found = rows[:, left - first : right - first]
        if self.packed:
            bits = np.unpackbits(found, axis=1)[:, region.left % 8 :][:, : region.width]
            return np.ascontiguousarray(bits[..., None] != self.inverted)
        samples = np.ascontiguousarray(found).view(self.dtype).reshape(region.height, region.width, spec.bands)
        if self.most is not None:
            samples = at_full_scale(samples, self.most)
        if self.order not in ((), tuple(range(spec.bands))):
            samples = samples[..., list(self.order)]
        pixels: Pixels = samples.astype(spec.dtype, order="C")
        return pixels

    def stored_bytes(self, region: Region, shrink: int = 1) -> int:
        first, last = self._columns(region)
        return region.height * (last - first)


@dataclass(frozen=True)
class PlainEncoder(TileEncoder):
    """A file of ``header``, rows of samples and ``end``, each tile written where it belongs.

    ``dtype`` is NumPy's name of a stored sample with its byte order (``">u2"``); ``order`` picks the stored bands.
    Rows take a multiple of ``align`` bytes, and come from the last to the first where ``upward``. ``packed`` rows have
    eight samples a byte, the first highest; ``inverted`` ones mean black by 1.
    """

    scattered: ClassVar[bool] = True
    spec: Spec
    header: bytes
    dtype: str
    order: tuple[int, ...]
    end: bytes = b""
    align: int = 1
    upward: bool = False
    packed: bool = False
    inverted: bool = False

    @property
    def unit(self) -> tuple[int, int]:  # type: ignore[override]  # a property serves where the base declares an attribute
        return 8 if self.packed else 1, 1

    def _bytes(self, columns: int) -> int:
        if self.packed:
            return -(-columns // 8)
        return columns * len(self.order) * np.dtype(self.dtype).itemsize

    @property
    def _row(self) -> int:
        return -(-self._bytes(self.spec.width) // self.align) * self.align

    def begin(self, path: str) -> int:
        with open(path, "wb") as file:
            file.write(self.header)
            file.seek(self.spec.height * self._row, os.SEEK_CUR)
            file.write(self.end)
            file.truncate()
        return len(self.header)

    @property
    def share(self) -> float:
        return 1.0

    def encode(self, region: Region, pixels: Pixels, level: int = 0) -> list[tuple[int, bytes]]:
        stored = pixels if self.order == tuple(range(self.spec.bands)) else pixels[..., list(self.order)]
        if self.packed:
            stored = np.packbits(stored[..., 0] != self.inverted, axis=1)
        rows = range(region.top, region.bottom)
        places = [self.spec.height - 1 - y for y in rows] if self.upward else rows
        return [
            (place * self._row + self._bytes(region.left), row.astype(self.dtype, copy=False).tobytes())
            for place, row in zip(places, stored, strict=True)
        ]

    def place(self, path: str, offset: int, tiles: list[tuple[int, bytes]]) -> tuple[int, list[Placed]]:
        with open(path, "r+b", buffering=0) as file:
            for place, data in tiles:
                file.seek(offset + place)
                file.write(data)
        return offset, [(place, offset + place, len(data)) for place, data in tiles]

    def finish(self, path: str, offset: int, placed: list[Placed]) -> None:
        pass
