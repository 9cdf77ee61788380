"""Reading PNG from the top down, in strips, so that memory does not grow with the image.

A strip of filtered rows is wrapped as a small PNG after the row above it, for libpng to unfilter. Palettes, low depths
and colors that stand for transparency are then given their meaning by Pillow, strip by strip, as for any PNG.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from imgrs.errors import CorruptImageError, ImgrsError, TruncatedImageError
from imgrs.io.limits import check_unit
from imgrs.io.pillow import PillowReader
from imgrs.io.png_write import SIGNATURE, chunk
from imgrs.io.resource import BytesResource, Resource, as_file
from imgrs.types import Pixels, Region, Spec

if TYPE_CHECKING:
    import PIL.Image

STRIP = 4 << 20
"""Bytes of rows that are decoded at a time, about."""
PIECE = 256 << 10
"""Bytes of compressed data that are read at a time."""

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Stored samples of a pixel, by color type."""
_LIKE = {1: (8, 0), 2: (8, 4), 3: (8, 2), 4: (8, 6), 6: (16, 2), 8: (16, 6)}
"""Bits and color type of an image whose pixels are so many bytes: filters know no more of an image than that."""
_DEEP = {2: (3, False, "srgb"), 4: (2, True, "gray"), 6: (4, True, "srgb")}
"""Bands, alpha and encoding of 16-bit color, by color type."""
_WIDEST = 1_000_000  # libpng's own limit


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
        if self._deep:  # Pillow reads 16-bit color at 8 bits
            bands, alpha, encoding = _DEEP[color]
            spec = Spec(*spec.size, bands, alpha, "uint16", encoding)
        return spec, info

    def decoded(self, shrink: int) -> Pixels:
        if not self._deep:
            return super().decoded(shrink)
        import imagecodecs

        pixels: Pixels = imagecodecs.png_decode(self.resource.read())
        return pixels

    def check_limit(self) -> None:
        head = self.resource.read(16, 13)
        width, _, self._bits, self._color, _, _, interlaced = struct.unpack(">IIBBBBB", head)
        self._pixel = max(1, _SAMPLES.get(self._color, 1) * self._bits // 8)
        self._row_bytes = -(-width * _SAMPLES.get(self._color, 1) * self._bits // 8)
        self._rows = max(1, min(self.spec.height, STRIP // self._row_bytes))
        if interlaced or self._row_bytes // self._pixel > _WIDEST:
            super().check_limit()
            return
        self.strip_bytes = self._rows * (4 * self._row_bytes + 2 * self.spec.width * self.spec.pixel_bytes)
        check_unit(self.resource.name, "a strip", self.strip_bytes)

    def read(self, region: Region, shrink: int = 1) -> Pixels:
        if self.strip_bytes is None:
            return super().read(region, shrink)
        spec = self.spec
        out = np.empty((region.height, region.width, spec.bands), spec.dtype)
        top = 0
        for strip in self.strips():
            covered = Region(0, top, spec.width, top + len(strip))
            shared = covered & region
            if not shared.empty:
                out[shared.slices_in(region)] = strip[shared.slices_in(covered)]
            top = covered.bottom
            if top >= region.bottom and region.bottom < spec.height:
                break
        return out

    def strips(self, shrink: int = 1) -> Iterator[Pixels]:
        if self.strip_bytes is None:
            yield from super().strips(shrink)
            return
        name = self.resource.name
        ahead: list[tuple[bytes, bytes]] = []
        above: bytes | None = None
        try:
            for filtered in self._inflated(ahead):
                rows = self._unfiltered(filtered, above)
                above = rows[-1].tobytes()
                yield self._meant(rows, ahead)
        except ImgrsError:
            raise
        except Exception as error:  # isal, zlib, libpng and Pillow raise many kinds; each means the data is bad
            raise CorruptImageError(f"{name}: the PNG data cannot be decoded: {error}") from error

    def _inflated(self, ahead: list[tuple[bytes, bytes]]) -> Iterator[bytes]:
        """Filtered rows, some at a time; ``ahead`` is filled with the chunks that stand before them."""
        from isal import isal_zlib

        name, left = self.resource.name, self.spec.height
        inflate, rows = isal_zlib.decompressobj(), bytearray()
        for kind, piece in self._chunks():
            if kind != b"IDAT":
                ahead.append((kind, piece))
                continue
            while left:
                wanted = min(left, self._rows) * (1 + self._row_bytes)
                rows += inflate.decompress(piece, wanted - len(rows))  # it may hold back what no longer fitted before
                piece = inflate.unconsumed_tail
                if len(rows) == wanted:
                    left -= min(left, self._rows)
                    yield bytes(rows)
                    rows.clear()
                elif not piece or inflate.eof:
                    break
            if not left and not inflate.eof and inflate.decompress(piece, 1):  # to the checksum behind the last row
                raise CorruptImageError(f"{name} holds more rows than its header says")
        if left:
            raise TruncatedImageError(f"{name} ends {left:,} rows before the image does")
        if not inflate.eof:
            raise TruncatedImageError(f"{name} ends before the checksum of its pixels")

    def _chunks(self) -> Iterator[tuple[bytes, bytes]]:
        """Type and content of each chunk behind the header; pixel data comes in pieces, before its checksum is seen."""
        name = self.resource.name
        with as_file(self.resource) as file:
            file.seek(len(SIGNATURE))
            while True:
                head = file.read(8)
                if len(head) < 8:
                    return  # who needs more says so
                length, kind = struct.unpack(">I4s", head)
                if kind == b"IEND":
                    return
                if kind != b"IDAT":
                    check_unit(name, f"a {kind!r} chunk", length)
                total = zlib.crc32(kind)
                whole = b""
                while length:
                    piece = file.read(min(length, PIECE if kind == b"IDAT" else length))
                    if not piece:
                        raise TruncatedImageError(f"{name} ends within a {kind.decode('latin-1')} chunk")
                    length -= len(piece)
                    total = zlib.crc32(piece, total)
                    if kind == b"IDAT":
                        yield kind, piece
                    else:
                        whole += piece
                if file.read(4) != struct.pack(">I", total):
                    raise CorruptImageError(f"{name}: the checksum of a {kind.decode('latin-1')} chunk is wrong")
                if kind not in (b"IDAT", b"IHDR"):
                    yield kind, whole

    def _unfiltered(self, filtered: bytes, above: bytes | None) -> Pixels:
        """Rows of stored bytes, of shape (rows, bytes)."""
        import imagecodecs

        bits, color = _LIKE[self._pixel]
        body = filtered if above is None else b"\0" + above + filtered
        png = _wrapped(self._row_bytes // self._pixel, len(body) // (1 + self._row_bytes), bits, color, body)
        pixels: Pixels = imagecodecs.png_decode(png)
        stored = np.ascontiguousarray(pixels, ">u2" if bits == 16 else "u1").view(np.uint8).reshape(len(pixels), -1)
        return stored if above is None else stored[1:]

    def _meant(self, rows: Pixels, ahead: list[tuple[bytes, bytes]]) -> Pixels:
        """Pixels of the image's spec from rows of stored bytes."""
        spec = self.spec
        if self._bits >= 8 and self._color != 3 and spec.bands == _SAMPLES[self._color]:
            stored = np.ascontiguousarray(rows).view(">u2" if self._bits == 16 else "u1")
            return stored.reshape(len(rows), spec.width, spec.bands).astype(spec.dtype)
        plain = np.zeros((len(rows), 1 + self._row_bytes), np.uint8)
        plain[:, 1:] = rows
        png = _wrapped(spec.width, len(rows), self._bits, self._color, plain.tobytes(), ahead)
        part = PillowReader(BytesResource(png, self.resource.name), "PNG")
        return part.read(part.spec.region)


def _wrapped(
    width: int, height: int, bits: int, color: int, rows: bytes, ahead: list[tuple[bytes, bytes]] | None = None
) -> bytes:
    """A PNG of filtered rows, not compressed."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    meaning = b"".join(chunk(kind, data) for kind, data in ahead or () if kind in (b"PLTE", b"tRNS"))
    return SIGNATURE + head + meaning + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b"")
