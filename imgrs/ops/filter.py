"""Filters: ops that weigh the neighborhood of each pixel. Borders replicate the edge of each op's own input."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from imgrs.graph.op import FLOAT, Op, Reduced, Window, op
from imgrs.graph.parameters import checked, number, whole
from imgrs.kernels import color, convolve, wide
from imgrs.types import Pixels, Region, Spec

Kernel = tuple[tuple[float, ...], ...]

_SUM = 8
"""Bytes of the sums of boxes: int64 or float64."""


def _gaussian_margin(sigma: float) -> tuple[int, int]:
    reach = wide.reach(sigma) if sigma >= wide.WIDE else max(1, math.ceil(4 * sigma)) if sigma else 0
    return reach, reach


def _gaussian_plan(sigma: float) -> Any:
    if sigma >= wide.WIDE:
        return wide.wide(sigma)
    return convolve.gaussian_taps(sigma) if sigma else np.ones(1, np.float32)


def _seen(sigma: float) -> bool:
    """Whether a Gaussian on pixels is still one: below half a pixel there are hardly any weights but the middle one."""
    return sigma == 0 or sigma >= 0.5


def _gaussian_bytes(sigma: float, taken: int) -> int:
    """What a Gaussian of ``taken`` samples takes: the grid of a wide one, in float32, twice."""
    return 2 * FLOAT * taken // wide.wide(sigma).step if sigma >= wide.WIDE else 0


def _gaussian(padded: Pixels, at: Region, plan: Any) -> Pixels:
    if isinstance(plan, wide.Wide):
        return wide.gaussian(padded, (at.left, at.top), plan)
    return convolve.separable(padded, plan)


@op
class Blur(Window):
    """Gaussian blur with a standard deviation of ``radius`` pixels, as Pillow's and CSS's; cut at 4 sigma. 0 is none.

    Before rounding it is within 0.02 of 255 of that Gaussian.
    """

    alpha: ClassVar[str] = "premultiplied"
    radius: float = number(0, 10_000, default=2.0)

    @property
    def margin(self) -> tuple[int, int]:
        return _gaussian_margin(self.radius)

    def does_nothing(self, *specs: Spec) -> bool:
        return self.radius == 0 and not specs[0].alpha  # with alpha, color under alpha 0 becomes 0

    def scaled(self, at: Reduced) -> tuple[Op, bool]:
        return Blur(self.radius * at.scale), _seen(self.radius * at.scale)

    def prepare(self, *specs: Spec) -> Any:
        return _gaussian_plan(self.radius)

    def filter_bytes(self, samples: int, taken: int, source: Spec) -> int:
        return _gaussian_bytes(self.radius, taken)

    def apply(self, padded: Pixels, at: Region, prepared: Any) -> Pixels:
        return _gaussian(padded, at, prepared)


@op
class BoxBlur(Window):
    """Replace each pixel by the mean of the square that reaches ``radius`` pixels from it."""

    alpha: ClassVar[str] = "premultiplied"
    radius: int = whole(0, 1000, example=2)

    @property
    def margin(self) -> tuple[int, int]:
        return self.radius, self.radius

    def does_nothing(self, *specs: Spec) -> bool:
        return self.radius == 0 and not specs[0].alpha

    def scaled(self, at: Reduced) -> tuple[Op, bool]:
        radius = self.radius * at.scale
        return BoxBlur(round(radius)), radius == round(radius)

    def filter_bytes(self, samples: int, taken: int, source: Spec) -> int:
        return taken * _SUM * (2 * (2 * self.radius + 1) + 1)  # the terms of both passes, and a sum

    def apply(self, padded: Pixels, at: Region, prepared: Any) -> Pixels:
        return convolve.box_mean(padded, self.radius)


class _Small(Window):
    """Correlate with a small kernel."""

    def weights(self) -> Kernel:
        """The kernel's rows."""
        raise NotImplementedError

    def base(self) -> float:
        """What is added, on the 0..255 scale."""
        return 0.0

    @property
    def margin(self) -> tuple[int, int]:
        rows = self.weights()
        return len(rows[0]) // 2, len(rows) // 2

    def does_nothing(self, *specs: Spec) -> bool:
        if specs[0].dtype == "float32" or self.base():
            return False  # 0 * inf is not 0
        across, down = self.margin
        rows = enumerate(self.weights())
        return all(v == ((i, j) == (down, across)) for i, row in rows for j, v in enumerate(row))

    def prepare(self, *specs: Spec) -> Any:
        return np.array(self.weights(), np.float32), self.base() * specs[0].full_scale / 255.0

    def apply(self, padded: Pixels, at: Region, prepared: Any) -> Pixels:
        kernel, offset = prepared
        return convolve.correlate(padded, kernel, offset)


@op
class Sharpen(_Small):
    """Sharpen with ``[[0, -s, 0], [-s, 1 + 4s, -s], [0, -s, 0]]``; 0 changes nothing."""

    strength: float = number(0, 100, default=1.0)

    def weights(self) -> Kernel:
        s = self.strength
        return (0.0, -s, 0.0), (-s, 1.0 + 4.0 * s, -s), (0.0, -s, 0.0)


@op
class Emboss(_Small):
    """Relief lit from one corner, gray where flat: Pillow's ``EMBOSS``, which turns its kernel upside down."""

    def weights(self) -> Kernel:
        return (0.0, 0.0, 0.0), (0.0, 1.0, 0.0), (-1.0, 0.0, 0.0)

    def base(self) -> float:
        return 128.0


@op
class EdgeEnhance(_Small):
    """Sharpen over all eight neighbors; ``strength`` 1 is Pillow's ``EDGE_ENHANCE``, 0 changes nothing."""

    strength: float = number(0, 100, default=1.0)

    def weights(self) -> Kernel:
        s = -self.strength / 2.0
        return (s, s, s), (s, 1.0 - 8.0 * s, s), (s, s, s)


@op
class EdgeEnhanceMore(_Small):
    """Sharpen strongly over all eight neighbors: Pillow's ``EDGE_ENHANCE_MORE``."""

    def weights(self) -> Kernel:
        return (-1.0, -1.0, -1.0), (-1.0, 9.0, -1.0), (-1.0, -1.0, -1.0)


def _kernel(value: Any) -> Kernel:
    rows = tuple(tuple(float(v) for v in row) for row in value)
    if not rows or len(rows) % 2 == 0 or len({len(row) for row in rows}) != 1 or len(rows[0]) % 2 == 0:
        raise ValueError("must be rows of one odd length, and an odd number of them")
    if not all(math.isfinite(v) for row in rows for v in row):
        raise ValueError("must be finite numbers")
    return rows


def _scale(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, (str, bool)) or not math.isfinite(value) or value == 0:
        raise ValueError("must be a finite number other than 0")
    return float(value)


@op
class Convolve(_Small):
    """Correlate with any odd ``kernel``: the weighted sum over ``scale``, plus ``offset`` (0..255 scale).

    ``scale`` is the kernel's sum unless given, or 1 where that is 0.
    """

    kernel: Kernel = checked(_kernel, example=((1, 2, 1), (2, 5, 2), (1, 2, 0)))
    scale: float | None = checked(_scale, default=None)
    offset: float = number(-255, 255, default=0.0)

    def weights(self) -> Kernel:
        total = self.scale or sum(map(sum, self.kernel)) or 1.0
        return tuple(tuple(v / total for v in row) for row in self.kernel)

    def base(self) -> float:
        return self.offset


@op
class EdgeDetect(Window):
    """How steep the brightness is: the Sobel magnitude ``hypot(gx, gy)`` of Rec. 601 luma, as a gray image."""

    @property
    def margin(self) -> tuple[int, int]:
        return 1, 1

    def infer(self, *specs: Spec) -> Spec:
        (spec,) = specs
        return Spec(*spec.size, 1 + spec.alpha, spec.alpha, spec.dtype, "gray")

    def filter_bytes(self, samples: int, taken: int, source: Spec) -> int:
        return FLOAT * (taken // source.bands) + 5 * FLOAT * samples  # brightness; two slopes and what they are made of

    def apply(self, padded: Pixels, at: Region, prepared: Any) -> Pixels:
        gray = color.luma(padded) if padded.shape[2] == 3 else padded.astype(np.float32)
        return convolve.sobel_magnitude(gray, padded.dtype.name)


@op
class UnsharpMask(Window):
    """Add ``amount`` times what a Gaussian blur of ``radius`` takes away, where that exceeds ``threshold`` (0..255)."""

    radius: float = number(0.01, 1000, default=2.0)
    amount: float = number(0, 100, default=1.5)
    threshold: float = number(0, 255, default=3.0)

    @property
    def margin(self) -> tuple[int, int]:
        return _gaussian_margin(self.radius)

    def prepare(self, *specs: Spec) -> Any:
        level = np.float32(self.threshold * specs[0].full_scale / 255.0)
        return _gaussian_plan(self.radius), np.float32(self.amount), level

    def scaled(self, at: Reduced) -> tuple[Op, bool]:
        radius = max(self.radius * at.scale, 0.01)
        return UnsharpMask(radius, self.amount, self.threshold), _seen(radius)

    def filter_bytes(self, samples: int, taken: int, source: Spec) -> int:
        blurring = 2 * FLOAT * samples + FLOAT * taken + _gaussian_bytes(self.radius, taken)
        return max(blurring, 5 * FLOAT * samples)  # the image, what was lost, and terms of the sum, in float32

    def apply(self, padded: Pixels, at: Region, prepared: Any) -> Pixels:
        plan, amount, threshold = prepared
        across, down = self.margin
        sharp = padded[down : padded.shape[0] - down, across : padded.shape[1] - across].astype(np.float32)
        lost = sharp - _gaussian(padded.astype(np.float32), at, plan)
        return color.to_dtype(np.where(np.abs(lost) > threshold, sharp + amount * lost, sharp), padded.dtype)
