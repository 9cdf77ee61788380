"""A run of point ops as one op, computed in blocks that stay in the processor's cache. Made by the optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from imgrs.graph.op import Point, op
from imgrs.types import Pixels, Region, Spec, Tile

BLOCK = 384 << 10
"""Bytes of pixels that go through the whole run at a time."""


@op
class PointRun(Point):
    """Apply ``ops`` one after another to a block of rows at a time: the same results, with fewer trips to memory."""

    ops: tuple[Point, ...]

    def _specs(self, spec: Spec) -> list[Spec]:
        """The spec before each op, and the last one's result."""
        specs = [spec]
        for point in self.ops:
            point.check(specs[-1:])
            specs.append(point.infer(specs[-1]))
        return specs

    def infer(self, *specs: Spec) -> Spec:
        return self._specs(specs[0])[-1]

    def prepare(self, *specs: Spec) -> Any:
        before = self._specs(specs[0])
        return before, [point.prepare(spec) for point, spec in zip(self.ops, before, strict=False)]

    def compute(self, out: Region, tiles: Sequence[Tile], spec: Spec, prepared: Any) -> Pixels:
        (tile,) = tiles
        return self.apply(tile.crop(out), spec=tile.spec, prepared=prepared)  # blocks are made contiguous one by one

    def apply(self, *pixels: Pixels, spec: Spec, prepared: Any) -> Pixels:
        (image,) = pixels
        specs, tables = prepared
        height, width = image.shape[:2]
        out = np.empty((height, width, specs[-1].bands), specs[-1].dtype)
        rows = max(1, BLOCK // max(1, width * max(s.pixel_bytes for s in specs)))
        for top in range(0, height, rows):
            block = image[top : top + rows]
            for point, before, table in zip(self.ops, specs, tables, strict=False):
                block = point.apply(np.ascontiguousarray(block), spec=before, prepared=table)
            out[top : top + rows] = block
        return out
