"""Rules about where pixels are: what moves nothing, what moves twice."""

from __future__ import annotations

from collections.abc import Sequence

from imgrs.graph.node import Node
from imgrs.graph.op import Op, Point, Remap
from imgrs.graph.rewrite import View, approximate, rule
from imgrs.ops.geometry import ELEMENTS, Crop, Pad, Transpose, composed
from imgrs.ops.warp import Affine, then


@rule
def drop_noops(node: Node, view: View) -> Node | None:
    """An op that changes no image of its input's kind is its input."""
    if len(node.inputs) == 1 and node.op.does_nothing(node.inputs[0].spec):
        return node.inputs[0]
    return None


@rule
def merge_crops(node: Node, view: View) -> Node | None:
    """A crop of a crop is one crop."""
    if not (isinstance(node.op, Crop) and isinstance(node.inputs[0].op, Crop)):
        return None
    (inner,) = node.inputs
    assert isinstance(inner.op, Crop)
    x, y = inner.op.box[:2]
    left, top, right, bottom = node.op.box
    return Node(Crop((left + x, top + y, right + x, bottom + y)), *inner.inputs, origin=node.origin)


@rule
def compose_turns(node: Node, view: View) -> Node | None:
    """Two flips or quarter turns in a row are one of the eight, or nothing."""
    if not (isinstance(node.op, Transpose) and isinstance(node.inputs[0].op, Transpose)):
        return None
    (inner,) = node.inputs
    assert isinstance(inner.op, Transpose)
    element = composed(inner.op.element, node.op.element)
    names = {value: name for name, value in ELEMENTS.items()}
    if element not in names:
        return inner.inputs[0]
    return Node(Transpose(names[element]), *inner.inputs, origin=node.origin)


@rule
def maps_before_points(node: Node, view: View) -> Node | None:
    """A crop, a turn or a nearest resize to fewer pixels is done before a point op: maps, and tones, then meet."""
    if not (isinstance(node.op, Remap) and node.op.index_map):
        return None
    (inner,) = node.inputs
    if not isinstance(inner.op, Point) or view.shared(inner):
        return None
    image, *others = inner.inputs
    if _images(others) or _grows(node) or image.spec.pixel_bytes > inner.spec.pixel_bytes:
        return None
    return Node(inner.op, Node(node.op, image, origin=node.origin), *others, origin=inner.origin)


@rule
def points_before_maps(node: Node, view: View) -> Node | None:
    """A point op is done before a nearest resize to more pixels or a border, whose color it changes too."""
    if not isinstance(node.op, Point):
        return None
    (inner, *others) = node.inputs
    if not isinstance(inner.op, Remap) or view.shared(inner) or others:
        return None
    source = inner.inputs[0]
    if not _grows(inner) or node.spec.pixel_bytes > inner.spec.pixel_bytes:
        return None
    if isinstance(inner.op, Pad):
        moved: Op = inner.op.after(node.op, source.spec)
    elif inner.op.index_map:
        moved = inner.op
    else:
        return None
    return Node(moved, Node(node.op, source, origin=node.origin), origin=inner.origin)


def _images(nodes: Sequence[Node]) -> bool:
    return any(node.spec.encoding != "statistic" for node in nodes)


def _grows(node: Node) -> bool:
    """Whether a node has more pixels than its input."""
    return node.spec.region.area > node.inputs[0].spec.region.area


@approximate("one interpolation replaces two: sharper by some levels at edges")
def merge_affines(node: Node, view: View) -> Node | None:
    """An affine warp of an affine warp is one, where the first one's canvas cut nothing off."""
    if not (isinstance(node.op, Affine) and isinstance(node.inputs[0].op, Affine)) or view.shared(node.inputs[0]):
        return None
    (inner,) = node.inputs
    assert isinstance(inner.op, Affine)
    (source,) = inner.inputs
    outer, first = node.op, inner.op
    if (outer.resample, outer.fillcolor) != (first.resample, first.fillcolor) or not first.holds(source.spec):
        return None
    merged = Affine(outer.size, then(outer.matrix, first.matrix), outer.resample, outer.fillcolor)
    return Node(merged, source, origin=node.origin)
