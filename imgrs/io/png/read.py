"""Reading PNG from the top down, in strips, so that memory does not grow with the image.

Rows are unfiltered below the last one of the strip above. Palettes, low depths and colors that stand for transparency are
then given their meaning by Pillow, strip by strip, as for any PNG.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
from isal import isal_zlib

from imgrs.errors import CorruptImageError, TruncatedImageError
from imgrs.io.ahead import one_ahead
from imgrs.io.limits import check_ratio, check_unit
from imgrs.io.pillow import PillowReader
from imgrs.io.png.chunks import PIECE, Bytes, Chunk, chunk, joined, stored_png, verified_chunks
from imgrs.io.png.filters import unfiltered
from imgrs.io.resource import BytesResource, Resource, ends_with
from imgrs.io.whole import decoding
from imgrs.types import Pixels, Region, Spec

if TYPE_CHECKING:
    import PIL.Image

STRIP = 4 << 20
"""Bytes of rows that are decoded at a time, about."""
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Stored samples of a pixel, by color type."""
_DEEP = {0: (1, False, "gray"), 2: (3, False, "srgb"), 4: (2, True, "gray"), 6: (4, True, "srgb")}
"""Bands, alpha and encoding of 16-bit images, by color type."""
_PALETTE = 3
_WIDEST = 1_000_000
"""Pixels of a row, and rows, that libpng takes, at most."""


class PngReader(PillowReader):
    """A PNG file. Interlaced ones are decoded whole. Pickles as its resource."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource, "PNG")

    def __reduce__(self) -> tuple[Any, ...]:
        return PngReader, (self.resource,)

    def described(self, image: PIL.Image.Image) -> tuple[Spec, dict[str, Any]]:
        spec, info = super().described(image)
        texts = {
            str(name): str(text) for name, text in image.info.items() if isinstance(text, str) and name[:4] != "XML:"
        }
        if texts:  # ahead of the pixels; Pillow's own ``text`` decodes the image to see those behind them too
            info["text"] = texts
        bits, color = self.resource.read(24, 2)
        self._deep = bits == 16 and color in _DEEP
        self._clear = image.info.get("transparency") if self._deep and color in (0, 2) else None
        if self._deep:  # Pillow reads 16-bit color at 8 bits
            bands, alpha, encoding = _DEEP[color]
            clear = self._clear is not None
            spec = Spec(*spec.size, bands + clear, alpha or clear, "uint16", encoding)
        return spec, info

    def decoded(self, shrink: int) -> Pixels:
        if not self._deep:
            return super().decoded(shrink)
        import imagecodecs

        pixels: Pixels = imagecodecs.png_decode(self.resource.read())
        return self._with_opacity(pixels.reshape(*pixels.shape[:2], -1))

    def _with_opacity(self, pixels: Pixels) -> Pixels:
        """16-bit pixels with the opacity that the color that stands for transparency gives them, if there is one."""
        if self._clear is None or pixels.shape[2] == self.spec.bands:
            return pixels
        opaque = (pixels != np.asarray(self._clear, np.uint16)).any(axis=2, keepdims=True)
        return np.concatenate([pixels, np.where(opaque, np.uint16(65_535), np.uint16(0))], axis=2)

    def check_limit(self) -> None:
        head = self.resource.read(16, 13)
        width, _, self._bits, self._color, _, _, interlaced = struct.unpack(">IIBBBBB", head)
        self._pixel = max(1, _SAMPLES.get(self._color, 1) * self._bits // 8)
        self._row_bytes = -(-width * _SAMPLES.get(self._color, 1) * self._bits // 8)
        self._rows = max(1, min(self.spec.height, STRIP // self._row_bytes, _WIDEST - 1))
        self._strip_bytes: int | None = None
        claimed = (1 + self._row_bytes) * self.spec.height
        name, size = self.resource.name, self.resource.size
        check_ratio(name, "the image", claimed, size, "deflate", lambda: not ends_with(self.resource, b"IEND"))
        if interlaced or self._row_bytes // self._pixel > _WIDEST:
            super().check_limit()
            return
        # As they come out of inflating, as they are filtered, as they are stored, and as they mean; some more one ahead.
        times, more, pieces = (5, 2, 4) if self._rows < self.spec.height else (3, 1, 2)
        self._strip_bytes = self._rows * (times * self._row_bytes + more * self.spec.width * self.spec.pixel_bytes)
        self._strip_bytes += pieces * min(PIECE, size)
        check_unit(name, "a strip", self._strip_bytes)

    def decoding_bytes(self, shrink: int = 1) -> int:
        return super().decoding_bytes(shrink) if self._strip_bytes is None else self._strip_bytes

    def read(self, region: Region, shrink: int = 1) -> Pixels:
        if self._strip_bytes is None:
            self._check_content()
            return super().read(region, shrink)
        return self.read_strips(region)

    def streams(self, shrink: int = 1) -> bool:
        return self._strip_bytes is not None

    def strips(self, shrink: int = 1) -> Iterator[Pixels]:
        if self._strip_bytes is None:
            yield from super().strips(shrink)
            return
        ahead: list[tuple[bytes, bytes]] = []
        above = np.zeros(self._row_bytes, np.uint8)
        pieces = joined(verified_chunks(self.resource))
        with decoding(self.resource.name, "PNG"):
            inflated = self._inflated(pieces, ahead)
            if self._rows < self.spec.height:  # inflating takes longest: all else is done beside it
                inflated = one_ahead(self._closing(one_ahead(pieces), ahead))
            for parts in inflated:
                filtered = np.frombuffer(b"".join(parts), np.uint8).reshape(-1, 1 + self._row_bytes)
                parts.clear()
                rows = unfiltered(filtered, above, self._pixel)
                above = rows[-1].copy()
                yield self._meant(rows, ahead)

    def _closing(self, pieces: Generator[Chunk], ahead: list[tuple[bytes, bytes]]) -> Iterator[list[bytes]]:
        """The same as ``_inflated``, and where an error ends that, it ends the thread that reads ahead, too."""
        with closing(pieces):
            yield from self._inflated(pieces, ahead)

    def _inflated(self, pieces: Iterator[Chunk], ahead: list[tuple[bytes, bytes]]) -> Iterator[list[bytes]]:
        """Filtered rows, some at a time, in parts; ``ahead`` is filled with the chunks before them."""
        name, left = self.resource.name, self.spec.height
        inflate, row = isal_zlib.decompressobj(), 1 + self._row_bytes
        parts: list[bytes] = []
        wanted, begun = 0, False
        for kind, content in pieces:
            if kind != b"IDAT":
                if begun:
                    raise CorruptImageError(f"{name} has a {kind.decode('latin-1')} chunk behind its pixels")
                ahead.append((kind, bytes(content)))
                continue
            begun = True
            piece: bytes | memoryview = content
            while left:
                wanted = wanted or min(left, self._rows) * row
                part = inflate.decompress(piece, wanted)  # it may hold back what no longer fitted before
                parts.append(part)
                wanted, piece = wanted - len(part), inflate.unconsumed_tail
                if not wanted:
                    left -= min(left, self._rows)
                    yield parts
                    parts = []
                elif not piece or inflate.eof:
                    break
            if not left and not inflate.eof and inflate.decompress(piece, 1):  # to the checksum behind the last row
                raise CorruptImageError(f"{name} holds more rows than its header says")
        if left:
            raise TruncatedImageError(f"{name} ends {left:,} rows before the image does")
        if not inflate.eof:
            raise TruncatedImageError(f"{name} ends before the checksum of its pixels")

    def _check_content(self) -> None:
        """Verify checksums and the palette for Pillow, which does not: it stops at the last pixel that it needs."""
        kinds = {kind for kind, _ in verified_chunks(self.resource)}
        if self._color == _PALETTE and b"PLTE" not in kinds:
            raise CorruptImageError(f"{self.resource.name} has a palette image without a palette")

    def _meant(self, rows: Bytes, ahead: list[tuple[bytes, bytes]]) -> Pixels:
        """Pixels of the image's spec from rows of bytes."""
        spec = self.spec
        samples = _SAMPLES[self._color]
        if self._bits == 16:
            return self._with_opacity(rows.view(">u2").reshape(len(rows), spec.width, samples).astype(np.uint16))
        if self._color == _PALETTE and not any(kind == b"PLTE" for kind, _ in ahead):
            raise CorruptImageError(f"{self.resource.name} has a palette image without a palette")
        if self._bits == 8 and self._color != _PALETTE and spec.bands == samples:
            return rows.reshape(len(rows), spec.width, samples)
        plain = np.zeros((len(rows), 1 + self._row_bytes), np.uint8)
        plain[:, 1:] = rows
        meaning = b"".join(chunk(kind, data) for kind, data in ahead if kind in (b"PLTE", b"tRNS"))
        png = stored_png(spec.width, len(rows), self._bits, self._color, plain.reshape(-1), meaning)
        part = PillowReader(BytesResource(png.tobytes(), self.resource.name), "PNG")
        return part.read(part.spec.region)
