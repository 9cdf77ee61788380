"""Kernels that resize: Pillow's filters and coefficients, applied across, then down, from global coordinates.

At 8 bits the sums are Pillow's integers (weights in 2^-22, rounded to 8 bits between the passes), so results equal
Pillow's. 16 bits and floats are summed in float32 in order, without rounding between the passes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from imgrs.compiled import Exact, loop, part
from imgrs.kernels import dots
from imgrs.kernels.color import limit_of, to_dtype
from imgrs.kernels.move import turned

Array = npt.NDArray[Any]  # the dtype is the image's
F64 = npt.NDArray[np.float64]
Box: TypeAlias = tuple[float, float, float, float]

PRECISION = 22
"""Fraction bits of an integer weight: what an int32 holds beside 8 bits of sample and 2 of headroom."""


def _box(x: F64) -> F64:
    return ((x > -0.5) & (x <= 0.5)).astype(np.float64)


def _bilinear(x: F64) -> F64:
    return np.maximum(1.0 - np.abs(x), 0.0)


def _hamming(x: F64) -> F64:
    t = np.abs(x)
    return np.where(t < 1.0, np.sinc(t) * (0.54 + 0.46 * np.cos(np.pi * t)), 0.0)


def _bicubic(x: F64) -> F64:
    a, t = -0.5, np.abs(x)
    near = ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0
    far = (((t - 5.0) * t + 8.0) * t - 4.0) * a
    return np.where(t < 1.0, near, np.where(t < 2.0, far, 0.0))


def _lanczos(x: F64) -> F64:
    return np.where((x >= -3.0) & (x < 3.0), np.sinc(x) * np.sinc(x / 3.0), 0.0)


FILTERS = {
    "box": (_box, 0.5),
    "bilinear": (_bilinear, 1.0),
    "hamming": (_hamming, 1.0),
    "bicubic": (_bicubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}
"""Each filter with its support in source pixels at scale 1; formulas are those of Pillow's ``Resample.c``."""


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Along one axis, for each output pixel: the first source pixel and the weights from there on."""

    size_in: int
    starts: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    weights: F64
    """(outputs, taps), zero beyond ``counts``."""


def coefficients(size_in: int, size_out: int, name: str, start: float, stop: float) -> Coefficients:
    """Weights for resizing ``start..stop`` of ``size_in`` source pixels to ``size_out``; antialiased when shrinking."""
    function, support = FILTERS[name]
    scale = (stop - start) / size_out
    widened = max(scale, 1.0)
    reach = support * widened
    centers = start + (np.arange(size_out) + 0.5) * scale
    starts = np.maximum((centers - reach + 0.5).astype(np.int64), 0)
    ends = np.minimum((centers + reach + 0.5).astype(np.int64), size_in)
    taps = math.ceil(reach) * 2 + 1
    positions = starts[:, None] + np.arange(taps)
    weights = function((positions - centers[:, None] + 0.5) * (1.0 / widened))
    weights[positions >= ends[:, None]] = 0.0
    total = weights.sum(axis=1, keepdims=True)
    np.divide(weights, total, out=weights, where=total != 0.0)
    return Coefficients(size_in, starts, ends - starts, weights)


def nearest(size_in: int, size_out: int, start: float, stop: float) -> npt.NDArray[np.int64]:
    """The source pixel of each output pixel, as Pillow's NEAREST picks it."""
    scale = (stop - start) / size_out
    return np.clip((start + (np.arange(size_out) + 0.5) * scale).astype(np.int64), 0, size_in - 1)


def _tap_rows(weights: Array, counts: Array, dtype: Any) -> Array:
    """Weights as the sums need them: integers for 8 bits, float32 otherwise; no more taps than are used."""
    used = weights[:, : max(int(counts.max()), 1)]
    if dtype == np.uint8:
        scaled = used * (1 << PRECISION)
        rounded: Array = np.trunc(scaled + np.copysign(0.5, scaled))
        return rounded.astype(np.int32)
    return used.astype(np.float32)


def _pass_plain(source: Array, starts: Array, weights: Array, axis: int, dtype: str) -> Array:
    """One pass along ``axis`` (0 down, 1 across): ``sum_t weights[i, t] * source[starts[i] + t]``, t in order.

    Beyond the source, its last sample counts again. Sums become samples of ``dtype``; ``"float32"`` leaves them as they are.
    """
    wide = source.astype(weights.dtype)
    last = source.shape[axis] - 1
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    total: Array = np.zeros((), wide.dtype)
    for t in range(weights.shape[1]):
        total = total + weights[:, t].reshape(shape) * np.take(wide, np.minimum(starts + t, last), axis)
    if total.dtype != np.int32:
        return to_dtype(total, dtype)
    total += np.int32(1 << (PRECISION - 1))
    total >>= PRECISION
    return np.clip(total, 0, 255, out=total).astype(np.uint8)


LANES = 1024
"""Samples whose sums are made side by side, so that they stay in the first-level cache."""
ROWS = 128
"""Rows that the pass across takes together: they are transposed, and a column is then a row for the pass down."""

# The loops below count in unsigned integers, so that numba does not look for negative indices, and sum four taps at a
# time, in order, so that LLVM vectorizes them side by side.


@part
def _rounded(total: Any, precision: Any, limit: np.float32) -> Any:
    # Half up. Which kind of sum it is, numba knows when it compiles: ``precision`` is None for floats.
    if precision is None:
        if limit > np.float32(0):
            return np.float32(np.int32(min(max(total + np.float32(0.5), np.float32(0)), limit)))
        return total
    half, most = np.int32(1 << (precision - 1)), np.int32(255)
    return min(max((total + half) >> np.int32(precision), np.int32(0)), most)


@part
def _weigh(source: Array, first: Any, step: Any, last: Any, weights: Array, n: Any, acc: Array) -> None:
    # acc[i] = sum over t of weights[t] * source[first + t * step + i]; beyond ``last``, the samples there count again.
    kind = weights.dtype.type
    taps, t = np.uint64(weights.size), np.uint64(0)
    for i in range(n):
        acc[i] = kind(0)
    while t + np.uint64(4) <= taps and first + (t + np.uint64(3)) * step <= last:
        a = first + t * step
        b, c, d = a + step, a + np.uint64(2) * step, a + np.uint64(3) * step
        w, x, y, z = weights[t], weights[t + np.uint64(1)], weights[t + np.uint64(2)], weights[t + np.uint64(3)]
        for i in range(n):
            near = (acc[i] + w * kind(source[a + i])) + x * kind(source[b + i])
            acc[i] = (near + y * kind(source[c + i])) + z * kind(source[d + i])
        t += np.uint64(4)
    while t < taps:
        a, w = min(first + t * step, last), weights[t]
        for i in range(n):
            acc[i] = acc[i] + w * kind(source[a + i])
        t += np.uint64(1)


@loop
def _down_loop(
    flat: Array, stride: Any, starts: Array, weights: Array, precision: Any, limit: np.float32, acc: Array, out: Array
) -> None:
    stride, size, lanes = np.uint64(stride), np.uint64(flat.size), np.uint64(LANES)
    for y in range(np.uint64(starts.size)):
        begin = np.uint64(0)
        while begin < stride:
            n = min(lanes, stride - begin)
            first = np.uint64(starts[y]) * stride + begin
            _weigh(flat, first, stride, size - stride + begin, weights[y], n, acc)
            for i in range(n):
                out[y * stride + begin + i] = _rounded(acc[i], precision, limit)
            begin += n


def _pass_fast(source: Array, starts: Array, weights: Array, axis: int, dtype: str) -> Array:
    if axis == 0:
        return _down(source, starts, weights, dtype)
    if dots.pays(source, starts, weights):
        return dots.across(source, starts, weights, PRECISION)
    rows, _, bands = source.shape
    out = np.empty((rows, len(starts), bands), dtype)
    for top in range(0, rows, ROWS):
        strip = source[top : top + ROWS].copy()  # memory is read in order, and the strip then is in the cache
        columns = turned(strip, swap=True, columns=False, rows=False)
        out[top : top + ROWS] = turned(_down(columns, starts, weights, dtype), swap=True, columns=False, rows=False)
    return out


def _down(source: Array, starts: Array, weights: Array, dtype: str) -> Array:
    _, columns, bands = source.shape
    out = np.empty((len(starts), columns, bands), dtype)
    precision = PRECISION if weights.dtype == np.int32 else None
    how = np.ascontiguousarray(starts), np.ascontiguousarray(weights), precision, limit_of(out.dtype)
    flat, acc = np.ascontiguousarray(source).reshape(-1), np.empty(LANES, weights.dtype)
    _down_loop(flat, columns * bands, *how, acc, out.reshape(-1))
    return out


def _pass_work(source: Array, starts: Array, weights: Array, axis: int, dtype: str) -> int:
    """The plain form takes 2 to 5 ns for each product; 64 of them are what a sample of other kernels takes."""
    products: int = source.size // source.shape[axis] * weights.size
    return products // 64


resample_pass: Exact[[Array, Array, Array, int, str], Array] = Exact(_pass_plain, _pass_fast, _pass_work)


def _down_first(across: Coefficients, down: Coefficients) -> bool:
    """Whether the pass down comes first, as Pillow has it since 13.0: where it drops over twice as many
    rows as the pass across drops columns."""
    narrower = across.size_in - len(across.starts)
    lower = down.size_in - len(down.starts)
    return lower > max(2 * narrower, 0)


PILLOW = range(1 << 18, 1 << 24)
"""Samples of a whole image that Pillow resizes while no loop is compiled."""


def pillow_pays(source: Array) -> bool:
    """Whether Pillow resizes all of ``source`` quicker than the plain form and before a loop is there: to the same bytes."""
    fits = source.dtype == np.uint8 and source.shape[2] in (1, 3)
    return fits and source.size in PILLOW and not resample_pass.load.paid


def resize_by_pillow(
    source: Array, across: Coefficients | None, down: Coefficients | None, name: str, box: Box
) -> Array:
    """``resize`` of a whole image whose coefficients were made by ``name`` for ``box`` (left, top, right, bottom)."""
    from PIL import Image

    bands = source.shape[2]
    image = Image.fromarray(source[..., 0] if bands == 1 else source)
    filter = Image.Resampling[name.upper()]
    passes = [(across, 0), (down, 1)]
    if across is not None and down is not None and _down_first(across, down):
        passes.reverse()
    for plan, axis in passes:  # one at a time: which comes first depends on Pillow's version
        if plan is not None:
            size, part = list(image.size), [0.0, 0.0, float(image.width), float(image.height)]
            size[axis], part[axis], part[axis + 2] = len(plan.starts), box[axis], box[axis + 2]
            image = image.resize((size[0], size[1]), filter, (part[0], part[1], part[2], part[3]))
    return np.array(image).reshape(image.height, image.width, bands)


def resize(
    source: Array,
    corner: tuple[int, int],
    across: Coefficients | None,
    down: Coefficients | None,
    box: tuple[int, int, int, int],
) -> Array:
    """The pixels ``box`` (left, top, right, bottom) of a resized image, in ``source``'s dtype.

    ``source`` covers what they need, its first pixel at ``corner`` (left, top) of the whole source; None for an axis
    skips its pass (same size, whole box), as Pillow does. 8-bit samples are rounded between the passes.
    """
    dtype = source.dtype.name
    passes = [(1, across, box[0], box[2]), (0, down, box[1], box[3])]
    if across is not None and down is not None and _down_first(across, down):
        passes.reverse()
    kept = [(axis, plan, first, last) for axis, plan, first, last in passes if plan is not None]
    result = source
    for i, (axis, plan, first, last) in enumerate(kept, start=1):
        weights = _tap_rows(plan.weights[first:last], plan.counts[first:last], source.dtype)
        between = dtype if i == len(kept) or dtype == "uint8" else "float32"
        result = resample_pass(result, plan.starts[first:last] - corner[1 - axis], weights, axis, between)
    return result
