"""A run of point ops as one op. Made by the optimizer."""

from __future__ import annotations

from typing import Any

from imgrs.graph.op import Point, op
from imgrs.types import Pixels, Spec


@op
class PointRun(Point):
    """Apply ``ops`` one after another, all to some rows at a time: the same results, with fewer trips to memory."""

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

    def apply(self, *pixels: Pixels, spec: Spec, prepared: Any) -> Pixels:
        return self._before(len(self.ops), *pixels, prepared=prepared)

    def apply_into(self, target: Pixels, *pixels: Pixels, spec: Spec, prepared: Any) -> None:
        last = len(self.ops) - 1
        image = self._before(last, *pixels, prepared=prepared)
        self.ops[last].apply_into(target, image, spec=prepared[0][last], prepared=prepared[1][last])

    def _before(self, count: int, *pixels: Pixels, prepared: Any) -> Pixels:
        """What the first ``count`` ops make."""
        (image,) = pixels
        for point, before, table in zip(self.ops[:count], *prepared, strict=False):
            image = point.apply(image, spec=before, prepared=table)
        return image
