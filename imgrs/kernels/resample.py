"""Kernels that resize: Pillow's filters and coefficients, applied across, then down, from global coordinates.

At 8 bits the sums are Pillow's integers (weights in 2^-22, rounded to 8 bits between the passes), so results equal
Pillow's. 16 bits and floats are summed in float32 in order, without rounding between the passes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imgrs.kernels.color import to_dtype
from imgrs.kernels.compiled import Exact, exact, loop

Array = npt.NDArray[Any]  # the dtype is the image's
F64 = npt.NDArray[np.float64]

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


@loop
def _across_loop(flat: Array, bands: int, starts: Array, weights: Array, out: Array, stride: int) -> None:
    outputs, taps = weights.shape
    zero = weights[0, 0] * weights.dtype.type(0)
    rows = flat.size // stride
    for y in range(rows):
        source = flat[y * stride : (y + 1) * stride]
        target = out[y * outputs * bands : (y + 1) * outputs * bands]
        for x in range(outputs):
            w = weights[x]
            first = starts[x] * bands
            for c in range(bands):
                part = source[first + c :]
                acc = zero
                for t in range(taps):
                    acc += w[t] * part[min(t * bands, part.size - 1)]
                target[x * bands + c] = acc


def _tap_rows(weights: Array, counts: Array, dtype: Any) -> Array:
    """Weights as the sums need them: integers for 8 bits, float32 otherwise; no more taps than are used."""
    used = weights[:, : max(int(counts.max()), 1)]
    if dtype == np.uint8:
        scaled = used * (1 << PRECISION)
        rounded: Array = np.trunc(scaled + np.copysign(0.5, scaled))
        return rounded.astype(np.int32)
    return used.astype(np.float32)


def _pass_plain(source: Array, starts: Array, weights: Array, axis: int) -> Array:
    """One pass along ``axis`` (0 down, 1 across): ``sum_t weights[i, t] * source[starts[i] + t]``, t in order."""
    wide = source.astype(weights.dtype)
    last = source.shape[axis] - 1
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    total: Array = np.zeros((), wide.dtype)
    for t in range(weights.shape[1]):
        total = total + weights[:, t].reshape(shape) * np.take(wide, np.minimum(starts + t, last), axis)
    return _finished(total)


def _finished(total: Array) -> Array:
    """Integer sums as 8-bit samples again; float sums as they are."""
    if total.dtype != np.int32:
        return total
    total += np.int32(1 << (PRECISION - 1))
    total >>= PRECISION
    return np.clip(total, 0, 255, out=total).astype(np.uint8)


@loop
def _down_loop(flat: Array, stride: int, starts: Array, weights: Array, out: Array) -> None:
    outputs, taps = weights.shape
    last = flat.size // stride - 1
    for y in range(outputs):
        for begin in range(0, stride, 1024):
            n = min(1024, stride - begin)
            acc = np.zeros(n, weights.dtype)
            for t in range(taps):
                w = weights[y, t]
                row = min(starts[y] + t, last) * stride + begin
                source = flat[row : row + n]
                for i in range(n):
                    acc[i] += w * source[i]
            target = out[y * stride + begin : y * stride + begin + n]
            for i in range(n):
                target[i] = acc[i]


def _pass_fast(source: Array, starts: Array, weights: Array, axis: int) -> Array:
    source = source if weights.dtype == np.int32 else np.ascontiguousarray(source, np.float32)
    rows, columns, bands = source.shape
    out = np.empty((len(starts), columns, bands) if axis == 0 else (rows, len(starts), bands), weights.dtype)
    if axis == 0:
        _down_loop(source.reshape(-1), columns * bands, starts, weights, out.reshape(-1))
    else:
        _across_loop(source.reshape(-1), bands, starts, weights, out.reshape(-1), columns * bands)
    return _finished(out)


def _pass_work(source: Array, starts: Array, weights: Array, axis: int) -> int:
    """The plain form takes 2 to 5 ns for each product, and 0.35 s, which loading numba takes, are 64 a sample."""
    products: int = source.size // source.shape[axis] * weights.size
    return products // 64


resample_pass: Exact[[Array, Array, Array, int], Array] = exact(_down_loop, _pass_work)(_pass_plain)(_pass_fast)


def _down_first(across: Coefficients, down: Coefficients) -> bool:
    """Whether the pass down comes first, as Pillow has it since 13.0: where it drops over twice as many
    rows as the pass across drops columns."""
    narrower = across.size_in - len(across.starts)
    lower = down.size_in - len(down.starts)
    return lower > max(2 * narrower, 0)


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
    dtype = source.dtype
    result = source
    passes = [(1, across, box[0], box[2]), (0, down, box[1], box[3])]
    if across is not None and down is not None and _down_first(across, down):
        passes.reverse()
    for axis, plan, first, last in passes:
        if plan is not None:
            weights = _tap_rows(plan.weights[first:last], plan.counts[first:last], dtype)
            result = resample_pass(result, plan.starts[first:last] - corner[1 - axis], weights, axis)
    return result if result.dtype == dtype else to_dtype(result, dtype)
