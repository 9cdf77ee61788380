"""Statistics, as lazy small images, and the ops that use them. Sums are exact integers."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from imgrs.errors import ArgumentError
from imgrs.graph.op import COLOR, Fold, Point, op
from imgrs.graph.parameters import number, whole
from imgrs.kernels import reduce, tone
from imgrs.types import Pixels, Spec, Tile


@op
class Histogram(Fold):
    """How many samples of each band lie in each of ``bins`` (256 or 65,536) equal parts of full range: (bins, bands)."""

    bins: int = whole(256, 65_536, default=256)

    def infer(self, *specs: Spec) -> Spec:
        if self.bins not in ((256,) if specs[0].dtype == "uint8" else (256, 65_536)):
            raise ArgumentError(f"histogram: bins must be 256, or 65536 for deeper images, got {self.bins}")
        return Spec(specs[0].bands, self.bins, 1, False, "int64", "statistic")

    def working_bytes(self, area: int, taken: int, spec: Spec, *sources: Spec) -> int:
        (source,) = sources
        places = {"uint8": 0, "uint16": 2}.get(source.dtype, 16) * source.bands  # the bin of each sample
        return taken * (places + 9)  # those of one band at a time, as they are counted

    def partial(self, tile: Tile) -> Any:
        return reduce.histogram(tile.pixels, self.bins)

    def combine(self, first: Any, second: Any) -> Any:
        return first + second

    def finish(self, total: Any, spec: Spec) -> Pixels:
        return np.ascontiguousarray(total[..., None])


@op
class Mean(Fold):
    """The mean of each band, correctly rounded from an exact sum, in the image's own units: (bands,)."""

    def infer(self, *specs: Spec) -> Spec:
        return Spec(specs[0].bands, 1, 1, False, "float64", "statistic")

    def working_bytes(self, area: int, taken: int, spec: Spec, *sources: Spec) -> int:
        return 48 * taken if sources[0].dtype == "float32" else 0  # mantissas and exponents of a band

    def partial(self, tile: Tile) -> Any:
        return reduce.exact_sums(tile.pixels)

    def combine(self, first: Any, second: Any) -> Any:
        return tuple(a + b for a, b in zip(first, second, strict=True))

    def finish(self, total: Any, spec: Spec) -> Pixels:
        mean = reduce.mean_of(total, spec.width * spec.height, spec.dtype == "float32")
        return mean.reshape(1, -1, 1)


@op
class Extrema(Fold):
    """The smallest and the largest sample of each band, in the image's own units: (bands, 2), or (2,) of a single band."""

    def infer(self, *specs: Spec) -> Spec:
        return Spec(2, specs[0].bands, 1, False, specs[0].dtype, "statistic")

    def partial(self, tile: Tile) -> Any:
        return np.stack([tile.pixels.min(axis=(0, 1)), tile.pixels.max(axis=(0, 1))], axis=1)

    def combine(self, first: Any, second: Any) -> Any:
        return np.stack([np.minimum(first[:, 0], second[:, 0]), np.maximum(first[:, 1], second[:, 1])], axis=1)

    def finish(self, total: Any, spec: Spec) -> Pixels:
        return np.ascontiguousarray(total[..., None])


@op
class AutoContrast(Point):
    """Stretch each band to full range, after cutting ``cutoff`` percent off each end of its histogram.

    The second input is the image's histogram (256 bins at 8 bits, else 65,536). As Pillow's ``ImageOps.autocontrast``,
    rounded half up; a band of one value stays as it is, and so does alpha.
    """

    takes = COLOR
    arity: ClassVar[tuple[int, int]] = (2, 2)
    statistics: ClassVar[int] = 1
    cutoff: float = number(0, 49, default=0.0)

    def apply(self, *pixels: Pixels, spec: Spec, prepared: Any) -> Pixels:
        image, counts = pixels[0], pixels[1][..., 0]
        ends = [self._ends(counts[:, band]) for band in range(spec.colors)]
        if spec.dtype == "float32":
            out = image.copy()
            for band, (low, high) in enumerate(ends):
                bottom, top = low / len(counts), (high + 1) / len(counts)
                if high > low:
                    out[..., band] = ((image[..., band].astype(np.float64) - bottom) / (top - bottom)).astype(
                        np.float32
                    )
            return out
        full = len(tone.table_of(lambda x: x, spec.dtype)) - 1
        tables = np.tile(np.arange(full + 1)[:, None], (1, spec.colors)).astype(np.float64)
        for band, (low, high) in enumerate(ends):
            if high > low:
                tables[:, band] = np.clip(np.floor((tables[:, band] - low) * (full / (high - low)) + 0.5), 0, full)
        return tone.apply_table(image, tables.astype(spec.dtype), spec.colors)

    def _ends(self, counts: Any) -> tuple[int, int]:
        """The lowest and highest bin that still hold samples after the cut, as Pillow counts it."""
        counts = counts.copy()
        if self.cutoff:
            total = int(counts.sum())
            for order in (range(len(counts)), range(len(counts) - 1, -1, -1)):
                cut = int(total * self.cutoff // 100)
                for i in order:
                    taken = min(cut, int(counts[i]))
                    counts[i] -= taken
                    cut -= taken
                    if not cut:
                        break
        filled = np.flatnonzero(counts)
        return (int(filled[0]), int(filled[-1])) if filled.size else (0, 0)
