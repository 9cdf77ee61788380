"""Rules about tone: runs of sample ops become one table."""

from __future__ import annotations

import numpy as np

from imgrs.graph.node import Node
from imgrs.graph.op import Sample
from imgrs.graph.rewrite import View, rule
from imgrs.kernels import tone
from imgrs.ops.tone import Table


def _mergeable(node: Node) -> bool:
    return isinstance(node.op, Sample) and node.spec.dtype in tone.ENTRIES


@rule
def merge_tones(node: Node, view: View) -> Node | None:
    """Sample ops in a row on 8 or 16 bits are one table, made by running them on every value."""
    run = view.run(node, _mergeable)
    if len(run) < 2:
        return None
    dtype = node.spec.dtype
    merged = np.arange(tone.ENTRIES[dtype]).astype(dtype)
    names: list[str] = []
    for step in run:
        merged = step.op.prepare(step.inputs[0].spec)[merged]
        names += step.op.of if isinstance(step.op, Table) else [step.op.name]
    return Node(Table(merged.tobytes(), dtype, tuple(names)), *run[0].inputs, origin=node.origin)
