"""A graph at a smaller scale, for previews: files are read small where their format can, and each op is done at that scale.

How an op scales is its own to say (``Op.scaled``); nothing here knows one, but for ``Resize``, which fits what is not small.
"""

from __future__ import annotations

from imgrs.graph.node import Node
from imgrs.graph.op import Reduced, Source
from imgrs.graph.text import call
from imgrs.ops.resample import Resize
from imgrs.types import Spec


def reduced(output: Node, scale: float) -> tuple[Node, tuple[str, ...]]:
    """``output`` at ``scale`` (above 0), and what of it is approximate, in order: ops that do not mean the same there.

    At 1 and above it is the same node. A node that others need at several scales is made at each of them.
    """
    made: dict[tuple[Node, float], Node] = {}
    approximate: dict[str, None] = {}
    stack = [(output, min(scale, 1.0))]
    while stack:
        node, at = stack[-1]
        if (node, at) in made or at == 1.0:
            made[stack.pop()] = made.get((node, at), node)
            continue
        size = _size(node.spec, at)
        sources = tuple(i.spec for i in node.inputs)
        below = min(node.op.source_scale(at, node.spec, *sources), 1.0)
        waiting = [(i, below) for i in node.inputs if (i, below) not in made]
        if waiting:
            stack += waiting
            continue
        inputs = [made[i, below] for i in node.inputs]
        found = node.op.scaled(Reduced(at, size, sources, tuple(i.spec for i in inputs)))
        if isinstance(node.op, Source):
            small = Node(node.op.at_size(size), origin=node.origin)
        elif found is None:
            small = node
        else:
            op, same = found
            small = Node(op, *inputs, origin=node.origin)
            if not same:
                approximate[f"{call(node.op, [])} at {_ratio(at)} scale"] = None
        made[stack.pop()] = _fitted(small, size)
    return made[output, min(scale, 1.0)], tuple(approximate)


def _size(spec: Spec, scale: float) -> tuple[int, int]:
    """The size of an image at a scale; numbers about an image stay as many as they are."""
    if spec.encoding == "statistic":
        return spec.size
    return max(1, round(spec.width * scale)), max(1, round(spec.height * scale))


def _fitted(node: Node, size: tuple[int, int]) -> Node:
    """A node, made smaller by means over areas where it is not yet of ``size``."""
    if node.spec.size == size:
        return node
    return Node(Resize(size, "nearest" if node.spec.dtype == "bool" else "box"), node, origin=node.origin)


def _ratio(scale: float) -> str:
    return f"1/{1 / scale:.3g}"
