"""Zarr of versions 2 and 3, and OME-Zarr, which says what its arrays mean: read by chunks, at every size that is stored.

zarr-python decodes; only the chunks that a region meets are fetched, of shards their pieces.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imgrs.errors import ArgumentError, CorruptImageError, ImgrsError, LimitError, UnsupportedFormatError
from imgrs.io import segments
from imgrs.io.folder import Folder
from imgrs.io.format import Reader
from imgrs.io.limits import check_unit
from imgrs.io.npy import ENCODINGS
from imgrs.io.reductions import reduction
from imgrs.io.resource import Resource
from imgrs.io.zarr import ngff
from imgrs.io.zarr.ngff import Axis, Layout, Multiscale
from imgrs.io.zarr.store import array, document
from imgrs.types import Pixels, Region, Spec

MOST_LEVELS = 64
"""Sizes that one image may be stored in."""
MOST_SMALL_CHUNKS = 1 << 16
"""Chunks of fewer than 256 pixels that an image may have: each takes some 0.3 ms."""
LONGEST = 1 << 31
"""Pixels a side."""
JOURNEYS = 8
"""Chunks of a remote store that are fetched at once for one tile."""
ROW = 4096
"""Pixels of a row of chunks that are decoded at once, about: tiles are no wider as a rule."""
NAMED = 8
"""Names that a message lists."""


@dataclass(frozen=True)
class Level:
    """One size of an image: an array, and where in it rows, columns and bands are."""

    folder: Folder
    path: str
    spec: Spec
    layout: Layout
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    """Of the inner ones where they are put together in shards."""
    stored: tuple[int, ...]
    """The shape of what is stored as a file: a shard or a chunk."""

    @property
    def unit(self) -> tuple[int, int]:
        return self.chunks[self.layout.x], self.chunks[self.layout.y]

    @property
    def pages(self) -> tuple[int, ...]:
        return tuple(self.shape[axis] for axis in self.layout.pages)

    def box(self, cell: tuple[int, int]) -> Region:
        """The pixels of the chunks in a (row, column)."""
        width, height = self.unit
        left, top = cell[1] * width, cell[0] * height
        return Region(left, top, left + width, top + height) & self.spec.region

    def rows(self, region: Region) -> range:
        return range(region.top // self.unit[1], -(-region.bottom // self.unit[1]))

    def columns(self, region: Region) -> range:
        return range(region.left // self.unit[0], -(-region.right // self.unit[0]))

    def meeting(self, region: Region) -> list[tuple[int, int]]:
        """The (row, column) of all chunks that a region meets."""
        return [(row, column) for row in self.rows(region) for column in self.columns(region)]

    def decoded(self, page: int, box: Region, bands: slice = slice(None)) -> Pixels:
        """The pixels of ``box``, which covers whole chunks, as (height, width, bands)."""
        where: list[Any] = [0] * len(self.shape)
        for axis, index in zip(self.layout.pages, np.unravel_index(page, self.pages), strict=True):
            where[axis] = int(index)
        where[self.layout.y], where[self.layout.x] = slice(box.top, box.bottom), slice(box.left, box.right)
        if self.layout.band is not None:
            where[self.layout.band] = bands
        try:
            found: Pixels = np.asarray(array(self.folder, self.path)[tuple(where)])
        except ImgrsError:
            raise
        except Exception as error:  # codecs raise many kinds; each means that stored bytes are bad
            self._blame(page, box, bands)
            raise CorruptImageError(f"{self._where(where)} at {box} cannot be decoded: {error}") from error
        return self._interleaved(found)

    def _blame(self, page: int, box: Region, bands: slice) -> None:
        """Decode chunk by chunk, so that the error names the one that is bad."""
        cells = self.meeting(box)
        if len(cells) > 1:
            for cell in cells:
                self.decoded(page, self.box(cell), bands)
        elif self.layout.band is not None and bands == slice(None):
            step = self.chunks[self.layout.band]
            for first in range(0, self.spec.bands, step) if step < self.spec.bands else ():
                self.decoded(page, box, slice(first, first + step))

    def _where(self, where: Sequence[Any]) -> str:
        """The file that holds the first of the samples that are selected."""
        first = [place.start or 0 if isinstance(place, slice) else place for place in where]
        at = tuple(index // size for index, size in zip(first, self.stored, strict=True))
        key = array(self.folder, self.path).metadata.encode_chunk_key(at)
        return f"{self.folder.name}: {f'{self.path}/' if self.path else ''}{key}"

    def _interleaved(self, found: Pixels) -> Pixels:
        """Samples in the order and the byte order of images, whatever those of the array are."""
        spec, layout = self.spec, self.layout
        found = found.astype(spec.dtype, copy=False)
        if spec.dtype == "bool":
            found = np.not_equal(found.view(np.uint8), 0)  # a byte may hold anything
        axes = sorted(axis for axis in (layout.band, layout.y, layout.x) if axis is not None)
        place = {axis: i for i, axis in enumerate(axes)}
        if layout.band is None:
            return np.ascontiguousarray(found.transpose(place[layout.y], place[layout.x])[..., None])
        planes = found.transpose(place[layout.band], place[layout.y], place[layout.x])
        if spec.dtype != "bool" and 1 < len(planes) <= 4 and place[layout.band] == 0:
            import cv2

            merged: Pixels = cv2.merge([np.ascontiguousarray(plane) for plane in planes])  # 50 times as fast as NumPy
            return merged
        return np.ascontiguousarray(np.moveaxis(planes, 0, 2))


@dataclass(frozen=True)
class Contents:
    """What a folder's documents say, checked: the sizes of the image by how much they are reduced."""

    levels: dict[int, Level]
    info: dict[str, Any] = field(default_factory=dict)


class ZarrReader(Reader):
    """One page of a Zarr image, such as a time and a depth. Pickles as its folder, and opens it again where it lands."""

    format = "ZARR"
    reads_regions = True
    keeps_units = True
    has_copies = True

    def __init__(self, resource: Resource, page: int = 0) -> None:
        assert isinstance(resource, Folder)
        self.resource: Folder = resource
        self.page = page
        image = _image(resource)
        self._levels = image.levels
        self.spec, self.unit, self.info = self._levels[1].spec, self._levels[1].unit, image.info
        self.shrinks = tuple(self._levels)

    def __reduce__(self) -> tuple[Any, ...]:
        return ZarrReader, (self.resource, self.page)

    @property
    def frames(self) -> int:
        return math.prod(self._levels[1].pages)

    def at(self, page: int) -> ZarrReader:
        if not 0 <= page < self.frames:
            raise ArgumentError(f"open: page must be from 0 to {self.frames - 1} for {self.resource.name}, got {page}")
        return ZarrReader(self.resource, page)

    def decoding_bytes(self, shrink: int = 1) -> int:
        level = self._level(shrink)
        row = min(level.spec.width, ROW) * level.unit[1]
        return 3 * row * level.spec.pixel_bytes  # a row of chunks as the library gives it, its planes, and its pixels

    def shrunk(self, shrink: int) -> Spec:
        return self._level(shrink).spec

    def unit_at(self, shrink: int) -> tuple[int, int]:
        return self._level(shrink).unit

    def _level(self, shrink: int) -> Level:
        if shrink not in self._levels:
            raise ValueError(f"{self.resource.name} has no copy at 1/{shrink}")
        return self._levels[shrink]

    def read(self, region: Region, shrink: int = 1) -> Pixels:
        level = self._level(shrink)
        self.resource.check()
        out = np.empty((region.height, region.width, level.spec.bands), level.spec.dtype)

        def put(box: Region) -> None:
            out[box.slices_in(region)] = level.decoded(self.page, box)

        cells = level.meeting(region)
        inside = [cell for cell in cells if level.box(cell) in region]
        _each(put, _strips(level, inside), level.folder.remote)
        # Chunks at the rim are those that the neighbors need too: they are kept for a while.
        rim = [cell for cell in cells if level.box(cell) not in region]
        for cell, pixels in zip(rim, self._rim(level, rim), strict=True):
            box = level.box(cell)
            shared = box & region
            out[shared.slices_in(region)] = pixels[shared.slices_in(box)]
        return out

    def _rim(self, level: Level, cells: Sequence[tuple[int, int]]) -> list[Pixels]:
        def decode(keys: Sequence[tuple[str, str, int, tuple[int, int]]]) -> list[Pixels]:
            missing = [key[-1] for key in keys]
            found: dict[tuple[int, int], Pixels] = {}

            def put(box: Region) -> None:
                pixels = level.decoded(self.page, box)
                found.update({cell: pixels[level.box(cell).slices_in(box)].copy() for cell in level.meeting(box)})

            pieces = [level.box(cell) for cell in missing] if level.folder.remote else _united(level, missing)
            _each(put, pieces, level.folder.remote)
            return [found[cell] for cell in missing]

        keys = [(level.folder.identity, level.path, self.page, cell) for cell in cells]
        return segments.shared_all(keys, decode)

    def stored_bytes(self, region: Region, shrink: int = 1) -> int:
        """The bytes of the pixels of the chunks that are met, less by as much as the folder is smaller than its arrays."""
        level = self._level(shrink)
        area = len(level.rows(region)) * len(level.columns(region)) * level.unit[0] * level.unit[1]
        arrays = sum(math.prod(other.shape) * other.spec.itemsize for other in self._levels.values())
        ratio = min(1.0, (level.folder.stored or arrays) / arrays)
        return round(min(area, level.spec.width * level.spec.height) * level.spec.pixel_bytes * ratio)


def _strips(level: Level, cells: Sequence[tuple[int, int]]) -> Iterator[Region]:
    """Cells that make a rectangle, in rows, so that little is held twice; remote ones each alone, to be under way at once."""
    for cell in cells:
        if level.folder.remote:
            yield level.box(cell)
        elif cell[1] == cells[0][1]:
            yield level.box(cell) | level.box((cell[0], cells[-1][1]))


def _united(level: Level, cells: Sequence[tuple[int, int]]) -> list[Region]:
    """Cells, row by row, in as few rectangles as a greedy look finds: one call for many chunks costs a third."""
    runs: list[tuple[int, int, int]] = []
    for row, column in cells:
        if runs and runs[-1][0] == row and runs[-1][2] == column:
            runs[-1] = (row, runs[-1][1], column + 1)
        else:
            runs.append((row, column, column + 1))
    boxes: list[Region] = []
    open_: dict[tuple[int, int], tuple[int, int]] = {}  # the box that a run below would lengthen, and its last row
    for row, first, after in runs:
        box = level.box((row, first)) | level.box((row, after - 1))
        place, last = open_.get((first, after), (len(boxes), -2))
        if last == row - 1:
            boxes[place] |= box
        else:
            place = len(boxes)
            boxes.append(box)
        open_[first, after] = (place, row)
    return boxes


def _each(function: Any, items: Iterable[Any], at_once: bool) -> list[Any]:
    """Call ``function`` for each item, several at once where each has to wait for a journey."""
    items = list(items)
    if not at_once or len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(JOURNEYS) as pool:
        return list(pool.map(function, items))


@functools.lru_cache(maxsize=64)
def _image(folder: Folder) -> Contents:
    """What a folder holds. Raises ``UnsupportedFormatError``, ``CorruptImageError`` or ``LimitError``."""
    attributes = _attributes(folder)
    if attributes is None:
        return _single(folder)
    image = ngff.multiscale(attributes, folder.name)
    if image is None:
        raise UnsupportedFormatError(f"{folder.name} {_choices(folder, attributes)}")
    if len(image.paths) > MOST_LEVELS:
        raise CorruptImageError(f"{folder.name} claims {len(image.paths)} sizes of one image")
    layout = ngff.layout(image.axes, folder.name)
    _each(lambda path: array(folder, path), image.paths, folder.remote)  # fetched at once; found again below
    full = _level(folder, image.paths[0], layout, image)
    levels = {1: full}
    for path, scale in zip(image.paths[1:], image.scales[1:], strict=True):
        level = _level(folder, path, layout, image)
        across, down = (_ratio(image.scales[0], scale, axis) for axis in (layout.x, layout.y))
        shrink = reduction(full.spec, level.spec, across)
        if shrink is not None and shrink == reduction(full.spec, level.spec, down) and level.pages == full.pages:
            levels.setdefault(shrink, level)
    return Contents(levels, {**ngff.info(image), **ngff.kept(attributes)})


def _attributes(folder: Folder) -> dict[str, Any] | None:
    """The attributes of a group; None where the folder is an array."""
    found = document(folder, "zarr.json")
    if found is not None:
        if found.get("zarr_format") != 3 or found.get("node_type") not in ("array", "group"):
            raise CorruptImageError(f"{folder.name}: zarr.json is of no array and no group")
        attributes = found.get("attributes", {}) if found["node_type"] == "group" else None
    elif document(folder, ".zarray") is not None:
        attributes = None
    else:
        attributes = document(folder, ".zattrs") or {}
    if attributes is not None and not isinstance(attributes, dict):
        raise CorruptImageError(f"{folder.name}: attributes must be a dictionary")
    return attributes


def _single(folder: Folder) -> Contents:
    """An array that was opened itself: a size of an image that the group around it describes, or (height, width[, bands])."""
    outer, path = folder.outer(), folder.name.rstrip("/").rpartition("/")[2]
    attributes = _attributes(outer) if outer.name != folder.name else None
    image = ngff.multiscale(attributes, outer.name) if attributes else None
    if image is not None and path in image.paths:
        place = image.paths.index(path)
        said = Multiscale(image.name, image.axes, (path,), (image.scales[place],), image.channels)
        info = {**ngff.info(said), **ngff.kept(attributes or {})}
        return Contents({1: _level(folder, "", ngff.layout(image.axes, folder.name), said)}, info)
    names = (document(folder, "zarr.json") or {}).get("dimension_names")
    if isinstance(names, list) and {"y", "x"} <= set(map(str, names)):
        axes = [Axis(str(name), ngff.KINDS.get(str(name), "")) for name in names]
        return Contents({1: _level(folder, "", ngff.layout(axes, folder.name), None)})
    return Contents({1: _level(folder, "", None, None)})


def _level(folder: Folder, path: str, layout: Layout | None, image: Multiscale | None) -> Level:
    found = array(folder, path)
    shape, chunks, stored = found.shape, found.chunks, found.shards or found.chunks
    name = f"{folder.name}: array {path or '/'}"
    axes = len(shape)
    if layout is None:
        if axes not in (2, 3):
            raise UnsupportedFormatError(f"{name} has {axes} axes, and nothing says which are rows, columns and bands")
        if axes == 3 and shape[0] <= 4 < shape[2]:
            raise UnsupportedFormatError(
                f"{name} of shape {shape} seems to be (bands, y, x), and no dimension_names say so"
            )
        layout = Layout(0, 1, 2 if axes == 3 else None)
    elif axes != len(layout.pages) + 2 + (layout.band is not None):
        raise CorruptImageError(f"{name} has {axes} axes, the metadata describes others")
    if 0 in shape or max(shape) >= LONGEST:
        raise CorruptImageError(f"{name} claims the shape {shape}")
    height, width = shape[layout.y], shape[layout.x]
    bands = 1 if layout.band is None else shape[layout.band]
    dtype = found.dtype.name
    check_unit(folder.name, "a chunk", math.prod(chunks) * found.dtype.itemsize)
    check_unit(folder.name, "a chunk's pixel", bands * found.dtype.itemsize)
    area = chunks[layout.y] * chunks[layout.x]
    if area < 256 and -(-height // chunks[layout.y]) * -(-width // chunks[layout.x]) > MOST_SMALL_CHUNKS:
        raise LimitError(
            f"{name}: {width}x{height} pixels in chunks of {area}; the limit is {MOST_SMALL_CHUNKS:,} so small ones;"
            " store it anew in larger chunks"
        )
    if image is None:
        encoding, alpha = ENCODINGS.get(bands, ("multiband", False))
    else:
        encoding, alpha = ngff.meaning(bands, dtype, image.channels)
    return Level(folder, path, Spec(width, height, bands, alpha, dtype, encoding), layout, shape, chunks, stored)


def _ratio(full: tuple[float, ...] | None, reduced: tuple[float, ...] | None, axis: int) -> float | None:
    """How much larger the pixels of a level are said to be than those of the image; None where nothing is said."""
    return None if full is None or reduced is None else reduced[axis] / full[axis]


def _choices(folder: Folder, attributes: dict[str, Any]) -> str:
    """What can be opened in a group that is no image, in words."""
    said = ngff.described(attributes)
    plate, well, labels = said.get("plate"), said.get("well"), said.get("labels")
    if isinstance(plate, dict):
        wells = [str(w.get("path")) for w in plate.get("wells") or () if isinstance(w, dict)]
        return f"is a plate of {len(wells)} wells; open an image of one, such as {_listed(folder, wells, '/0')}"
    if isinstance(well, dict):
        images = [str(i.get("path")) for i in well.get("images") or () if isinstance(i, dict)]
        return f"is a well of {len(images)} images; open one: {_listed(folder, images)}"
    if isinstance(labels, list):
        return f"is a group of labels; open one: {_listed(folder, [str(label) for label in labels])}"
    inside = [name for name in folder.folders() if name != "OME"]
    if not inside:
        return "is a Zarr group that describes no image; open one of its arrays or images by its path"
    return f"is a Zarr group that describes no image itself; open what is in it: {_listed(folder, inside)}"


def _listed(folder: Folder, names: Sequence[str], rest: str = "") -> str:
    base, chained, archive = folder.name.partition("::")
    shown = ", ".join(f"{base.rstrip('/')}/{name}{rest}{chained}{archive}" for name in names[:NAMED])
    return shown + (", ..." if len(names) > NAMED else "")
