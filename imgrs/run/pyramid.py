"""Encoding what a task made, and smaller copies of it: each task halves what it has, and a few pieces become one.

A task that wrote a tile of copy k also writes the tiles below it of copies k + 1 to k + ``HALVINGS``, and hands on the
last of them. Sixteen neighbors of those are as large as the tile was: the next task begins with them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from imgrs.io.format import Placed, TileEncoder
from imgrs.kernels.pyramid import halved
from imgrs.plan.stages import HALVINGS, Grid
from imgrs.run.graph import Graph, Key
from imgrs.run.journal import Entry, Journal
from imgrs.types import Pixels, Region

PIECE = 1 << 20
"""Bytes that are read back at a time, about."""


class Encoded(NamedTuple):
    """What a task encoded, and the smallest copy that it made, for the next ones to be made of; None at the top."""

    job: str
    tiles: list[tuple[int, bytes]]
    rest: Pixels | None
    placed: list[Placed]
    further: Further | None = None
    """Tiles behind those, of which memory was to hold no more."""


class Further:
    """Encoded tiles in a file without a name, which goes once it is read, or nobody holds it."""

    def __init__(self, folder: str) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # it is read in another task, which lets go of it
        self._sizes: list[tuple[int, int]] = []

    def add(self, tiles: Iterable[tuple[int, bytes]]) -> None:
        for number, data in tiles:
            self._file.write(data)
            self._sizes.append((number, len(data)))

    def read(self) -> Iterator[list[tuple[int, bytes]]]:
        """The tiles, some at a time; once."""
        with self._file:
            self._file.seek(0)
            tiles: list[tuple[int, bytes]] = []
            for number, size in self._sizes:
                tiles.append((number, self._file.read(size)))
                if sum(len(data) for _, data in tiles) > PIECE:
                    yield tiles
                    tiles = []
            yield tiles


def job_of(level: int, region: Region) -> str:
    """The name of the work that begins with a region of copy ``level``."""
    return f"{level}-{region.left}-{region.top}"


def smaller(region: Region, level: int) -> Region:
    """What a region of the image is on a copy."""
    return Region(region.left >> level, region.top >> level, -(-region.right >> level), -(-region.bottom >> level))


@dataclass(frozen=True)
class Place:
    """Write encoded tiles where they belong, and note it in the journal, where there is one."""

    encoder: TileEncoder
    path: str
    start: int
    journal: Journal | None = None
    part: ClassVar[str] = "write"

    def __call__(self, made: Encoded, *after: Any) -> tuple[int, list[Placed]]:
        """Behind what another call placed, if one is among ``after``, so that the file's bytes are fixed.

        Returns the next offset, and where the tiles are. Whatever else is in ``after`` was only waited for.
        """
        before = next((result[0] for result in after if isinstance(result, tuple)), self.start)
        offset, placed = self.encoder.place(self.path, before, made.tiles)
        for tiles in made.further.read() if made.further is not None else ():
            offset, more = self.encoder.place(self.path, offset, tiles)
            placed += more
        if self.journal is not None:
            self.journal.record(Entry(made.job, offset, placed), self.encoder, made.rest)
        return offset, placed


@dataclass(frozen=True)
class Encode:
    """Compress a region of copy ``level``, unless that was done, and its smaller copies, in the task that made it.

    Tiles that have places of their own are put there at once, by ``place``. Of others, which may have to wait, at most
    ``most`` bytes stay in memory, and what is more goes to a file in ``folder``: pixels that hardly compress.
    """

    encoder: TileEncoder
    alpha: bool
    place: Place | None = None
    level: int = 0
    most: int | None = None
    folder: str = ""
    part: ClassVar[str] = "encode"

    def __call__(self, region: Region, results: list[Pixels]) -> Encoded:
        """``region`` is on copy ``level``."""
        (pixels,) = results
        tiles: list[tuple[int, bytes]] = []
        further: Further | None = None
        size = 0
        last = min(self.level + HALVINGS, self.encoder.levels - 1)
        for level in range(self.level, last + 1):
            if level > self.level:
                pixels = halved(pixels, self.alpha)
            elif level > 0:
                continue  # the task that made it has encoded it
            for encoded in self._encoded(smaller(region, level - self.level), pixels, level):
                size += sum(len(data) for _, data in encoded)
                if self.most is None or size <= self.most:
                    tiles += encoded
                else:
                    further = further or Further(self.folder)
                    further.add(encoded)
        rest = pixels if last < self.encoder.levels - 1 else None
        made = Encoded(job_of(self.level, region), tiles, rest, [], further)
        return made if self.place is None else made._replace(tiles=[], placed=self.place(made)[1])

    def _encoded(self, region: Region, pixels: Pixels, level: int) -> Iterator[list[tuple[int, bytes]]]:
        """The tiles of a region of copy ``level``: all at once, or one after another where memory is to hold few."""
        if self.most is None:
            yield self.encoder.encode(region, pixels, level)
            return
        for box in region.tiles(self.encoder.unit):
            yield self.encoder.encode(box, pixels[box.slices_in(region)], level)


@dataclass(frozen=True)
class Join:
    """Put pieces of a copy together, and go on from there."""

    regions: tuple[Region, ...]
    then: Encode
    part: ClassVar[str] = "encode"

    @property
    def whole(self) -> Region:
        """What the pieces cover together."""
        return Region(self.regions[0].left, self.regions[0].top, self.regions[-1].right, self.regions[-1].bottom)

    def __call__(self, *pieces: Pixels) -> Encoded:
        whole = self.whole
        pixels = np.empty((whole.height, whole.width, pieces[0].shape[2]), pieces[0].dtype)
        for region, piece in zip(self.regions, pieces, strict=True):
            pixels[region.slices_in(whole)] = piece
        return self.then(whole, [pixels])


def jobs_of(base: Graph, grid: Grid, encode: Encode) -> tuple[Graph, dict[Key, list[Key]]]:
    """The tasks that encode an image's tiles and its copies, each after what it needs; and whose rests each one joins.

    ``base`` are the tasks of the tiles, in order. A key is what the save is called, and the name of the work.
    """
    after: dict[Key, Key] = {}
    joins: Graph = {}
    joined: dict[Key, list[Key]] = {}
    here: dict[tuple[int, int], Key] = {}
    covered: dict[Key, Region] = {}
    if encode.encoder.levels > 1:
        here = dict(zip(grid.cells, base, strict=True))
        covered = {key: grid.region(*cell) for cell, key in here.items()}
    level = HALVINGS
    while level < encode.encoder.levels - 1:
        groups: dict[tuple[int, int], list[Key]] = {}
        for (row, column), key in here.items():
            groups.setdefault((row >> HALVINGS, column >> HALVINGS), []).append(key)
        here = {}
        for cell, members in groups.items():
            join = Join(tuple(smaller(covered[member], level) for member in members), replace(encode, level=level))
            key = (members[0][0], job_of(level, join.whole))
            joins[key] = (join, *map(rest_key, members))
            joined[key] = members
            here[cell] = after[members[-1]] = key
            first, last = covered[members[0]], covered[members[-1]]
            covered[key] = Region(first.left, first.top, last.right, last.bottom)
        level += HALVINGS
    return dict(_in_order(base, after, joins)), joined


def rest_key(key: Key) -> Key:
    """The key of the smallest copy that work hands on."""
    return ("rest", *key)


def _in_order(base: Graph, after: Mapping[Key, Key], joins: Graph) -> Iterator[tuple[Key, Any]]:
    for key, task in base.items():
        yield key, task
        while key in after:
            key = after[key]
            yield key, joins[key]
