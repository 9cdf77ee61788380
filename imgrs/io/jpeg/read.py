"""Reading JPEG: by strips where restart markers let decoding begin anew, else whole, straight to where pixels are kept.

A strip is decoded as a small JPEG of its own: the header with another height, and the coded data between two restarts.
Where chroma has fewer rows than the image, its rows are made from neighbors; a strip is then decoded with the nearest
coded rows of both neighbors, so that its pixels are those of the whole image.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from imgrs.errors import TruncatedImageError, UnsupportedFormatError
from imgrs.io import segments
from imgrs.io.ahead import one_ahead
from imgrs.io.jpeg import markers
from imgrs.io.jpeg.markers import Header, Restarts
from imgrs.io.jpeg.walk import Walk
from imgrs.io.limits import check_ratio, check_scans, check_unit, limit_of
from imgrs.io.mapping import mapped
from imgrs.io.pillow import PillowReader
from imgrs.io.resource import BytesResource, Resource, as_file, ends_with
from imgrs.io.whole import decoding
from imgrs.types import Pixels, Region

if TYPE_CHECKING:
    import PIL.Image

STRIP = 4 << 20
"""Bytes of pixels in a strip, about."""
LARGEST = segments.LIMIT // 4
"""Bytes of a strip that can still be shared; where restarts are further apart, the file is decoded whole."""
ROUNDS = 4
"""How many times higher a strip is than the neighbors that are decoded with it, at least."""
LAG = 64 << 20
"""Bytes that may be decoded to a file's memory before the pages are dropped from it."""
BLOCK = 1 << 20
"""Bytes that Pillow reads at a time; by itself it would ask for 64 KiB."""
STREAMED = 96 << 20
"""Bytes of pixels above which a file without restart markers is decoded in strips: cutting it takes nearly as long as
decoding it, so that a smaller one, such as a camera's, is decoded with half of the work whole."""
TAIL = 64 << 10
"""Bytes at the end of a file in which its end marker is looked for first."""

_END = bytes((0xFF, markers.END))
_DECODED = {
    markers.BASELINE, markers.EXTENDED, markers.PROGRESSIVE, markers.LOSSLESS,
    markers.ARITHMETIC, markers.ARITHMETIC_PROGRESSIVE,
}  # fmt: skip


class _Whole(PillowReader):
    """A JPEG as Pillow decodes it: all of it, at a reduced size if need be."""

    shrinks: Sequence[int] = (1, 2, 4, 8)

    def reduce(self, image: PIL.Image.Image, shrink: int) -> None:
        image.decodermaxblock = BLOCK  # type: ignore[attr-defined]  # a file that is open has it
        image.draft(None, (image.width // shrink, image.height // shrink))  # it never goes below


class JpegReader(_Whole):
    """A JPEG file. Pickles as its resource, and reads the header again where it lands."""

    def __init__(self, resource: Resource, most_scans: int | None = None) -> None:
        self._most_scans = limit_of("decode-scans") if most_scans is None else most_scans
        with as_file(resource) as file:
            self._header = markers.read_header(file, resource.name)
        _check_supported(self._header, resource.name)
        super().__init__(resource, "JPEG")
        if self._header.kind == markers.LOSSLESS:
            self.shrinks = (1,)  # there is no transform to do at a smaller size
        self._rows = self._strip_rows()
        if self._rows is not None:
            self.reads_regions = self.keeps_units = True
            self.unit = (self.spec.width, self._rows * self._header.block[1])

    def __reduce__(self) -> tuple[Any, ...]:
        return JpegReader, (self.resource, self._most_scans)

    def check_limit(self) -> None:
        what = "a row of blocks" if self._header.one_scan else "the image's coefficients"
        name, size = self.resource.name, self.resource.size
        check_ratio(name, "the image", self.spec.nbytes, size, "jpeg", lambda: not ends_with(self.resource, _END))
        check_unit(name, what, self._working_bytes)

    @property
    def _row_bytes(self) -> int:
        """Bytes of the pixels of a row of coded units."""
        return self.spec.width * self.spec.pixel_bytes * self._header.block[1]

    @property
    def _working_bytes(self) -> int:
        """What the decoder holds: some rows of coded units, or all coefficients where they come in several scans."""
        return 4 * self._row_bytes + (0 if self._header.one_scan else self._header.coefficients)

    def decoding_bytes(self, shrink: int = 1) -> int:
        if self.reads_regions:
            rows, _ = self._strips(shrink)
            if shrink > 1:
                return 3 * rows * self._row_bytes // shrink**2
            return (rows + 2) * self._row_bytes + self.resource.size * rows // self._header.down
        if self.streams(shrink):
            return 3 * self._walked_rows * self._row_bytes
        if shrink > 1:
            return self._working_bytes + super().decoding_bytes(shrink)
        return self._working_bytes + self.resource.buffer_bytes

    def lag_bytes(self, shrink: int = 1) -> int:
        return 0 if shrink > 1 or self.streams(shrink) else min(LAG, self.spec.nbytes)

    def _strip_rows(self) -> int | None:
        """Rows of coded units in a strip, a multiple of those between restarts; None where the file is decoded whole."""
        header = self._header
        if not header.one_scan or not header.interval:
            return None
        rows = step = Restarts(header).step
        beside = step + 1 if header.subsampled_down else 0
        wanted = max(STRIP // self._row_bytes, ROUNDS * beside)
        while rows < wanted and 2 * rows * self._row_bytes <= LARGEST:
            rows *= 2  # so that strips begin where tiles of the usual sizes do
        return rows if rows < header.down and rows * self._row_bytes <= LARGEST else None

    def _strips(self, shrink: int) -> tuple[int, int]:
        """Rows of coded units in a strip, and rows of pixels: more of them where each gives less."""
        assert self._rows is not None
        rows = min(self._rows * shrink, self._header.down)
        return rows, rows * self._header.block[1] // shrink

    def unit_at(self, shrink: int) -> tuple[int, int]:
        return super().unit_at(shrink) if self._rows is None else (self.shrunk(shrink).width, self._strips(shrink)[1])

    def stored_bytes(self, region: Region, shrink: int = 1) -> int:
        if self._rows is None:
            return self.resource.size
        rows, height = self._strips(shrink)
        met = -(-region.bottom // height) - region.top // height
        return min(self.resource.size, self.resource.size * met * rows // self._header.down)

    def read(self, region: Region, shrink: int = 1) -> Pixels:
        spec = self.shrunk(shrink)
        if self.streams(shrink):
            return self.read_strips(region)
        if self._rows is None or region == spec.region:
            return super().read(region, shrink)
        rows, height = self._strips(shrink)
        first, last = region.top // height, -(-region.bottom // height)
        met = Region(0, first * height, spec.width, min(last * height, spec.height))
        if region == met:  # nobody else needs these strips
            return self._rows_of_units(first * rows, last * rows, shrink)
        out = np.empty((region.height, region.width, spec.bands), spec.dtype)
        for strip in met.tiles((spec.width, height)):
            at = strip.top // height * rows
            key = (self.resource.identity, shrink, rows, at)
            pixels = segments.shared(key, functools.partial(self._strip, at, at + rows, shrink))
            shared = strip & region
            out[shared.slices_in(region)] = pixels[shared.slices_in(strip)]
        return out

    def _strip(self, first: int, last: int, shrink: int) -> Pixels:
        """The same in memory of its own, without that of neighbors."""
        return self._rows_of_units(first, last, shrink).copy()

    def _rows_of_units(self, first: int, last: int, shrink: int) -> Pixels:
        """The pixels of rows ``first`` to ``last`` of coded units (not included), in a view of all that were decoded."""
        header, restarts = self._header, _restarts(self.resource.identity, self._header)
        last = min(last, header.down)
        above = first - restarts.step if first and (header.subsampled_down or shrink > 1) else first
        below = min(last + 1, header.down) if header.subsampled_down else last
        stop = min(-(-below // restarts.step) * restarts.step, header.down)
        coded = restarts.coded(self.resource, above, stop)
        high = header.block[1]
        top, bottom = above * high, min(below * high, header.height)
        data = header.of_height(bottom - top) + coded + _END
        pixels = self._decoded(data, Region(0, top, header.width, bottom), shrink)
        start, end = first * high - top, min(last * high, header.height) - top
        return pixels[start // shrink : -(-end // shrink)]

    def _decoded(self, data: bytes, region: Region, shrink: int) -> Pixels:
        if shrink > 1:
            part = _Whole(BytesResource(data, f"{self.resource.name}: the strip at {region}"), "JPEG")
            return part.read(part.shrunk(shrink).region, shrink)
        pixels = np.empty((region.height, region.width, self.spec.bands), self.spec.dtype)
        self._decode(data, pixels)
        return pixels

    def decoded(self, shrink: int) -> Pixels:
        if shrink > 1:
            self._check_end()
            return super().decoded(shrink)
        whole = np.empty((self.spec.height, self.spec.width, self.spec.bands), self.spec.dtype)
        self.decode_into(whole)
        return whole

    def decode_into(self, out: Pixels, shrink: int = 1) -> None:
        if shrink > 1:
            out[:] = self.read(self.shrunk(shrink).region, shrink)
            return
        if self.streams():
            super().decode_into(out)
            return
        self._check_end()
        with self.resource.buffer() as data:
            self._decode(data, out)

    def streams(self, shrink: int = 1) -> bool:
        return shrink == 1 and self._header.walkable and self.spec.nbytes > STREAMED

    def strips(self, shrink: int = 1) -> Iterator[Pixels]:
        """The whole image, or strips of a large one; of a file that was cut short, the rows that are there, then the error."""
        if self.streams(shrink):
            yield from self._walked()
            return
        try:
            whole = self.read(self.shrunk(shrink).region, shrink)
        except TruncatedImageError:
            rows = self._rows_there() // shrink
            if rows:
                yield from self._first(rows, shrink)
            raise
        yield whole

    @property
    def _walked_rows(self) -> int:
        """Rows of coded units in a strip of a file without restart markers."""
        return 1 << (max(STRIP // self._row_bytes, ROUNDS * 2 * self._header.subsampled_down, 1) - 1).bit_length()

    def _walked(self) -> Iterator[Pixels]:
        """Strips that are decoded apart, each with its neighbors where chroma is made from them."""
        header, beside = self._header, int(self._header.subsampled_down)
        high, rows, top = header.block[1], self._walked_rows, 0
        for above, below, data in one_ahead(Walk(header, self.resource).strips(rows, beside)):
            region = Region(0, above * high, header.width, min(below * high, header.height))
            bottom = min(top + rows * high, header.height)
            yield self._decoded(data, region, 1)[top - region.top : bottom - region.top]
            top = bottom
        self._check_end()

    def _first(self, rows: int, shrink: int) -> Iterator[Pixels]:
        """The first rows of the image, some at a time."""
        spec = self.shrunk(shrink)
        with tempfile.TemporaryFile() as file:
            file.truncate(spec.nbytes)
            with mapped(file.fileno(), spec.nbytes, writable=True) as memory:
                whole = np.frombuffer(memory, spec.dtype).reshape(spec.height, spec.width, spec.bands)
                if shrink > 1:
                    ended = BytesResource(self.resource.read() + _END, self.resource.name)
                    whole[:] = _Whole(ended, "JPEG").read(spec.region, shrink)
                else:
                    with self.resource.buffer() as data:
                        self._decode(data, whole)
                for strip in Region(0, 0, spec.width, rows).tiles((spec.width, max(1, STRIP // self._row_bytes))):
                    yield whole[strip.top : strip.bottom].copy()

    def _rows_there(self) -> int:
        """How many rows of a file that was cut short are decoded before it ends.

        It is decoded at 1/8 over two colors: rows that are alike were written. libjpeg holds back what may still change.
        """
        import PIL.Image

        if not self._header.one_scan:
            return 0  # all rows change until the last scan
        written = []
        for color in (0, 255):
            with self._opened() as image:
                image.draft(None, (image.width // 8, image.height // 8))
                bands = len(image.getbands())
                image.im = PIL.Image.new(image.mode, image.size, color if bands == 1 else (color,) * bands).im
                with suppress(OSError):  # that it is cut short is known
                    image.load()
                image.tile = []  # type: ignore[attr-defined]  # what was decoded is the image
                written.append(np.array(image).reshape(image.height, -1))
        missing = (written[0] != written[1]).any(axis=1)
        high = self._header.block[1]
        units = (int(np.argmax(missing)) if missing.any() else len(missing)) * 8 // high
        return min(self.spec.height, max(0, units - self._header.subsampled_down) * high)

    def _decode(self, data: Any, out: Pixels) -> None:
        """Decode a JPEG in a buffer at full size by libjpeg, with no copy on the way."""
        import imagecodecs

        with decoding(self.resource.name, "JPEG"):
            imagecodecs.jpeg8_decode(data, out=out[..., 0] if out.shape[2] == 1 else out)
        if self.spec.encoding == "cmyk":
            np.invert(out, out=out)  # Adobe stores how much is left white, and everyone reads it so

    def _check_end(self) -> None:
        """Raise ``TruncatedImageError`` where no end marker follows: without it, gray is decoded for what is missing.

        Raises ``LimitError`` where there are too many scans.
        """
        if not self._header.one_scan:
            scans = markers.count_scans(self.resource, self._header, self._most_scans)
            check_scans(self.resource.name, scans, self._most_scans)
        if self._rows is not None:
            _restarts(self.resource.identity, self._header).check(self.resource)
            return
        start, size = self._header.coded, self.resource.size
        tail = max(start, size - TAIL)
        if _END in self.resource.read(tail):
            return
        for at in range(start, tail, markers.CHUNK):  # there may be much behind an image: another one, a film
            if _END in self.resource.read(at, markers.CHUNK + 1):
                return
        raise TruncatedImageError(f"{self.resource.name} ends before its JPEG data does ({size:,} bytes)")


@functools.lru_cache(maxsize=64)
def _restarts(identity: str, header: Header) -> Restarts:
    """Where a file's coded data begins anew: looked for once in each process."""
    return Restarts(header)


def _check_supported(header: Header, name: str) -> None:
    if header.kind not in _DECODED:
        raise UnsupportedFormatError(f"{name}: hierarchical JPEG files (marker {header.kind:#x}) are not supported")
    if header.precision != 8:
        raise UnsupportedFormatError(f"{name}: JPEG files of {header.precision} bits are not supported")
    if len(header.sampling) not in (1, 3, 4):
        raise UnsupportedFormatError(f"{name}: JPEG files of {len(header.sampling)} components are not supported")
