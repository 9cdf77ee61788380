"""How much memory a tile needs: the walk of ``compute_tile`` over sizes instead of arrays."""

from __future__ import annotations

from collections.abc import Sequence

from imgrs.graph.op import Op
from imgrs.plan.program import Program
from imgrs.types import Spec


def footprint(program: Program, areas: Sequence[int], folds: Sequence[tuple[Op, Spec]] = ()) -> int:
    """Bytes at the peak of a tile: live results, plus what the current op keeps beside its output.

    ``areas`` are the pixels that the tile needs of each step; ``folds``, statistics of the first output with their specs.
    """
    last_use = {j: i for i, step in enumerate(program.steps) for j in step.inputs}
    sizes = [area * step.spec.pixel_bytes for step, area in zip(program.steps, areas, strict=True)]
    live = peak = 0
    for i, step in enumerate(program.steps):
        live += sizes[i]
        taken = sum(areas[j] for j in step.inputs)
        peak = max(peak, live + step.op.working_bytes(areas[i], taken, step.spec, *step.sources))
        live -= sum(sizes[j] for j in set(step.inputs) if last_use[j] == i and j not in program.outputs)
    area = areas[program.outputs[0]]
    gathering = [op.working_bytes(spec.region.area, area, spec, program.spec) for op, spec in folds]
    return max(peak, live + max(gathering, default=0))
