"""How much memory a tile needs: the walk of ``compute_tile`` over sizes instead of arrays."""

from __future__ import annotations

from collections.abc import Sequence

from imgrs.graph.op import Point, Remap, Window
from imgrs.plan.program import Program, Step

FLOAT = 4
"""Bytes of the float32 sums that kernels keep beside their output."""


def footprint(program: Program, areas: Sequence[int]) -> int:
    """Bytes at the peak of a tile: live results, plus what the current op keeps beside its output.

    ``areas`` are the pixels that the tile needs of each step.
    """
    last_use = {j: i for i, step in enumerate(program.steps) for j in step.inputs}
    sizes = [area * step.spec.pixel_bytes for step, area in zip(program.steps, areas, strict=True)]
    live = peak = 0
    for i, step in enumerate(program.steps):
        live += sizes[i]
        peak = max(peak, live + _beside(step, areas[i], sum(sizes[j] for j in step.inputs)))
        live -= sum(sizes[j] for j in set(step.inputs) if last_use[j] == i and j not in program.outputs)
    return peak


def _beside(step: Step, area: int, input_bytes: int) -> int:
    if isinstance(step.op, (Window, Remap)):
        weighted = 2 * FLOAT * step.spec.bands * area if step.spec.alpha else 0
        return input_bytes + FLOAT * step.spec.bands * area + weighted
    return input_bytes if isinstance(step.op, Point) and len(step.inputs) > 1 else 0
