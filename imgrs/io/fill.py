"""Damaged files read as far as they go: what cannot be decoded is 0, decode unit by decode unit, and is counted.

This works on any reader. A unit is good or bad as a whole, so the pixels do not depend on which regions are read.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from imgrs.errors import CorruptImageError, DamagedImageWarning
from imgrs.io.format import Reader
from imgrs.types import Pixels, Region, Spec


class FilledReader(Reader):
    """Another reader's image, with 0 where that cannot decode it. Pickles as that reader."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.resource, self.format, self.page = reader.resource, reader.format, reader.page
        self.spec, self.info, self.unit, self.shrinks = reader.spec, reader.info, reader.unit, reader.shrinks
        self.reads_regions, self.has_copies = reader.reads_regions, reader.has_copies

    def __reduce__(self) -> tuple[Any, ...]:
        return FilledReader, (self.reader,)

    @property
    def key(self) -> str:
        return f"{self.reader.key} filled"

    @property
    def lasting(self) -> bool:
        return False  # what is damaged is to be met, and said, in each run

    @property
    def frames(self) -> int:
        return self.reader.frames

    def at(self, page: int) -> Reader:
        return FilledReader(self.reader.at(page))

    def shrunk(self, shrink: int) -> Spec:
        return self.reader.shrunk(shrink)

    def unit_at(self, shrink: int) -> tuple[int, int]:
        return self.reader.unit_at(shrink)

    def stored_bytes(self, region: Region, shrink: int = 1) -> int:
        return self.reader.stored_bytes(region, shrink)

    def converting_bytes(self, area: int) -> int:
        return self.reader.converting_bytes(area)

    @property
    def keeps_units(self) -> bool:  # type: ignore[override]  # known per file, not per class
        return self.reader.keeps_units

    def decoding_bytes(self, shrink: int = 1) -> int:
        return self.reader.decoding_bytes(shrink)

    def lag_bytes(self, shrink: int = 1) -> int:
        return self.reader.lag_bytes(shrink)

    def read(self, region: Region, shrink: int = 1) -> Pixels:
        try:
            return self.reader.read(region, shrink)
        except CorruptImageError:
            spec = self.shrunk(shrink)
            out = np.zeros((region.height, region.width, spec.bands), spec.dtype)
            self._put(out, region, shrink)
            return out

    def decode_into(self, out: Pixels, shrink: int = 1) -> None:
        try:
            self.reader.decode_into(out, shrink)
        except CorruptImageError:
            out[...] = 0
            self._put(out, self.shrunk(shrink).region, shrink)

    def _put(self, out: Pixels, region: Region, shrink: int) -> None:
        """Decode to an array of zeros what can be decoded of a region."""
        for part, pixels, reason in decoded(self.reader, region, shrink):
            if pixels is None:
                self._warn(part, reason, shrink)
                continue
            shared = part & region
            out[shared.slices_in(region)] = pixels[shared.slices_in(part)]

    def _warn(self, part: Region, reason: str, shrink: int) -> None:
        if not part.empty and _said.first(self.resource.identity):
            where = f"{_at_full_size(self, part, shrink)} of the full-size image"
            if shrink > 1 and not self.has_copies:
                where += f" (decoded at 1/{shrink} scale)"
            reason += _copy(self, shrink)
            message = f"{reason}; {where} and whatever else cannot be decoded is 0: damaged() lists what is damaged"
            warnings.warn(message, DamagedImageWarning, stacklevel=2)


def _at_full_size(reader: Reader, part: Region, shrink: int) -> Region:
    """The pixels of the image that a part of a smaller copy stands for; what ends with the copy ends with the image."""
    if shrink == 1:
        return part
    small, whole = reader.shrunk(shrink), reader.spec
    return Region(
        part.left * shrink,
        part.top * shrink,
        whole.width if part.right == small.width else min(part.right * shrink, whole.width),
        whole.height if part.bottom == small.height else min(part.bottom * shrink, whole.height),
    )


def _copy(reader: Reader, shrink: int) -> str:
    return f" (in its copy at 1/{shrink} scale)" if shrink > 1 and reader.has_copies else ""


def decoded(reader: Reader, region: Region, shrink: int = 1) -> Iterator[tuple[Region, Pixels | None, str]]:
    """The decode units that ``region`` meets: each with its pixels in ``region``, or without and the reason.

    A file that is decoded in order comes from its first row, in whole rows, and its first error ends it. The error's
    part is empty where all rows are there, and only what stands behind them is damaged.
    """
    spec = reader.shrunk(shrink)
    if reader.reads_regions or reader.unit_at(shrink) != spec.size:
        for unit in _units(region, reader.unit_at(shrink)):
            part = unit & region
            try:
                yield part, reader.read(part, shrink), ""
            except CorruptImageError as error:
                reader.resource.check()
                yield part, None, str(error)
        return
    top, strips = 0, reader.strips(shrink)
    while True:
        try:
            strip = next(strips, None)
        except CorruptImageError as error:
            reader.resource.check()
            yield Region(0, top, spec.width, spec.height), None, str(error)
            return
        if strip is None:
            return
        yield Region(0, top, spec.width, top + len(strip)), strip, ""
        top += len(strip)


def damage(reader: Reader) -> list[tuple[Region, str]]:
    """Every part of the image that cannot be decoded, and why; decodes all of it once, a unit at a time.

    So are its smaller copies, if the file has some: a part of one is the part of the image that it stands for.
    """
    source = reader.reader if isinstance(reader, FilledReader) else reader
    found: list[tuple[Region, str]] = []
    for shrink in source.shrinks if source.has_copies else (1,):
        for part, pixels, reason in decoded(source, source.shrunk(shrink).region, shrink):
            if pixels is None:
                found.append((_at_full_size(source, part, shrink), reason + _copy(source, shrink)))
    return _joined(found) if source.unit[1] == 1 else found


def _joined(rows: list[tuple[Region, str]]) -> list[tuple[Region, str]]:
    """Rows below each other as one part, with the reason of the first."""
    found: list[tuple[Region, str]] = []
    for part, reason in rows:
        if found and (found[-1][0].bottom, found[-1][0].width) == (part.top, part.width):
            above, first = found[-1]
            found[-1] = Region(above.left, above.top, part.right, part.bottom), first
        else:
            found.append((part, reason))
    return found


def _units(region: Region, unit: tuple[int, int]) -> Iterator[Region]:
    width, height = unit
    left, top = region.left // width * width, region.top // height * height
    yield from Region(left, top, region.right, region.bottom).tiles(unit)


class _Said:
    """Which files this process has warned of."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._lock = threading.Lock()

    def first(self, identity: str) -> bool:
        """Whether this file was not asked about before."""
        with self._lock:
            new = identity not in self._files
            self._files.add(identity)
        return new


_said = _Said()
