"""How much memory a tile needs: the walk of ``compute_tile`` over sizes instead of arrays."""

from __future__ import annotations

from collections.abc import Sequence

from imgrs.graph.op import Point, Remap, Window
from imgrs.plan.program import Program, Step
from imgrs.types import Region

FLOAT = 4
"""Bytes of the float32 sums that kernels keep beside their output."""


def footprint(program: Program, wanted: Sequence[Region]) -> int:
    """Bytes at the peak of computing ``wanted``: live results, plus what the current op keeps beside its output."""
    return footprint_of(program, program.demand(wanted))


def footprint_of(program: Program, needs: Sequence[Sequence[Region]]) -> int:
    """The same for a demand that is known already."""
    last_use = {j: i for i, step in enumerate(program.steps) for j in step.inputs}
    sizes = [
        sum(region.area for region in regions) * step.spec.pixel_bytes
        for step, regions in zip(program.steps, needs, strict=True)
    ]
    live = peak = 0
    for i, step in enumerate(program.steps):
        live += sizes[i]
        peak = max(peak, live + _beside(step, needs[i], sum(sizes[j] for j in step.inputs)))
        live -= sum(sizes[j] for j in set(step.inputs) if last_use[j] == i and j not in program.outputs)
    return peak


def _beside(step: Step, regions: Sequence[Region], input_bytes: int) -> int:
    area = sum(region.area for region in regions)
    if isinstance(step.op, (Window, Remap)):
        weighted = 2 * FLOAT * step.spec.bands * area if step.spec.alpha else 0
        return input_bytes + FLOAT * step.spec.bands * area + weighted
    return input_bytes if isinstance(step.op, Point) and len(step.inputs) > 1 else 0
