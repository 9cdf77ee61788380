"""What is worth storing in a cache, and in which tiles.

Both follow from what a node is made from, and not from what is made of it, so that pipelines that begin alike ask for
the same tiles. See docs/decisions/0016.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imgrs.config import Settings
from imgrs.graph.node import Node, walk
from imgrs.graph.op import Fold, Op, Remap, Source, Window
from imgrs.ops.source import FromArray, Open
from imgrs.plan import cost
from imgrs.types import Region

SIDE = 1024
"""Pixels a side of stored tiles, unless the user sets ``chunks``."""
STORING = cost.KEEP_WRITE + cost.KEEP_READ
"""Nanoseconds per byte to keep pixels in memory for another run, and to take them from there."""
STORING_ON_DISK = 3 * STORING
"""The same in a folder, most of it for a digest that tells damage."""
SHARE = 0.2
"""Of the time to make a node from its files: what storing it must save over what is stored before it, at least.

So a chain of 10,000 ops, each of which is worth storing alone, is stored at some 60 places."""
SHRINKING = 2.0
"""Pixels of what is stored before that become one, where any saving is worth it: it takes so much less room."""


def worth_storing(after: Sequence[Node], settings: Settings) -> list[Node]:
    """The nodes whose tiles a cache is to hold, each behind what it is made from; none where there is no cache.

    Statistics, and what takes longer to make, from what is stored before it, than to store, where that is a good part of
    its time or it is much smaller: files, windows, and what resamples, and the outputs whatever they are. What changes
    without its key is left out, with all that is made of it.
    """
    cache = settings.cache_in_use
    if cache is None:
        return []
    storing = STORING if cache.folder is None else STORING_ON_DISK
    found: list[Node] = []
    lasting: dict[Node, bool] = {}
    since: dict[Node, float] = {}
    """Nanoseconds for a pixel, from what is stored."""
    total: dict[Node, float] = {}
    """The same from files and statistics."""
    shrunk: dict[Node, float] = {}
    """Pixels of what is stored, for one pixel."""
    for node in walk(after):
        lasting[node] = all(lasting[i] for i in node.inputs) and _lasts(node.op, settings)
        shares = _shares(node)
        each = cost.per_pixel(node.op, node.spec, *(i.spec for i in node.inputs))
        since[node] = each + sum(since[i] * share for i, share in zip(node.inputs, shares, strict=True))
        total[node] = each + sum(total[i] * share for i, share in zip(node.inputs, shares, strict=True))
        shrunk[node] = max(
            (shrunk[i] * _shrinks(node, i, n) for i, n in zip(node.inputs, shares, strict=True)), default=1
        )
        if not lasting[node]:
            continue
        if isinstance(node.op, Fold):
            found.append(node)
            since[node] = total[node] = 0.0
        elif since[node] > storing * node.spec.pixel_bytes and (
            since[node] > SHARE * total[node] or shrunk[node] >= SHRINKING
        ):
            if _worth(node.op):
                found.append(node)
                since[node], shrunk[node] = 0.0, 1.0
            elif node in after and not isinstance(node.op, Source):
                found.append(node)
    return found


def fewer(stored: Sequence[Node]) -> list[Node]:
    """Those that take the least room, half of them: for when not all can be stored."""
    largest = sorted(stored, key=lambda node: node.spec.nbytes, reverse=True)[: -(-len(stored) // 2)]
    return [node for node in stored if node not in set(largest)]


def stored_side(settings: Settings) -> tuple[int, int]:
    """The size of the tiles of what is stored, about."""
    return settings.chunks or (SIDE, SIDE)


def digests(stored: Sequence[Node]) -> Mapping[Node, str]:
    """Under which name the tiles of each node are kept."""
    return {node: node.key for node in stored}


def entry(digest: str, region: Region) -> str:
    """The key of a tile in a cache."""
    return f"{digest} {region.left} {region.top} {region.right} {region.bottom}"


def _lasts(op: Op, settings: Settings) -> bool:
    """Whether what an op makes may be stored: an array does not travel to where a lost tile would be made again."""
    return op.lasting and (settings.shares_memory or not isinstance(op, FromArray))


def _worth(op: Op) -> bool:
    return isinstance(op, (Open, Window)) or (isinstance(op, Remap) and not op.index_map)


def _shrinks(node: Node, image: Node, share: float) -> float:
    """How many pixels of an input become one, where they are merged or dropped, and not cut off."""
    if not isinstance(node.op, Remap):
        return 1.0
    return max(1.0, min(share, image.spec.width * image.spec.height / (node.spec.width * node.spec.height)))


def _shares(node: Node) -> list[float]:
    """Pixels of each input for one pixel of a tile from the middle."""
    width, height = min(node.spec.width, SIDE), min(node.spec.height, SIDE)
    left, top = (node.spec.width - width) // 2, (node.spec.height - height) // 2
    needs = node.op.demand(Region(left, top, left + width, top + height), *(i.spec for i in node.inputs))
    return [need.area / (width * height) for need in needs]
