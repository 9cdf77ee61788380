"""Rules that use what a file format can do."""

from __future__ import annotations

from imgrs.graph.node import Node
from imgrs.graph.rewrite import View, approximate
from imgrs.ops.resample import Resize
from imgrs.ops.source import Open


@approximate("the decoder's own reduction replaces part of the filter: a few levels at edges")
def shrink_on_load(node: Node, view: View) -> Node | None:
    """A file that is resized to at most half is decoded at the largest reduction still twice the size."""
    if not isinstance(node.op, Resize) or node.op.box is not None:
        return None
    (inner,) = node.inputs
    if not isinstance(inner.op, Open) or inner.op.shrink != 1 or view.shared(inner):
        return None
    reader, (width, height) = inner.op.reader, node.op.size
    fitting = [
        s for s in reader.shrinks if reader.shrunk(s).width >= 2 * width and reader.shrunk(s).height >= 2 * height
    ]
    best = max(fitting, default=1)
    return None if best == 1 else Node(node.op, Node(Open(reader, best), origin=inner.origin), origin=node.origin)
