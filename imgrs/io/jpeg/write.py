"""Writing JPEG: strips of whole blocks are compressed apart, in the tasks that make them, and joined by restart markers.

The layout follows ITU-T T.81. Coding starts anew at a restart marker, so a strip's data is that of a file of its own
with the same tables; the result has the pixels of one encode of the whole image.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from imgrs.io.format import LOSSLESS, LOSSY, Placed, TileEncoder
from imgrs.io.jpeg.markers import read_header
from imgrs.types import Pixels, Region, Spec

STRIP = 1 << 20
"""Bytes of pixels between two restart markers, about. Fixed, so that a file's bytes do not depend on the tiles."""
MOST_BLOCKS = 65_535
"""Blocks between two restart markers, at most."""

_SAMPLING = {0: (8, 8), 1: (16, 8), 2: (16, 16)}
"""The pixels that a coded block spans for Pillow's values of ``subsampling``: 4:4:4, 4:2:2 and 4:2:0."""
_NAMES: dict[tuple[int, int], str | None] = {(8, 8): "444", (16, 8): "422", (16, 16): "420"}


@dataclass(frozen=True)
class JpegEncoder(TileEncoder):
    """One JPEG to be written. ``options`` are Pillow's, checked; Pillow makes the header and the coded blocks."""

    by_rows: ClassVar[bool] = True
    spec: Spec
    options: Mapping[str, Any]

    @property
    def _block(self) -> tuple[int, int]:
        usual = 2 if self.spec.encoding == "srgb" else 0
        return _SAMPLING[self.options.get("subsampling", usual)] if self.spec.bands > 1 else (8, 8)

    @property
    def _across(self) -> int:
        return -(-self.spec.width // self._block[0])

    @property
    def unit(self) -> tuple[int, int]:  # type: ignore[override]  # a property serves where the base declares an attribute
        wanted = STRIP // (self.spec.width * self.spec.pixel_bytes) // self._block[1]
        rows = max(1, min(wanted, MOST_BLOCKS // self._across))
        return self.spec.width, self._block[1] << rows.bit_length() - 1  # strips then end where tiles do, as a rule

    @property
    def share(self) -> float:
        return LOSSY if self.options["quality"] <= 90 else LOSSLESS

    def begin(self, path: str) -> int:
        blocks = self._across * (self.unit[1] // self._block[1])
        data = bytearray(self._file(np.zeros((*self._block[::-1], self.spec.bands), np.uint8), self.options))
        header = read_header(io.BytesIO(data), "the JPEG header")
        struct.pack_into(">HH", data, header.frame + 5, self.spec.height, self.spec.width)
        head = data[: header.scan] + struct.pack(">HHH", 0xFFDD, 4, blocks) + data[header.scan : header.coded]
        with open(path, "wb") as file:
            file.write(head)
        return len(head)

    def encode(self, region: Region, pixels: Pixels, level: int = 0) -> list[tuple[int, bytes]]:
        encoded = []
        for box in region.tiles(self.unit):
            data = self._strip(pixels[box.slices_in(region)])
            coded = read_header(io.BytesIO(data), "the JPEG header").coded
            encoded.append((box.top // self.unit[1], data[coded:-2]))
        return encoded

    def _strip(self, pixels: Pixels) -> bytes:
        """A strip as a file of its own: by imagecodecs, which makes the bytes that Pillow makes with one copy less."""
        if self.spec.bands == 4:  # Pillow stores CMYK inverted, as Adobe does
            coding = {name: value for name, value in self.options.items() if name in ("quality", "subsampling")}
            return self._file(pixels, coding)
        import imagecodecs

        quality, sampling = self.options["quality"], _NAMES[self._block]
        if self.spec.bands == 1:
            pixels, sampling = pixels[..., 0], None
        return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels), level=quality, subsampling=sampling))

    def _file(self, pixels: Pixels, options: Mapping[str, Any]) -> bytes:
        import PIL.Image

        height, width, bands = pixels.shape
        mode = {1: "L", 3: "RGB", 4: "CMYK"}[bands]
        file = io.BytesIO()
        PIL.Image.frombytes(mode, (width, height), np.ascontiguousarray(pixels).tobytes()).save(file, "JPEG", **options)
        return file.getvalue()

    def place(self, path: str, offset: int, tiles: list[tuple[int, bytes]]) -> tuple[int, list[Placed]]:
        placed = []
        with open(path, "r+b") as file:
            file.seek(offset)
            for index, data in tiles:
                marker = bytes((0xFF, 0xD0 + (index - 1) % 8)) if index else b""
                written = file.write(marker + data)
                placed.append((index, offset, written))
                offset += written
        return offset, placed

    def finish(self, path: str, offset: int, placed: list[Placed]) -> None:
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(b"\xff\xd9")
