"""Encoding what a task made, and smaller copies of it: each task halves what it has, and a few pieces become one.

A task that wrote a tile of copy k also writes the tiles below it of copies k + 1 to k + ``HALVINGS``, and hands on the
last of them. Sixteen neighbors of those are as large as the tile was: the next task begins with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from imgrs.io.format import Placed, TileEncoder
from imgrs.kernels.pyramid import halved
from imgrs.plan.stages import Grid
from imgrs.run.graph import Graph, Key
from imgrs.run.journal import Entry, Journal
from imgrs.types import Pixels, Region

HALVINGS = 2
"""Copies that a task makes of what it has."""


class Encoded(NamedTuple):
    """What a task encoded, and the smallest copy that it made, for the next ones to be made of; None at the top."""

    job: str
    tiles: list[tuple[int, bytes]]
    rest: Pixels | None
    placed: list[Placed]


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
        if self.journal is not None:
            self.journal.record(Entry(made.job, offset, placed), self.encoder, made.rest)
        return offset, placed


@dataclass(frozen=True)
class Encode:
    """Compress a region of copy ``level``, unless that was done, and its smaller copies, in the task that made it.

    Tiles that have places of their own are put there at once, by ``place``.
    """

    encoder: TileEncoder
    alpha: bool
    place: Place | None = None
    level: int = 0
    part: ClassVar[str] = "encode"

    def __call__(self, region: Region, results: list[Pixels]) -> Encoded:
        """``region`` is on copy ``level``."""
        (pixels,) = results
        tiles = self.encoder.encode(region, pixels) if self.level == 0 else []
        last = min(self.level + HALVINGS, self.encoder.levels - 1)
        for level in range(self.level + 1, last + 1):
            pixels = halved(pixels, self.alpha)
            tiles += self.encoder.encode(smaller(region, level - self.level), pixels, level)
        rest = pixels if last < self.encoder.levels - 1 else None
        made = Encoded(job_of(self.level, region), tiles, rest, [])
        return made if self.place is None else made._replace(tiles=[], placed=self.place(made)[1])


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
