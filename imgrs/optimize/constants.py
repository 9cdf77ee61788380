"""Rules about images of one color."""

from __future__ import annotations

from typing import cast

from imgrs.graph.node import Node
from imgrs.graph.op import Point, Remap
from imgrs.graph.rewrite import View, rule
from imgrs.ops.source import New


@rule
def fold_constants(node: Node, view: View) -> Node | None:
    """A point op, or one that only moves pixels, on images of one color is an image of one color."""
    moves = isinstance(node.op, Remap) and node.op.index_map
    if not (moves or isinstance(node.op, Point)) or not all(isinstance(i.op, New) for i in node.inputs):
        return None
    if isinstance(node.op, Point):
        color = node.op.apply_to_color(*((cast(New, i.op).color, i.spec) for i in node.inputs))
    else:
        color = cast(New, node.inputs[0].op).color
    return Node(New(node.spec, color), origin=node.origin)
