"""Which images a TIFF file has: its chain of pages, the planes of an ImageJ stack, and the smaller copies of a page.

The chain is followed as far as somebody asks, so a file of ten thousand pages opens as fast as one of one.
"""

from __future__ import annotations

import functools
import logging
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from imgrs.errors import ArgumentError, CorruptImageError, ImgrsError, TruncatedImageError
from imgrs.io.reductions import reduction
from imgrs.io.resource import Resource, as_file
from imgrs.io.tiff.info import APERIO
from imgrs.io.tiff.page import Page

REDUCED, MASKS = 1, 4
"""The bits of NewSubfileType that say: a smaller copy of another page; a mask for another page."""
MOST_LEVELS = 32
"""Reduced copies of a page that are looked for."""
MOST_TAGS = 4096
"""Tags of a page; more are taken for damage."""


@functools.cache
def _tifffile() -> Any:
    """tifffile, whose log goes to the handlers that the application has set up, if any, and else nowhere: errors are raised."""
    import tifffile

    tifffile.logger().addHandler(logging.NullHandler())
    return tifffile


@contextmanager
def parsed(resource: Resource) -> Iterator[Any]:
    """A TIFF as tifffile parses it; whatever it raises on the way means that the header is damaged."""
    try:
        with _tifffile().TiffFile(as_file(resource), name=resource.name, _multifile=False) as file:
            if not file.pages:
                raise _without_pages(resource, file.tiff)
            yield file
    except ImgrsError:
        raise
    except Exception as error:  # a damaged header fails in many ways, all with the same meaning
        raise CorruptImageError(f"{resource.name}: the TIFF header cannot be read: {error}") from error


def _without_pages(resource: Resource, tiff: Any) -> CorruptImageError:
    """What is wrong with a file in which no directory is found: as a rule it was cut off, as they may stand at its end."""
    (first,) = struct.unpack(tiff.offsetformat, resource.read(8 if tiff.is_bigtiff else 4, tiff.offsetsize))
    if first < resource.size:
        return CorruptImageError(f"{resource.name}: the TIFF header leads to no image")
    where = f"its first directory would be at byte {first:,}, and the file has {resource.size:,}"
    return TruncatedImageError(f"{resource.name}: {where}; it was cut off")


class Pages:
    """The pages of one file, in order; those of a chain are found as far as they were asked for."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        with parsed(resource) as file:
            first = file.pages.first
            self._tiff = file.tiff
            self._offsets = [int(first.offset)]
            self._seen = {self._offsets[0]: 0}
            self._next: int | None = self._offsets[0]
            """Where the page is whose successor is looked for next; None at the end of the chain."""
            self._fault: str | None = None
            self._lock = threading.Lock()
            self.overlap = first.is_bif or first.software.startswith("MedScan")
            """Whether it is a slide of Ventana or Trestle: their tiles overlap, so that they make no image as they stand."""
            self.planes, self._plane_bytes = 1, 0
            if first.is_imagej and first.is_contiguous and self._reach(2) == 1:
                self.planes = max(1, int((file.imagej_metadata or {}).get("images", 1)))
                self._plane_bytes = int(first.nbytes)

    def __len__(self) -> int:
        if self.planes > 1:
            return self.planes
        found = self._reach(None)
        if self._fault is not None:
            raise CorruptImageError(f"{self._resource.name}: {self._fault}")
        return found

    def has(self, number: int) -> bool:
        """Whether there is such a page, as far as the chain can be followed."""
        return 0 <= number < (self.planes if self.planes > 1 else self._reach(number + 1))

    def parse(self, file: Any, number: int) -> tuple[Any, int]:
        """A page as tifffile has it, and how far behind the data of its tables its own begins.

        Raises ``ArgumentError`` for a page that the file does not have.
        """
        if not self.has(number):
            raise ArgumentError(f"open: page must be from 0 to {len(self) - 1} for {self._resource.name}, got {number}")
        if self.planes > 1 or not number:
            return file.pages.first, number * self._plane_bytes
        return page_at(file, self._offsets[number], (number,)), 0

    def _reach(self, count: int | None) -> int:
        """How many pages there are, looking no further than ``count``."""
        with self._lock:
            while self._next is not None and (count is None or len(self._offsets) < count):
                self._next = self._successor(self._next)
                if self._next is not None:
                    self._seen[self._next] = len(self._offsets)
                    self._offsets.append(self._next)
            return len(self._offsets)

    def _successor(self, page: int) -> int | None:
        """The offset of the page that comes behind the one at ``page``; None, and the fault, where the chain ends."""
        tiff, number = self._tiff, len(self._offsets) - 1
        try:
            (tags,) = struct.unpack(tiff.tagnoformat, self._resource.read(page, tiff.tagnosize))
            link = page + tiff.tagnosize + tags * tiff.tagsize
            (offset,) = struct.unpack(tiff.offsetformat, self._resource.read(link, tiff.offsetsize))
        except struct.error:
            self._fault = f"the file ends within page {number}"
            return None
        if not offset:
            return None
        if tags > MOST_TAGS:
            self._fault = f"page {number} claims {tags:,} tags"
        elif offset in self._seen:
            self._fault = f"the pages run in a circle: behind page {number} comes page {self._seen[offset]} again"
        elif offset >= self._resource.size:
            self._fault = f"page {number + 1} would begin beyond the end of the file"
        else:
            return int(offset)
        return None


@functools.lru_cache(maxsize=64)
def pages_of(resource: Resource) -> Pages:
    """The pages of a file, found once in each process."""
    return Pages(resource)


def page_at(file: Any, offset: int, index: tuple[int, ...]) -> Any:
    """The page whose tables are at ``offset``."""
    file.filehandle.seek(offset)
    return _tifffile().TiffPage(file, index)


def levels_of(resource: Resource, file: Any, page: Any, number: int, skipped: int) -> dict[int, Page]:
    """A page and its reduced copies, by how much they are reduced."""
    full = Page(resource, page, (number,), skipped)
    levels = {1: full}
    for place, copy in _copies(resource, file, page, number):
        level = Page(resource, copy, place)
        shrink = reduction(full.spec, level.spec)
        if shrink is not None:
            levels.setdefault(shrink, level)
    return levels


def _copies(resource: Resource, file: Any, page: Any, number: int) -> Iterator[tuple[tuple[int, ...], Any]]:
    """What may be smaller copies of a page: those in its own directory, else those that follow it in the chain."""
    inner = [int(offset) for offset in page.subifds or ()][:MOST_LEVELS]
    if inner:
        for i, offset in enumerate(inner):
            if 8 <= offset < resource.size:
                copy = page_at(file, offset, (number, i))
                if int(copy.subfiletype) & REDUCED:
                    yield (number, i), copy
        return
    pages = pages_of(resource)
    unmarked = number == 0 and (page.description.startswith(APERIO) or _is_magnified(page))
    if pages.planes > 1 or int(page.subfiletype) & REDUCED:
        return
    for i in range(number + 1, number + MOST_LEVELS):
        if not pages.has(i):
            return
        copy, _ = pages.parse(file, i)
        kind = int(copy.subfiletype)
        if unmarked:  # slides tell their levels from a label and the like in other ways
            if not kind & REDUCED and (copy.is_tiled or _is_magnified(copy)):
                yield (i,), copy
        elif kind & MASKS:
            continue
        elif kind & REDUCED:
            yield (i,), copy
        else:
            return


def _is_magnified(page: Any) -> bool:
    """Whether a page of an NDPI was taken through the lens; maps and overviews have magnifications below 0."""
    return (page.tags.valueof(65421) or 0) > 0 and 65420 in page.tags
