"""Writing PNG: strips are filtered and deflated apart, in the tasks that make them, and joined to one stream.

The layout follows the PNG Specification (Third Edition). Each strip is a raw deflate stream that ends on a byte and
remembers nothing (a full flush), so that strips follow each other in one stream; their checksums are combined.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from isal import isal_zlib

from imgrs.io.deflate import FAST, FASTEST, deflated
from imgrs.io.format import Placed, TileEncoder
from imgrs.io.png.chunks import SIGNATURE, chunk, chunks
from imgrs.io.png.filters import filtered
from imgrs.types import Pixels, Region, Spec

STRIP = 1 << 20
"""Bytes of filtered rows that are compressed as one. Fixed, so that a file's bytes do not depend on the tiles."""

_COLOR_TYPES = {("gray", False): 0, ("gray", True): 4, ("srgb", False): 2, ("srgb", True): 6}
_ADLER = 65_521


@dataclass(frozen=True)
class PngEncoder(TileEncoder):
    """One PNG to be written. ``options`` are Pillow's, checked; Pillow makes the chunks of metadata from them."""

    by_rows: ClassVar[bool] = True
    spec: Spec
    level: int
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def unit(self) -> tuple[int, int]:  # type: ignore[override]  # a property serves where the base declares an attribute
        rows = max(1, STRIP // (1 + self._row_bytes))
        return self.spec.width, min(self.spec.height, 1 << rows.bit_length() - 1)  # strips then end where tiles do

    @property
    def _bits(self) -> int:
        return 1 if self.spec.dtype == "bool" else 8 * self.spec.itemsize

    @property
    def _row_bytes(self) -> int:
        return -(-self.spec.width * self.spec.bands * self._bits // 8)

    def begin(self, path: str) -> int:
        spec = self.spec
        color = _COLOR_TYPES[spec.encoding, spec.alpha]
        head = SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", *spec.size, self._bits, color, 0, 0, 0))
        head += b"".join(chunk(kind, data) for kind, data in self._metadata())
        head += chunk(b"IDAT", b"\x78\x01")  # the head of a zlib stream
        with open(path, "wb") as file:
            file.write(head)
        return len(head)

    def _metadata(self) -> Iterator[tuple[bytes, bytes]]:
        import PIL.Image
        from PIL.PngImagePlugin import PngInfo

        options, file, texts = dict(self.options), io.BytesIO(), PngInfo()
        for name, text in options.pop("text", {}).items():
            texts.add_itxt(name, text)
        if "xmp" in options:
            texts.add_itxt("XML:com.adobe.xmp", options.pop("xmp").decode("utf-8"))
        mode = "RGB" if self.spec.encoding == "srgb" else "L"
        PIL.Image.new(mode, (1, 1)).save(file, "PNG", pnginfo=texts, **options)
        for kind, data in chunks(file.getvalue()):
            if kind == b"IDAT":
                return
            if kind != b"IHDR":
                yield kind, data

    def encode(self, region: Region, pixels: Pixels, level: int = 0) -> list[tuple[int, bytes]]:
        return [self._strip(pixels[box.slices_in(region)], box) for box in region.tiles(self.unit)]

    def _strip(self, pixels: Pixels, box: Region) -> tuple[int, bytes]:
        if pixels.dtype == bool:
            rows = np.packbits(pixels[..., 0], axis=1)
        else:
            rows = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">")).view(np.uint8).reshape(box.height, -1)
        raw = filtered(rows, max(1, self.spec.bands * self._bits // 8) if self._bits > 1 else 0)
        last = box.bottom == self.spec.height
        return raw.nbytes << 32 | isal_zlib.adler32(raw), chunk(
            b"IDAT", _deflated(raw, self.level, self.spec.nbytes, last)
        )

    def place(self, path: str, offset: int, tiles: list[tuple[int, bytes]]) -> tuple[int, list[Placed]]:
        """Append strips; their number is the length of what was compressed, and its Adler-32 in the low half."""
        placed = []
        with open(path, "r+b") as file:
            file.seek(offset)
            for number, data in tiles:
                placed.append((number, offset, file.write(data)))
                offset += len(data)
        return offset, placed

    def finish(self, path: str, offset: int, placed: list[Placed]) -> None:
        total = 1
        for number, _, _ in placed:
            total = joined_adler(total, number & 0xFFFF_FFFF, number >> 32)
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(chunk(b"IDAT", struct.pack(">I", total)) + chunk(b"IEND", b""))


def _deflated(raw: memoryview, level: int, image_bytes: int, last: bool) -> bytes:
    if FASTEST <= level <= FAST:
        return deflated(raw, level, image_bytes, last)
    slow = zlib.compressobj(level, zlib.DEFLATED, -15)
    return slow.compress(raw) + slow.flush(zlib.Z_FINISH if last else zlib.Z_FULL_FLUSH)


def joined_adler(first: int, second: int, length: int) -> int:
    """The Adler-32 of two runs of bytes from those of each; ``length`` is the second's (as zlib's adler32_combine)."""
    a = ((first & 0xFFFF) + (second & 0xFFFF) - 1) % _ADLER
    b = ((first >> 16) + (second >> 16) + length % _ADLER * ((first & 0xFFFF) - 1)) % _ADLER
    return b << 16 | a
