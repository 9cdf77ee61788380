"""Rules about images of one color."""

from __future__ import annotations

import numpy as np

from imgrs.graph.node import Node
from imgrs.graph.op import Point, Remap
from imgrs.graph.rewrite import View, rule
from imgrs.ops.source import New
from imgrs.types import Region, Tile


@rule
def fold_constants(node: Node, view: View) -> Node | None:
    """A point op, or one that only moves pixels, on images of one color is an image of one color."""
    moves = isinstance(node.op, Remap) and node.op.index_map
    if not node.inputs or not (moves or isinstance(node.op, Point)):
        return None
    if not all(isinstance(i.op, New) for i in node.inputs):
        return None
    one = Region(0, 0, 1, 1)
    pixels = [i.op.compute(one, (), i.spec, None) for i in node.inputs]
    if not moves:
        specs = [i.spec for i in node.inputs]
        tiles = [Tile(one, p, s) for p, s in zip(pixels, specs, strict=True)]
        pixels = [node.op.compute(one, tiles, node.spec, node.op.prepare(*specs))]
    color = tuple(float(v) for v in np.asarray(pixels[0]).reshape(-1))
    return Node(New(node.spec, color), origin=node.origin)
