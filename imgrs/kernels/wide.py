"""The wide Gaussian: filtered on a coarse grid, so that its cost does not grow with sigma.

The image is smoothed by a narrow Gaussian at every ``step``-th pixel only, the rest of the blur is done on that grid, and a
cubic B-spline brings it back. Variances of the three add up to sigma squared. The grid is anchored at pixel 0 of the image,
so a pixel's bits do not depend on the tile. All sums are passes of ``resample_pass``, float32 in a fixed order.
Within 0.02 of 255 of the Gaussian cut at 4 sigma.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imgrs.kernels.resample import resample_pass

Array = npt.NDArray[Any]  # the dtype is the image's
F32 = npt.NDArray[np.float32]

WIDE = 12.0
"""Standard deviation from which this is quicker than the direct sum."""


@dataclass(frozen=True, eq=False)
class Wide:
    """The coefficients of a wide Gaussian."""

    step: int
    """Pixels between points of the grid."""
    narrow: F32
    """Weights of the Gaussian on pixels, whose standard deviation is ``step``."""
    coarse: F32
    """Weights of the Gaussian on the grid."""
    spline: F32
    """For each of ``step`` phases, the weights of the four nearest grid points."""


def _gaussian(variance: float) -> F32:
    reach = math.ceil(4 * math.sqrt(variance))
    weights = np.exp(-0.5 * np.arange(-reach, reach + 1) ** 2 / variance)
    normalized: F32 = (weights / weights.sum()).astype(np.float32)
    return normalized


def _step(sigma: float) -> int:
    return 1 << math.floor(math.log2(sigma / 3))


def _coarse_variance(sigma: float) -> float:
    step = _step(sigma)
    return (sigma**2 - step**2 - step**2 / 3) / step**2  # a cubic B-spline has variance 1/3


def wide(sigma: float) -> Wide:
    """Coefficients for a standard deviation of ``sigma``, at least ``WIDE``."""
    step = _step(sigma)
    t = np.abs(np.arange(step)[:, None] / step - np.arange(-1, 3))
    spline = np.where(t < 1, (4 - 6 * t**2 + 3 * t**3) / 6, np.maximum(2 - t, 0) ** 3 / 6)
    return Wide(step, _gaussian(step**2), _gaussian(_coarse_variance(sigma)), spline.astype(np.float32))


def reach(sigma: float) -> int:
    """How many pixels beyond an output pixel are needed."""
    return (math.ceil(4 * math.sqrt(_coarse_variance(sigma))) + 2) * _step(sigma) + 4 * _step(sigma)


def gaussian(padded: Array, corner: tuple[int, int], plan: Wide) -> Array:
    """Blur; ``padded`` reaches ``reach(sigma)`` further on each side than the result, which begins at ``corner``.

    ``corner`` is (left, top) in the whole image. The result has ``padded``'s dtype.
    """
    down, across = (_Axis(padded.shape[axis], corner[1 - axis], plan) for axis in (0, 1))
    result = padded
    for passes in (_Axis.narrow, _Axis.coarse):
        result = resample_pass(result, *passes(down), 0, "float32")
        result = resample_pass(result, *passes(across), 1, "float32")
    result = resample_pass(result, *across.spline(), 1, "float32")
    return resample_pass(result, *down.spline(), 0, padded.dtype.name)


class _Axis:
    """Where each pass begins along one axis, and with which weights."""

    def __init__(self, padded: int, first: int, plan: Wide) -> None:
        self.plan = plan
        self.coarse_reach, self.narrow_reach = len(plan.coarse) // 2, len(plan.narrow) // 2
        margin = (self.coarse_reach + 2) * plan.step + self.narrow_reach
        self.origin = first - margin  # the pixel that ``padded`` begins with
        self.pixels = np.arange(first, first + padded - 2 * margin)
        self.grid_first = int(self.pixels[0]) // plan.step - 1
        self.grid_count = int(self.pixels[-1]) // plan.step + 3 - self.grid_first

    def narrow(self) -> tuple[Array, F32]:
        points = np.arange(self.grid_count + 2 * self.coarse_reach) + (self.grid_first - self.coarse_reach)
        starts = points * self.plan.step - self.narrow_reach - self.origin
        return starts, np.tile(self.plan.narrow, (len(starts), 1))

    def coarse(self) -> tuple[Array, F32]:
        return np.arange(self.grid_count), np.tile(self.plan.coarse, (self.grid_count, 1))

    def spline(self) -> tuple[Array, F32]:
        return self.pixels // self.plan.step - 1 - self.grid_first, self.plan.spline[self.pixels % self.plan.step]
