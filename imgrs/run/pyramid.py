"""Smaller copies of an image, made while it is written: each task halves what it has, and a few pieces become one.

A task that wrote a tile of copy k also writes the tiles below it of copies k + 1 to k + ``HALVINGS``, and hands on the
last of them. Sixteen neighbors of those are as large as the tile was: the next task begins with them.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from imgrs.io.format import TileEncoder
from imgrs.kernels.pyramid import halved
from imgrs.plan.stages import Grid
from imgrs.run.graph import Graph, Key
from imgrs.types import Pixels, Region

HALVINGS = 2
"""Copies that a task makes of what it has."""


class Encoded(NamedTuple):
    """What a task wrote, and the smallest copy that it made, for the next ones to be made of; None at the top."""

    tiles: list[tuple[int, bytes]]
    rest: Pixels | None


def smaller(region: Region, level: int) -> Region:
    """What a region of the image is on a copy."""
    return Region(region.left >> level, region.top >> level, -(-region.right >> level), -(-region.bottom >> level))


@dataclass(frozen=True)
class EncodeLevels:
    """Compress a region of copy ``level``, unless that was done, and its smaller copies."""

    encoder: TileEncoder
    alpha: bool
    level: int = 0

    def __call__(self, region: Region, results: list[Pixels]) -> Encoded:
        """``region`` is on copy ``level``."""
        (pixels,) = results
        tiles = self.encoder.encode(region, pixels) if self.level == 0 else []
        last = min(self.level + HALVINGS, self.encoder.levels - 1)
        for level in range(self.level + 1, last + 1):
            pixels = halved(pixels, self.alpha)
            tiles += self.encoder.encode(smaller(region, level - self.level), pixels, level)
        return Encoded(tiles, pixels if last < self.encoder.levels - 1 else None)


@dataclass(frozen=True)
class Join:
    """Put pieces of a copy together, and go on from there."""

    regions: tuple[Region, ...]
    then: EncodeLevels

    def __call__(self, *pieces: Pixels) -> Encoded:
        whole = Region(self.regions[0].left, self.regions[0].top, self.regions[-1].right, self.regions[-1].bottom)
        pixels = np.empty((whole.height, whole.width, pieces[0].shape[2]), pieces[0].dtype)
        for region, piece in zip(self.regions, pieces, strict=True):
            pixels[region.slices_in(whole)] = piece
        return self.then(whole, [pixels])


def with_levels(base: Graph, grid: Grid, encoder: TileEncoder, alpha: bool) -> Graph:
    """The tasks that encode an image's tiles (in order), and those that encode its copies, each after what it needs."""
    after: dict[Key, Key] = {}
    joins: dict[Key, Any] = {}
    keys = dict(zip(grid.cells, base, strict=True))
    regions = {cell: grid.region(*cell) for cell in keys}
    level = HALVINGS
    while level < encoder.levels - 1:
        groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for row, column in keys:
            groups.setdefault((row >> HALVINGS, column >> HALVINGS), []).append((row, column))
        joined: dict[tuple[int, int], Key] = {}
        united: dict[tuple[int, int], Region] = {}
        for cell, members in groups.items():
            key = ("join", level, *cell)
            parts = tuple(smaller(regions[member], level) for member in members)
            rests = [("rest", *keys[member]) for member in members]
            joins[key] = (Join(parts, EncodeLevels(encoder, alpha, level)), *rests)
            after[keys[members[-1]]] = joined[cell] = key
            first, last = regions[members[0]], regions[members[-1]]
            united[cell] = Region(first.left, first.top, last.right, last.bottom)
        keys, regions = joined, united
        level += HALVINGS
    return dict(_in_order(base, after, joins))


def _in_order(base: Graph, after: dict[Key, Key], joins: dict[Key, Any]) -> Iterator[tuple[Key, Any]]:
    for key, task in base.items():
        yield key, task
        while key in after:
            key = after[key]
            yield key, joins[key]


def rest_of(key: Key) -> tuple[Key, Any]:
    """The task that keeps the smallest copy alone, so that what was written can be forgotten."""
    return ("rest", *key), (operator.attrgetter("rest"), key)
