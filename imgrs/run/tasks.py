"""What runs inside a task: make a tile, then hand it on, keep it, or gather a statistic of it.

Everything here is a plain function or a small picklable value that holds no open file; but for ``Decoding``, which stays in
this process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from imgrs.graph.op import Fold, Source
from imgrs.plan.program import Program
from imgrs.run.scratch import Scratch
from imgrs.run.tile import Block, Blocks, Observer, compute_tile, told
from imgrs.types import Pixels, Region, Spec, Tile

PATIENCE = 0.8
"""Seconds that the end of a run waits for tiles that other threads are making; an op is never stopped in its middle."""


_within: ContextVar[Stop | None] = ContextVar("imgrs_within", default=None)
"""The run whose tile is being made in this thread."""


class Stop:
    """Tells the tasks of a run in this process that it has ended; copies in other processes never say so.

    A run that a function of the user's starts within a task ends with the run of that task. ``with stop:`` is around the
    making of a tile, and raises ``KeyboardInterrupt`` where the run has ended.
    """

    def __init__(self) -> None:
        self._outer = _within.get()
        self._changed = threading.Condition()
        self._stopped = False
        self._making = 0

    def __call__(self) -> bool:
        return self._stopped or (self._outer is not None and self._outer())

    def __enter__(self) -> None:
        with self._changed:
            if self():
                raise KeyboardInterrupt
            self._making += 1
        _within.set(self)

    def __exit__(self, *error: object) -> None:
        _within.set(self._outer)
        with self._changed:
            self._making -= 1
            self._changed.notify_all()

    def stop(self, patience: float = PATIENCE) -> bool:
        """Let no further tile and no further op begin; whether all that were being made have ended in ``patience`` seconds."""
        with self._changed:
            self._stopped = True
            return self._changed.wait_for(lambda: self._making == 0, patience)

    def __reduce__(self) -> tuple[type[Stop], tuple[()]]:
        return Stop, ()


class Then(Protocol):
    """What becomes of a tile's pixels once they are made."""

    part: ClassVar[str]
    """What those who measure call it."""

    def __call__(self, region: Region, results: list[Pixels]) -> Any: ...


@dataclass(frozen=True)
class Work:
    """One tile's task: which region, what its further arguments are, and what happens to the pixels."""

    region: Region
    layout: tuple[tuple[int, Region], ...] = ()
    """For each block that is passed: its slot, and the region of that image which it covers."""
    then: Then | None = None
    tile: tuple[int, int] | None = None
    """The size of the tiles in which the region is made, one after another; None for all at once."""
    stop: Stop | None = field(default=None, compare=False, repr=False)
    """Says when the run has ended, where it is one of this process."""


def make(program: Program, work: Work, *arguments: Any, observer: Observer | None = None) -> Any:
    """Compute a tile of every output of the program; arguments after the blocks are only waited for.

    ``observer`` is told of each step, and of what becomes of the tile.
    """
    blocks: dict[int, list[Block]] = {}
    for (slot, region), pixels in zip(work.layout, arguments, strict=False):
        blocks.setdefault(slot, []).append(Block(region, pixels))
    with work.stop or nullcontext():
        if isinstance(work.then, Into):
            return work.then.make(program, work.region, blocks, observer, work.stop)
        results = _computed(program, work, blocks, observer)
        if work.then is not None:
            if work.stop is not None and work.stop():
                raise KeyboardInterrupt
            return _handed_on(work.then, work.region, results, observer)
        return results[0] if len(results) == 1 else tuple(results)


def _handed_on(then: Then, region: Region, results: list[Pixels], observer: Observer | None) -> Any:
    if observer is None:
        return then(region, results)
    observer.begin(then.part)
    made = then(region, results)
    observer.end(then.part)
    return made


def _computed(program: Program, work: Work, blocks: dict[int, list[Block]], observer: Observer | None) -> list[Pixels]:
    count = len(program.outputs)
    if work.tile is None:
        return compute_tile(program, [work.region] * count, blocks, observer, work.stop)
    specs = [program.steps[output].spec for output in program.outputs]
    whole = tuple(np.empty((work.region.height, work.region.width, spec.bands), spec.dtype) for spec in specs)
    for part in work.region.tiles(work.tile):
        targets = [out[part.slices_in(work.region)] for out in whole]
        compute_tile(program, [part] * count, blocks, observer, work.stop, targets)
    return list(whole)


@dataclass(frozen=True, eq=False)
class Into:
    """Write tiles into arrays that this process holds: one per output, three axes."""

    targets: tuple[Pixels, ...]
    part: ClassVar[str] = "other"

    def __call__(self, region: Region, results: list[Pixels]) -> None:
        for target, pixels in zip(self._parts(region), results, strict=True):
            target[...] = pixels

    def make(
        self,
        program: Program,
        region: Region,
        blocks: Blocks,
        observer: Observer | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        """Compute a tile right where it goes."""
        parts = self._parts(region)
        compute_tile(program, [region] * len(parts), blocks, observer, cancelled, parts)

    def _parts(self, region: Region) -> list[Pixels]:
        return [target[region.top : region.bottom, region.left : region.right] for target in self.targets]


@dataclass(frozen=True)
class Drop:
    """Forget a tile, for those who want to know what it took."""

    part: ClassVar[str] = "other"

    def __call__(self, region: Region, results: list[Pixels]) -> None:
        return None


@dataclass(frozen=True)
class Shaped:
    """Hand tiles out as public arrays are: two axes where the image has one band, one where it is a row of numbers."""

    axes: tuple[int, ...]
    """Of each result: the length of its image's ``shape``."""

    part: ClassVar[str] = "other"

    def __call__(self, region: Region, results: list[Pixels]) -> Any:
        parts: dict[int, Any] = {1: np.s_[0, :, 0], 2: np.s_[:, :, 0], 3: np.s_[:]}
        shaped = [pixels[parts[axes]] for pixels, axes in zip(results, self.axes, strict=True)]
        return shaped[0] if len(shaped) == 1 else tuple(shaped)


@dataclass(frozen=True)
class ToScratch:
    """Keep a tile in a file of its own in ``folder``, because memory does not hold them all."""

    folder: str
    part: ClassVar[str] = "keep"

    def __call__(self, region: Region, results: list[Pixels]) -> Scratch:
        scratch = Scratch.create(self.folder, results[0].shape, results[0].dtype.name)
        with open(scratch.path, "r+b") as file:
            file.write(results[0].data)
        return scratch


@dataclass(frozen=True)
class DecodeToScratch:
    """Decode a file as a whole to one scratch file in ``folder``."""

    source: Source
    spec: Spec
    folder: str

    def __call__(self) -> Scratch:
        scratch = Scratch.create(self.folder, (self.spec.height, self.spec.width, self.spec.bands), self.spec.dtype)
        with scratch.mapped() as pixels, told(self.source, self.spec.region):
            self.source.decode_into(pixels)
        return scratch


class Decoding:
    """A file that is decoded from the top down: each call gives the next rows, in the tasks of one process, in turn."""

    def __init__(self, source: Source, spec: Spec) -> None:
        self._source, self._spec = source, spec
        self._strips: Iterator[Pixels] | None = None
        self._rest: Pixels | None = None
        """Rows that were decoded and not yet given out."""
        self._lock = threading.Lock()
        self._closed = False

    def __call__(self, region: Region, *after: Any) -> Pixels:
        """The pixels of ``region``: rows that follow those of the call before; what is in ``after`` was only waited for."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the run that this belongs to has ended")
            with told(self._source, region):
                if self._strips is None:
                    self._strips = self._source.strips()
                pixels = self._rows(region, self._strips)
                if region.bottom == self._spec.height:  # it may have something to say of what stands behind the pixels
                    next(self._strips, None)
            return pixels

    def close(self) -> None:
        """Let go of the file and its decoder, whoever still holds this."""
        with self._lock:
            self._closed, self._rest = True, None
            if isinstance(self._strips, Generator):
                self._strips.close()

    def _rows(self, region: Region, strips: Iterator[Pixels]) -> Pixels:
        first = next(strips) if self._rest is None else self._rest
        if len(first) == region.height:
            self._rest = None
            return first
        pixels, top = np.empty((region.height, region.width, self._spec.bands), self._spec.dtype), 0
        while True:
            taken = first[: region.height - top]
            pixels[top : top + len(taken)] = taken
            top += len(taken)
            if top == region.height:
                break
            first = next(strips)
        self._rest = first[len(taken) :] if len(taken) < len(first) else None
        return pixels


@dataclass(frozen=True)
class Gather:
    """What one tile contributes to each of some statistics of an image that ``spec`` describes."""

    folds: tuple[Fold, ...]
    spec: Spec
    part: ClassVar[str] = "gather"

    def __call__(self, region: Region, results: list[Pixels]) -> tuple[Any, ...]:
        tile = Tile(region, results[0], self.spec)
        return tuple(fold.partial(tile) for fold in self.folds)

    def combine(self, *parts: tuple[Any, ...]) -> tuple[Any, ...]:
        """Several contributions as one."""
        total = parts[0]
        for part in parts[1:]:
            total = tuple(fold.combine(a, b) for fold, a, b in zip(self.folds, total, part, strict=True))
        return total


@dataclass(frozen=True)
class Finish:
    """The statistic at ``place`` among those gathered, as pixels."""

    gather: Gather
    place: int

    def __call__(self, total: Sequence[Any]) -> Pixels:
        return self.gather.folds[self.place].finish(total[self.place], self.gather.spec)


@dataclass(frozen=True)
class Pick:
    """One of several results of a task."""

    place: int

    def __call__(self, results: tuple[Any, ...]) -> Any:
        return results[self.place]
