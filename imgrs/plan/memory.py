"""How much memory a tile needs: the walk of ``compute_tile`` over sizes instead of arrays."""

from __future__ import annotations

from collections.abc import Sequence

from imgrs.graph.op import Op, Source
from imgrs.plan.program import Program
from imgrs.types import Spec


def footprint(
    program: Program, areas: Sequence[int], folds: Sequence[tuple[Op, Spec]] = (), decodes: bool = True
) -> int:
    """Bytes at the peak of a tile: live results, plus what the current op keeps beside its output.

    ``areas`` are the pixels that the tile needs of each step; ``folds``, statistics of the first output with their specs.
    A tile that finds what it reads of files decoded already does not take what decoding takes: ``decodes`` is False.
    """
    last_use = {j: i for i, step in enumerate(program.steps) for j in step.inputs}
    sizes = [area * step.spec.pixel_bytes for step, area in zip(program.steps, areas, strict=True)]
    live = peak = 0
    for i, step in enumerate(program.steps):
        live += sizes[i]
        taken = sum(areas[j] for j in step.inputs)
        beside = step.op.working_bytes(areas[i], taken, step.spec, *step.sources)
        if decodes and isinstance(step.op, Source) and step.op.reads_regions and areas[i]:
            beside += step.op.decoding_bytes
        peak = max(peak, live + beside)
        live -= sum(sizes[j] for j in set(step.inputs) if last_use[j] == i and j not in program.outputs)
    area = areas[program.outputs[0]]
    gathering = [op.working_bytes(spec.region.area, area, spec, program.spec) for op, spec in folds]
    return max(peak, live + max(gathering, default=0))
