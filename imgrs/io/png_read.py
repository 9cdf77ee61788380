"""Reading PNG from the top down, in strips, so that memory does not grow with the image.

Rows are unfiltered below the last one of the strip above. Palettes, low depths and colors that stand for transparency are
then given their meaning by Pillow, strip by strip, as for any PNG.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from isal import isal_zlib

from imgrs.errors import CorruptImageError, TruncatedImageError
from imgrs.io.ahead import one_ahead
from imgrs.io.limits import check_ratio, check_unit
from imgrs.io.pillow import PillowReader
from imgrs.io.png_chunks import SIGNATURE, Bytes, chunk, stored_png
from imgrs.io.png_filters import unfiltered
from imgrs.io.resource import BytesResource, Resource, ends_with
from imgrs.io.whole import decoding
from imgrs.types import Pixels, Region, Spec

if TYPE_CHECKING:
    import PIL.Image

STRIP = 4 << 20
"""Bytes of rows that are decoded at a time, about."""
PIECE = 1 << 20
"""Bytes of compressed data that are read at a time. Of a longer chunk, the checksum is verified in a pass of its own."""

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
        # As they are filtered, as they come out of inflating, as they are stored, and as they mean; some more one ahead.
        times, more = (5, 2) if self._rows < self.spec.height else (3, 1)
        self._strip_bytes = self._rows * (times * self._row_bytes + more * self.spec.width * self.spec.pixel_bytes)
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
        with decoding(self.resource.name, "PNG"):
            inflated = self._inflated(ahead)
            if self._rows < self.spec.height:
                inflated = one_ahead(inflated)  # inflating takes about as long as unfiltering
            for filtered in inflated:
                rows = unfiltered(filtered, above, self._pixel)
                above = rows[-1].copy()
                yield self._meant(rows, ahead)

    def _inflated(self, ahead: list[tuple[bytes, bytes]]) -> Iterator[Bytes]:
        """Filtered rows, some at a time; ``ahead`` is filled with the chunks before them."""
        name, left = self.resource.name, self.spec.height
        inflate, row = isal_zlib.decompressobj(), 1 + self._row_bytes
        rows, filled, begun = np.empty(0, np.uint8), 0, False
        for kind, content in self._chunks():
            if kind != b"IDAT":
                if begun:
                    raise CorruptImageError(f"{name} has a {kind.decode('latin-1')} chunk behind its pixels")
                ahead.append((kind, bytes(content)))
                continue
            begun = True
            piece: bytes | memoryview = content
            while left:
                if not filled:
                    rows = np.empty(min(left, self._rows) * row, np.uint8)
                part = inflate.decompress(piece, len(rows) - filled)  # it may hold back what no longer fitted before
                rows[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
                filled, piece = filled + len(part), inflate.unconsumed_tail
                if filled == len(rows):
                    left -= min(left, self._rows)
                    yield rows.reshape(-1, row)
                    filled = 0
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
        kinds = {kind for kind, _ in self._chunks()}
        if self._color == _PALETTE and b"PLTE" not in kinds:
            raise CorruptImageError(f"{self.resource.name} has a palette image without a palette")

    def _chunks(self) -> Iterator[tuple[bytes, memoryview]]:
        """Type and content of the chunks that make pixels, each after its checksum; pixel data comes in pieces."""
        name, window, at = self.resource.name, _Window(self.resource), len(SIGNATURE)
        while len(head := window.read(at, 8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            start, at = at + 8, at + 12 + length
            if kind == b"IEND":
                return
            if at > self.resource.size:
                raise TruncatedImageError(f"{name} ends within a {kind.decode('latin-1')} chunk")
            total = isal_zlib.crc32(kind)
            for piece in window.pieces(start, length):
                total = isal_zlib.crc32(piece, total)
            if window.read(at - 4, 4) != struct.pack(">I", total):
                raise CorruptImageError(f"{name}: the checksum of a {kind.decode('latin-1')} chunk is wrong")
            if kind == b"IDAT":
                yield from ((kind, piece) for piece in window.pieces(start, length))
            elif kind == b"PLTE" and not 0 < length <= 768:
                raise CorruptImageError(f"{name}: the palette has {length / 3:,.0f} colors, and may have 1 to 256")
            elif kind in (b"PLTE", b"tRNS"):
                yield kind, window.read(start, length)

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


class _Window:
    """Bytes of a resource, read some ahead, for chunks that may be tiny or long."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._start, self._data = 0, memoryview(b"")

    def read(self, start: int, length: int) -> memoryview:
        """Some bytes, fewer at the end."""
        if start < self._start or start + length > self._start + len(self._data):
            self._start, self._data = start, memoryview(self._resource.read(start, max(length, PIECE)))
        return self._data[start - self._start : start - self._start + length]

    def pieces(self, start: int, length: int) -> Iterator[memoryview]:
        """Bytes in pieces of at most ``PIECE``."""
        for at in range(start, start + length, PIECE):
            yield self.read(at, min(PIECE, start + length - at))
