"""Writing formats whose pixels are not compressed: a header, then rows at known places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from imgrs.io.format import Placed, TileEncoder
from imgrs.types import Pixels, Region, Spec


@dataclass(frozen=True)
class PlainEncoder(TileEncoder):
    """A file of ``header`` and rows of samples, each tile written where it belongs.

    ``dtype`` is NumPy's name of a stored sample with its byte order (``">u2"``); ``order`` picks the stored bands.
    Rows take a multiple of ``align`` bytes, and come from the last to the first where ``upward``.
    """

    scattered: ClassVar[bool] = True
    spec: Spec
    header: bytes
    dtype: str
    order: tuple[int, ...]
    align: int = 1
    upward: bool = False

    @property
    def unit(self) -> tuple[int, int]:  # type: ignore[override]  # a property serves where the base declares an attribute
        return 1, 1

    @property
    def _pixel(self) -> int:
        return len(self.order) * np.dtype(self.dtype).itemsize

    @property
    def _row(self) -> int:
        return -(-self.spec.width * self._pixel // self.align) * self.align

    def begin(self, path: str) -> int:
        with open(path, "wb") as file:
            file.write(self.header)
            file.truncate(len(self.header) + self.spec.height * self._row)
        return len(self.header)

    def encode(self, region: Region, pixels: Pixels, level: int = 0) -> list[tuple[int, bytes]]:
        stored = pixels if self.order == tuple(range(self.spec.bands)) else pixels[..., list(self.order)]
        rows = range(region.top, region.bottom)
        places = [self.spec.height - 1 - y for y in rows] if self.upward else rows
        return [
            (place * self._row + region.left * self._pixel, row.astype(self.dtype, copy=False).tobytes())
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
