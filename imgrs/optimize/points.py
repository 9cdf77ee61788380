"""Rules about ops that stay in place: runs of them in one pass, and only the bands that are wanted."""

from __future__ import annotations

from typing import cast

from imgrs.graph.node import Node
from imgrs.graph.op import Point, Sample
from imgrs.graph.rewrite import View, rule
from imgrs.ops.bands import Band, Merge
from imgrs.ops.fused import PointRun


def _single(node: Node) -> bool:
    return isinstance(node.op, Point) and len(node.inputs) == 1


@rule
def fuse_points(node: Node, view: View) -> Node | None:
    """Point ops in a row run together, block by block in the processor's cache."""
    run = view.run(node, _single)
    if len(run) < 2:
        return None
    ops: list[Point] = []
    for step in run:
        ops += step.op.ops if isinstance(step.op, PointRun) else [cast(Point, step.op)]
    return Node(PointRun(tuple(ops)), *run[0].inputs, origin=node.origin)


@rule
def project_band(node: Node, view: View) -> Node | None:
    """One band of a sample op, or of merged bands, needs that band only."""
    if not isinstance(node.op, Band):
        return None
    (inner,) = node.inputs
    if isinstance(inner.op, Merge):
        return inner.inputs[node.op.index]
    if not isinstance(inner.op, Sample) or len(inner.inputs) != 1:
        return None
    band = Node(node.op, inner.inputs[0], origin=node.origin)
    is_alpha = inner.spec.alpha and node.op.index == inner.spec.bands - 1
    return band if is_alpha else Node(inner.op, band, origin=inner.origin)
