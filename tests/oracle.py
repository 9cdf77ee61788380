"""The oracle: a graph evaluated on whole images, op by op, without tiles, rules or Dask. And pictures to try it on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from imgrs.graph.node import Node, walk
from imgrs.types import Spec, Tile


def evaluate(node: Node) -> npt.NDArray[Any]:
    """The pixels of a node, (height, width, bands)."""
    tiles: dict[Node, Tile] = {}
    for step in walk([node]):
        inputs = [tiles[i] for i in step.inputs]
        prepared = step.op.prepare(*(i.spec for i in step.inputs))
        pixels = step.op.compute(step.spec.region, inputs, step.spec, prepared)
        tiles[step] = Tile(step.spec.region, np.ascontiguousarray(pixels), step.spec)
    return tiles[node].pixels


def picture(spec: Spec, seed: int = 0) -> npt.NDArray[Any]:
    """Pixels for ``spec``: noise over a ramp, so that neighbors differ, with every extreme among them."""
    rng = np.random.default_rng(seed)
    shape = (spec.height, spec.width, spec.bands)
    noise = rng.random(shape)
    noise.reshape(-1)[:2] = 0.0, 1.0
    if spec.alpha:
        noise[: spec.height // 3, : spec.width // 4, -1] = 0.0
        noise[spec.height // 2 :, spec.width // 2 :, -1] = 1.0
    if spec.dtype == "bool":
        return noise > 0.5
    if spec.dtype == "float32":
        return noise.astype(np.float32)
    return np.floor(noise * (np.iinfo(spec.dtype).max + 0.999)).astype(spec.dtype)
