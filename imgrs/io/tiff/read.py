"""TIFF and BigTIFF: tiles and strips are read where a region meets them, at any size that the file holds.

tifffile reads the tables; every one is checked against the file's size first. What the tables of a page say is in
``page`` and ``meaning``, which pages there are in ``pages``, how their bytes decode in ``decode``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from imgrs.errors import CorruptImageError, TruncatedImageError
from imgrs.io import segments
from imgrs.io.format import Reader
from imgrs.io.resource import Resource
from imgrs.io.tiff.decode import decoded
from imgrs.io.tiff.info import info_of
from imgrs.io.tiff.page import Page
from imgrs.io.tiff.pages import levels_of, pages_of, parsed
from imgrs.types import Pixels, Region, Spec

LARGEST_SHARED = segments.LIMIT // 4
"""Bytes of a strip above which it is not kept for the next tile that needs it; such a file is decoded once, in order."""


class TiffReader(Reader):
    """One page of a TIFF file, with its reduced copies. Pickles as its resource, and reads the header again where it lands."""

    format = "TIFF"
    keeps_units = True
    has_copies = True

    def __init__(self, resource: Resource, page: int = 0) -> None:
        self.resource, self.page = resource, page
        self._levels, self.info = _read(resource, page)
        full = self._levels[1]
        for level in self._levels.values():
            level.check_limits(resource.name, resource.size)
        self.missing = full.beyond
        self.spec, self.unit = full.spec, full.unit
        self.shrinks = tuple(self._levels)
        in_order = full.unit[0] >= full.spec.width and full.unit_bytes > LARGEST_SHARED
        self.reads_regions = not in_order

    def __reduce__(self) -> tuple[Any, ...]:
        return TiffReader, (self.resource, self.page)

    def decoding_bytes(self, shrink: int = 1) -> int:
        page = self._level(shrink)
        as_stored = page.stored == page.spec.dtype and page.coding.bits == 8 * page.spec.itemsize
        return (2 if as_stored else 3) * page.unit_bytes  # as stored and as decoded; and as they mean

    def converting_bytes(self, area: int) -> int:
        return area * self._levels[1].meaning.converting_bytes

    @property
    def frames(self) -> int:
        return len(pages_of(self.resource))

    def at(self, page: int) -> TiffReader:
        return TiffReader(self.resource, page)

    def shrunk(self, shrink: int) -> Spec:
        return self._level(shrink).spec

    def unit_at(self, shrink: int) -> tuple[int, int]:
        return self._level(shrink).unit

    def _level(self, shrink: int) -> Page:
        if shrink not in self._levels:
            raise ValueError(f"{self.resource.name} has no copy at 1/{shrink}")
        return self._levels[shrink]

    def read(self, region: Region, shrink: int = 1) -> Pixels:
        page = self._level(shrink)
        samples = page.planes if page.planar else page.coding.samples
        out = np.empty((region.height, region.width, samples), page.stored)
        for index, box, plane in page.meeting(region):
            pixels = self._segment(page, index)
            shared = box & region
            target = out[shared.slices_in(region)]
            source = pixels[shared.slices_in(box)]
            if plane is None:
                target[...] = source
            else:
                target[..., plane] = source[..., 0]
        return page.meaning.finish(out)

    def strips(self, shrink: int = 1) -> Iterator[Pixels]:
        page = self._level(shrink)
        for rows in page.spec.region.tiles((page.spec.width, page.unit[1])):
            yield self.read(rows, shrink)

    def stored_bytes(self, region: Region, shrink: int = 1) -> int:
        page = self._level(shrink)
        if region == page.spec.region:
            return int(page.lengths.sum())
        return sum(int(page.lengths[index]) for index, _, _ in page.meeting(region))

    def _segment(self, page: Page, index: int) -> Pixels:
        key = (self.resource.identity, page.place, index)
        return segments.shared(key, lambda: self._decoded(page, index))

    def _decoded(self, page: Page, index: int) -> Pixels:
        """The samples of a tile or strip inside the image, as they are stored."""
        box, _ = page.box(index)
        offset, length = int(page.offsets[index]), int(page.lengths[index])
        if not length:
            return page.missing(box)
        where, size = f"{self.resource.name}: {page.kind} {index} at {box}", self.resource.size
        if offset + length > size:
            raise TruncatedImageError(f"{where} ends beyond the file, at byte {offset + length:,} of {size:,}")
        data = self.resource.read(offset, length)
        try:
            pixels = decoded(page.coding, data, page.unit, (box.width, box.height))
        except CorruptImageError as error:
            raise type(error)(f"{where} cannot be decoded: {error}") from None
        except Exception as error:  # imagecodecs and libtiff raise many kinds; each means the data is bad
            raise CorruptImageError(f"{where} cannot be decoded: {error}") from error
        return np.ascontiguousarray(pixels[: box.height, : box.width])


@functools.lru_cache(maxsize=64)
def _read(resource: Resource, number: int) -> tuple[dict[int, Page], dict[str, Any]]:
    """A page with its copies, by how much they are reduced, and its metadata."""
    pages = pages_of(resource)
    with parsed(resource) as file:
        page, skipped = pages.parse(file, number)
        levels = levels_of(resource, file, page, number, skipped)
        return levels, info_of(resource, file, page, levels[1].compression)
