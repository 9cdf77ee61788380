"""What a run does with a cache: finds tiles, stores those that it makes, and makes again what is gone when it is needed.

Tiles are looked up while the graph is built, from the outputs backward; for one that is found, nothing is added that lies
before it. What is in memory is held from then on. What is in a folder is read when it is needed: if it is gone by then, or
damaged, the task makes it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from imgrs.cache import Cache
from imgrs.config import Settings
from imgrs.graph.node import Node
from imgrs.ops.geometry import Crop
from imgrs.plan.caching import entry
from imgrs.plan.stages import Plan
from imgrs.types import Pixels, Region


class Lookup:
    """The cache of one run. ``tile`` says what a task is that gives a tile: one that takes it, or one that stores it.

    A run stores no more than fits beside what it found, so that it does not push out what it is going to use.
    """

    def __init__(self, cache: Cache, made: Plan) -> None:
        self._cache = cache
        alone = replace(made.settings, scheduler="sync", workers=1, chunks=None, optimizer="off", cache=None)
        self._alone = alone
        self._room = Room(cache.limit) if made.settings.shares_memory else None

    def tile(self, node: Node, digest: str, region: Region, make: Callable[[], Any]) -> tuple[Any, ...]:
        """The task for a tile of ``node``; ``make`` adds what makes it to the graph, and gives the key of that."""
        key = entry(digest, region)
        size = region.area * node.spec.pixel_bytes
        if self._cache.find(key):
            if self._cache.folder is not None:
                self._take(size)
                return (Fetch(self._cache, key, node, region, self._alone),)
            pixels = self._cache.get(key)
            if pixels is not None:
                self._take(size)
                return (Held(pixels),)
            self._cache.count(-1, 1)
        return Keep(self._cache, key, self._room), make()

    def _take(self, size: int) -> None:
        if self._room is not None:
            self._room.take(size)


class Room:
    """Bytes that a run may still store."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Take ``size`` bytes, if there are so many."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True


@dataclass(frozen=True, eq=False)
class Held:
    """A tile that was found in memory."""

    pixels: Pixels

    def __call__(self, *after: Any) -> Pixels:
        """The pixels; what is in ``after`` was only waited for."""
        return self.pixels


@dataclass(frozen=True)
class Keep:
    """Store a tile, and hand it on."""

    cache: Cache
    key: str
    room: Room | None
    """What may still be stored; None where tasks do not share it."""

    def __call__(self, made: Pixels) -> Pixels:
        if not self.cache.holds(self.key) and (self.room is None or self.room.take(made.nbytes)):
            self.cache.put(self.key, made)
        return made


@dataclass(frozen=True)
class Fetch:
    """Read a tile from a folder; where it is gone or damaged, make it of ``node``, and store it again."""

    cache: Cache
    key: str
    node: Node
    region: Region
    alone: Settings
    """The options of a run within this task."""

    def __call__(self, *after: Any) -> Pixels:
        """The pixels; what is in ``after`` was only waited for."""
        spec = self.node.spec
        pixels = self.cache.get(self.key)
        if pixels is not None and pixels.shape == self._shape and pixels.dtype.name == spec.dtype:
            return pixels
        self.cache.count(-1, 1)
        pixels = self._made()
        self.cache.put(self.key, pixels)
        return pixels

    @property
    def _shape(self) -> tuple[int, int, int]:
        return self.region.height, self.region.width, self.node.spec.bands

    def _made(self) -> Pixels:
        """The tile by a run of its own, within this task."""
        from imgrs.run.engine import compute

        region, node = self.region, self.node
        if region != node.spec.region:
            node = Node(Crop((region.left, region.top, region.right, region.bottom)), node)
        return compute([node], self.alone)[0]
