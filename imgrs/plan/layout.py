"""Where a graph is cut: the stages that follow from what is kept, each with its tiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from imgrs.graph.node import Node
from imgrs.graph.op import Fold, Source
from imgrs.plan.program import Program, program_of
from imgrs.plan.stages import Grid, Sink, Stage, areas, power_of_two
from imgrs.types import Region

SIDE = 2048
"""Pixels a side of the tiles of what is not an output, at most, about."""
SMALLEST = 8
"""Pixels a side of the smallest tiles."""
DECODED_BYTES = 16 << 20
"""Bytes of the rows that a task decodes of a file that is read from the top down, at most."""
LARGEST_FOOTPRINT = 4096 * 4096
"""Pixels of any one image that a task may need, unless the user sets ``chunks``."""


def stages_of(
    after: Sequence[Node],
    slots: dict[Node, int],
    kept: dict[Node, str],
    side: tuple[int, int],
    sinks: Sequence[Sink],
    in_turn: bool,
    stored: Mapping[Node, str],
    stored_side: tuple[int, int],
) -> tuple[Stage, ...]:
    """What is kept, in order (statistics of one image together), then the outputs.

    ``in_turn`` says whether files that are decoded from the top down may be decoded by several tasks, one after another.

    Those of one size that may go anywhere are made together; each file is a stage of its own. What is ``stored`` in a cache
    under a digest is made in tiles of ``stored_side``, about, whatever the tiles of the outputs.
    """
    stages: list[Stage] = []
    folds: dict[Node, list[Node]] = {}
    for node in kept:
        if isinstance(node.op, Fold):
            folds.setdefault(node.inputs[0], []).append(node)
    for node, reason in kept.items():
        if not isinstance(node.op, Fold):
            program, order = program_of([node], {other: slot for other, slot in slots.items() if other is not node})
            decodes = isinstance(node.op, Source) and not node.op.reads_regions
            if isinstance(node.op, Source):
                most = max(1, min(stored_side) // 2) if node in stored else SIDE  # margins reach into all around
                tile = _decoded_at_once(node, in_turn) if decodes else _whole_units(node.op.unit, node.spec.size, most)
                grid = Grid(*node.spec.size, tile)
            elif node in stored:
                grid = _bounded(program_of([node], _firm(slots, stored, node))[0], node.spec.size, stored_side)
            else:
                grid = _bounded(program, node.spec.size, side)
            digest: tuple[str, ...] = (stored[node],) if node in stored else ()
            kind = "decode" if decodes else "keep"
            stages.append(Stage(kind, (node,), program, order, grid, reason, stored=digest))
        elif node is folds[node.inputs[0]][0]:
            (image,) = node.inputs
            program, order = program_of([image], slots)
            grid = _bounded(program, image.spec.size, side)
            nodes = tuple(folds[image])
            digest = tuple(stored[node] for node in nodes) if all(node in stored for node in nodes) else ()
            stages.append(Stage("fold", nodes, program, order, grid, reason, stored=digest))
    together: dict[Any, list[int]] = {}
    for place, (node, sink) in enumerate(zip(after, sinks, strict=True)):
        together.setdefault(node.spec.size if sink.anywhere else place, []).append(place)
    for places in together.values():
        nodes, sink = tuple(dict.fromkeys(after[place] for place in places)), sinks[places[0]]
        program, order = program_of(nodes, slots)
        grid = Grid(*nodes[0].spec.size, sink.tile(side, nodes[0].spec))
        stages.append(Stage("output", nodes, program, order, grid, "asked for", sink, tuple(places)))
    return _needed(stages) if stored else tuple(stages)


def _firm(slots: Mapping[Node, int], stored: Mapping[Node, str], node: Node) -> dict[Node, int]:
    """Of what is supplied to stages, what is so whatever is made of ``node``: not what it pays this plan to keep."""
    return {
        other: slot
        for other, slot in slots.items()
        if other is not node and (other in stored or isinstance(other.op, (Fold, Source)))
    }


def _needed(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """The same, with only those tiles of what is stored that later stages need."""
    wanted: dict[Node, Region] = {}
    found: list[Stage] = []
    for stage in reversed(stages):
        (node, *_) = stage.nodes
        if stage.kind == "keep" and stage.stored and node in wanted:
            stage = replace(stage, grid=replace(stage.grid, within=wanted[node]))
        for needed, regions in zip(stage.order, stage.demand(stage.grid.box), strict=True):
            for region in regions:
                wanted[needed] = wanted.get(needed, region) | region
        found.append(stage)
    return tuple(reversed(found))


def flowing(stages: Sequence[Stage]) -> set[Node]:
    """What is stored in a cache and passes through a run in order, some rows at a time.

    Only where each image that stages hand on goes to one stage: then no tile waits for one behind it in the order of the
    outputs, so that a row may wait until tiles further up are done.
    """
    made = {node: stage for stage in stages if stage.kind in ("keep", "decode") for node in stage.nodes}
    readers = Counter(node for stage in stages for node in stage.order if made.get(node, stage) is not stage)
    if any(count > 1 for count in readers.values()):
        return set()
    return {node for node, stage in made.items() if stage.kind == "keep" and stage.stored and node in readers}


def _bounded(program: Program, size: tuple[int, int], side: tuple[int, int]) -> Grid:
    """The grid of a stage that is not an output: at most 2,048 a side, halved until a task's footprint is bounded."""
    width, height = min(side[0], SIDE), min(side[1], SIDE)
    while max(width, height) > SMALLEST:
        grid = Grid(*size, (width, height))
        if (
            max(areas(program.demand([grid.region((grid.rows - 1) // 2, (grid.columns - 1) // 2)])))
            <= LARGEST_FOOTPRINT
        ):
            break
        width, height = max(width // 2, 1), max(height // 2, 1)
    return Grid(*size, (width, height))


def _decoded_at_once(node: Node, in_turn: bool) -> tuple[int, int]:
    """What a task decodes of a file that is read from the top down: some rows where tasks may go on with it, else all."""
    spec = node.spec
    assert isinstance(node.op, Source)
    streamed = in_turn and node.op.streams
    return spec.width, power_of_two(DECODED_BYTES // (spec.width * spec.pixel_bytes)) if streamed else spec.height


def _whole_units(unit: tuple[int, int], size: tuple[int, int], side: int) -> tuple[int, int]:
    """Tiles of about ``side`` in which a file is decoded so that each of its own tiles is decoded once."""
    width = min(-(-size[0] // unit[0]), max(1, side // unit[0])) * unit[0]
    return width, max(1, side**2 // width // unit[1]) * unit[1]
