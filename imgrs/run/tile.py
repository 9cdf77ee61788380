"""The one function that computes pixels: a program, a region, and out comes that region of each output.

Executors decide only when and where it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from imgrs.errors import ComputeError, ImgrsError
from imgrs.graph.node import Origin
from imgrs.graph.op import Op
from imgrs.plan.program import Program, Step, Supplied
from imgrs.run.scratch import Scratch
from imgrs.types import Pixels, Region, Spec, Tile


class Observer(Protocol):
    """What is told of the parts of a tile's making, one after another: a step of the program, by its place, or what else is
    done to the tile, by a word such as ``"encode"``."""

    def begin(self, part: str) -> None: ...

    def end(self, part: str, pixels: int = 0, size: int = 0) -> None:
        """``pixels`` were computed (none where they were only joined), of ``size`` bytes."""


@dataclass(frozen=True)
class Block:
    """Part of a supplied image: an array, or a file of pixels, that covers ``region``."""

    region: Region
    pixels: Pixels | Scratch

    def crop(self, region: Region) -> Pixels:
        """The pixels of ``region``, which the block covers: a view, or what is read of a file."""
        rows, columns = region.slices_in(self.region)
        if isinstance(self.pixels, Scratch):
            return self.pixels.read(rows, columns)
        array: Pixels = self.pixels
        return array.reshape(self.region.height, self.region.width, -1)[rows, columns]


Blocks: TypeAlias = Mapping[int, Sequence[Block]]  # by slot


def compute_tile(
    program: Program,
    wanted: Sequence[Region],
    blocks: Blocks,
    observer: Observer | None = None,
    cancelled: Callable[[], bool] | None = None,
    targets: Sequence[Pixels] | None = None,
) -> list[Pixels]:
    """The pixels of each output's region, C-contiguous; or written to ``targets``, which are then what is returned.

    ``observer`` is told of each step before and after it is computed; ``cancelled`` is asked between steps.
    What fails is told as ``told`` says.
    """
    needs = program.demand(wanted)
    last_use = {j: i for i, step in enumerate(program.steps) for j in step.inputs}
    keep = set(program.outputs)
    done: dict[int, list[Tile]] = {}
    for i, step in enumerate(program.steps):
        if cancelled is not None and cancelled():
            raise KeyboardInterrupt
        target = _target(program, i, needs[i], wanted, targets)
        done[i] = [_observed(i, region, program, done, blocks, observer, target) for region in needs[i]]
        for j in step.inputs:
            if last_use[j] == i and j not in keep:
                done.pop(j, None)
    made = [
        _covering(done[output], region, program.steps[output].spec).crop(region)
        for output, region in zip(program.outputs, wanted, strict=True)
    ]
    if targets is None:
        return [np.ascontiguousarray(pixels) for pixels in made]
    for target, pixels in zip(targets, made, strict=True):
        if not np.may_share_memory(target, pixels):
            target[...] = pixels
    return list(targets)


def _target(
    program: Program, i: int, needs: Sequence[Region], wanted: Sequence[Region], targets: Sequence[Pixels] | None
) -> Pixels | None:
    """Where a step's pixels may be written at once, because they are all that is wanted of it."""
    if targets is None or i not in program.outputs:
        return None
    place = program.outputs.index(i)
    return targets[place] if list(needs) == [wanted[place]] and not wanted[place].empty else None


def _observed(
    place: int,
    region: Region,
    program: Program,
    done: dict[int, list[Tile]],
    blocks: Blocks,
    observer: Observer | None,
    target: Pixels | None,
) -> Tile:
    step = program.steps[place]
    if observer is None:
        return _compute(step, region, done, blocks, target)
    observer.begin(str(place))
    tile = _compute(step, region, done, blocks, target)
    observer.end(str(place), 0 if isinstance(step.op, Supplied) else region.area, tile.pixels.nbytes)
    return tile


def _compute(step: Step, region: Region, done: dict[int, list[Tile]], blocks: Blocks, target: Pixels | None) -> Tile:
    if isinstance(step.op, Supplied):
        return Tile(region, assemble(blocks[step.op.slot], region, step.spec), step.spec)
    demanded = step.op.demand(region, *step.sources)
    tiles = [_covering(done[j], need, spec) for j, need, spec in zip(step.inputs, demanded, step.sources, strict=True)]
    with told(step.op, region, step.origin):
        if target is None:
            return Tile(region, step.op.compute(region, tiles, step.spec, step.prepared), step.spec)
        step.op.compute_into(target, region, tiles, step.spec, step.prepared)
        return Tile(region, target, step.spec)


@contextmanager
def told(op: Op, region: Region, origin: Origin | None = None) -> Iterator[None]:
    """Say in whatever is raised within which op was making which part of its result.

    An exception that is not imgrs's own becomes a ``ComputeError`` with the user's line.
    """
    box = (region.left, region.top, region.right, region.bottom)
    try:
        yield
    except ImgrsError as error:
        if error.op is None:  # else it comes from what the op itself computed
            error.op, error.tile = op.name, box
        raise
    except MemoryError:
        raise
    except Exception as error:
        line = f", added at {origin}" if origin else ""
        failed = ComputeError(f"{op.name} failed on tile {region}{line}: {type(error).__name__}: {error}")
        failed.op, failed.tile = op.name, box
        raise failed from error


def _covering(tiles: list[Tile], region: Region, spec: Spec) -> Tile:
    for tile in tiles:
        if region in tile.region and not region.empty:
            return tile
    if region.empty:
        return Tile(region, np.empty((0, 0, spec.bands), spec.dtype), spec)
    raise ComputeError(f"no tile covers {region}; got {[str(tile.region) for tile in tiles]}")


def assemble(blocks: Sequence[Block], region: Region, spec: Spec) -> Pixels:
    """The pixels of ``region`` from blocks that cover it: a view where one block does."""
    for block in blocks:
        if region in block.region:
            return block.crop(region)
    pixels = np.empty((region.height, region.width, spec.bands), spec.dtype)
    for block in blocks:
        shared = region & block.region
        if not shared.empty:
            pixels[shared.slices_in(region)] = block.crop(shared)
    return pixels
