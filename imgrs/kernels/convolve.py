"""Kernels that weigh a neighborhood: symmetric separable filters and small kernels of any shape.

Sums are float32 in a fixed order (center first, then pairs outward; for a kernel of any shape row by row), so a pixel's
bits do not depend on where a tile begins, nor on the CPU. Integers are rounded half up once, at the end.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from imgrs.compiled import Exact, loop, part
from imgrs.kernels.color import limit_of, to_dtype

Array = npt.NDArray[Any]  # the dtype is the image's

BLOCK = 1024
"""Samples summed at a time, so that the sums stay in the first-level cache."""


def gaussian_taps(sigma: float) -> npt.NDArray[np.float32]:
    """Half of a Gaussian cut at 4 sigma: the weights at 0, 1, ... m pixels; all of it sums to 1."""
    reach = max(1, math.ceil(4 * sigma))
    weights = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2)
    normalized: npt.NDArray[np.float64] = weights / (2 * weights.sum() - weights[0])
    return normalized.astype(np.float32)


@part
def _add_pairs(source: Array, center: Any, step: Any, taps: Array, n: Any, acc: Array) -> None:
    # acc[i] = taps[0] * source[center + i] + sum over t of taps[t] * (the pair t steps away), four pairs at a time, so
    # that LLVM vectorizes them and sums stay in registers. Unsigned places keep numba from looking for negative ones.
    f, one, two, three = np.float32, np.uint64(1), np.uint64(2), np.uint64(3)
    size, t, w = np.uint64(taps.size), np.uint64(1), taps[0]
    if size > np.uint64(4):
        w1, w2, w3, w4 = taps[1], taps[2], taps[3], taps[4]
        a, b = center - step, center + step
        c, d, e, g, h, k = a - step, b + step, a - two * step, b + two * step, a - three * step, b + three * step
        for i in range(n):
            s = w * f(source[center + i]) + w1 * (f(source[a + i]) + f(source[b + i]))
            s = (s + w2 * (f(source[c + i]) + f(source[d + i]))) + w3 * (f(source[e + i]) + f(source[g + i]))
            acc[i] = s + w4 * (f(source[h + i]) + f(source[k + i]))
        t = np.uint64(5)
    else:
        for i in range(n):
            acc[i] = w * f(source[center + i])
    while t + three < size:
        w1, w2, w3, w4 = taps[t], taps[t + one], taps[t + two], taps[t + three]
        a, b = center - t * step, center + t * step
        c, d, e, g, h, k = a - step, b + step, a - two * step, b + two * step, a - three * step, b + three * step
        for i in range(n):
            s = acc[i] + w1 * (f(source[a + i]) + f(source[b + i]))
            s = (s + w2 * (f(source[c + i]) + f(source[d + i]))) + w3 * (f(source[e + i]) + f(source[g + i]))
            acc[i] = s + w4 * (f(source[h + i]) + f(source[k + i]))
        t += np.uint64(4)
    if t + one < size:
        w1, w2, a, b = taps[t], taps[t + one], center - t * step, center + t * step
        c, d = a - step, b + step
        for i in range(n):
            s = acc[i] + w1 * (f(source[a + i]) + f(source[b + i]))
            acc[i] = s + w2 * (f(source[c + i]) + f(source[d + i]))
        t += two
    if t < size:
        w1, a, b = taps[t], center - t * step, center + t * step
        for i in range(n):
            acc[i] = acc[i] + w1 * (f(source[a + i]) + f(source[b + i]))


@loop
def _separable_loop(
    flat: Array,
    height: Any,
    stride: Any,
    bands: Any,
    taps: Array,
    limit: np.float32,
    row: Array,
    across: Array,
    out: Array,
) -> None:
    # flat: (height + 2m) rows of `stride` samples. Each output row is summed down into `row`, then across into `out`.
    reach, stride, bands, block = np.uint64(taps.size - 1), np.uint64(stride), np.uint64(bands), np.uint64(BLOCK)
    width = stride - np.uint64(2) * reach * bands
    half, zero = np.float32(0.5), np.float32(0)
    for y in range(np.uint64(height)):
        start = np.uint64(0)
        while start < stride:
            n = min(block, stride - start)
            _add_pairs(flat, (y + reach) * stride + start, stride, taps, n, row[start : start + n])
            start += n
        start = np.uint64(0)
        while start < width:
            n = min(block, width - start)
            _add_pairs(row, reach * bands + start, bands, taps, n, across)
            place = y * width + start
            if limit > zero:
                for i in range(n):
                    out[place + i] = np.int32(min(max(across[i] + half, zero), limit))
            else:
                for i in range(n):
                    out[place + i] = across[i]
            start += n


def _separable_fast(padded: Array, taps: Array) -> Array:
    reach = len(taps) - 1
    rows, columns, bands = padded.shape
    out = np.empty((rows - 2 * reach, columns - 2 * reach, bands), padded.dtype)
    limit = limit_of(padded.dtype)
    flat, stride = padded.reshape(-1), columns * bands
    row, across = np.empty(stride, np.float32), np.empty(BLOCK, np.float32)
    _separable_loop(flat, out.shape[0], stride, bands, taps, limit, row, across, out.reshape(-1))
    return out


def _separable_plain(padded: Array, taps: Array) -> Array:
    """A symmetric filter down, then across; ``taps`` is its half, and ``padded`` reaches ``len(taps) - 1`` further."""
    sums = padded.astype(np.float32)
    for axis in (0, 1):
        sums = _along(sums, taps, axis)
    return to_dtype(sums, padded.dtype)


def _along(pixels: Array, taps: Array, axis: int) -> Array:
    reach = len(taps) - 1
    length = pixels.shape[axis] - 2 * reach

    def at(shift: int) -> Array:
        part = [slice(None)] * 3
        part[axis] = slice(reach + shift, reach + shift + length)
        return pixels[tuple(part)]

    sums: Array = taps[0] * at(0)
    for t in range(1, reach + 1):
        sums = sums + taps[t] * (at(-t) + at(t))
    return sums


separable: Exact[[Array, Array], Array] = Exact(_separable_plain, _separable_fast)


@part
def _weigh(source: Array, at: Any, shifts: Array, weights: Array, n: Any, acc: Array) -> None:
    # acc[i] = sum over k of weights[k] * source[at + shifts[k] + i], four at a time, as above;
    # the first four begin the sums, which saves a pass over them.
    f, size, k = np.float32, np.uint64(weights.size), np.uint64(0)
    if size >= np.uint64(4):
        w1, w2, w3, w4 = weights[0], weights[1], weights[2], weights[3]
        a, b, c, d = at + shifts[0], at + shifts[1], at + shifts[2], at + shifts[3]
        for i in range(n):
            s = (f(0) + w1 * f(source[a + i])) + w2 * f(source[b + i])
            acc[i] = (s + w3 * f(source[c + i])) + w4 * f(source[d + i])
        k = np.uint64(4)
    else:
        for i in range(n):
            acc[i] = f(0)
    while k + np.uint64(4) <= size:
        k2, k3, k4 = k + np.uint64(1), k + np.uint64(2), k + np.uint64(3)
        w1, w2, w3, w4 = weights[k], weights[k2], weights[k3], weights[k4]
        a, b, c, d = at + shifts[k], at + shifts[k2], at + shifts[k3], at + shifts[k4]
        for i in range(n):
            s = (acc[i] + w1 * f(source[a + i])) + w2 * f(source[b + i])
            acc[i] = (s + w3 * f(source[c + i])) + w4 * f(source[d + i])
        k += np.uint64(4)
    while k < size:
        w, a = weights[k], at + shifts[k]
        for i in range(n):
            acc[i] = acc[i] + w * f(source[a + i])
        k += np.uint64(1)


@loop
def _correlate_loop(
    flat: Array,
    height: Any,
    stride: Any,
    width: Any,
    shifts: Array,
    weights: Array,
    offset: np.float32,
    limit: np.float32,
    acc: Array,
    out: Array,
) -> None:
    half, zero = np.float32(0.5), np.float32(0)
    stride, width, block = np.uint64(stride), np.uint64(width), np.uint64(BLOCK)
    for y in range(np.uint64(height)):
        start = np.uint64(0)
        while start < width:
            n = min(block, width - start)
            _weigh(flat, y * stride + start, shifts, weights, n, acc)
            place = y * width + start
            if limit > zero:
                for i in range(n):
                    out[place + i] = np.int32(min(max((acc[i] + offset) + half, zero), limit))
            else:
                for i in range(n):
                    out[place + i] = acc[i] + offset
            start += n


def _correlate_fast(padded: Array, kernel: Array, offset: float) -> Array:
    rows, columns, bands = padded.shape
    down, across = np.nonzero(kernel)
    shifts = ((down * columns + across) * bands).astype(np.uint64)
    height, width = rows - kernel.shape[0] + 1, (columns - kernel.shape[1] + 1) * bands
    out = np.empty((height, columns - kernel.shape[1] + 1, bands), padded.dtype)
    limit = limit_of(padded.dtype)
    weights = kernel[down, across]
    flat, stride, acc = padded.reshape(-1), columns * bands, np.empty(BLOCK, np.float32)
    _correlate_loop(flat, height, stride, width, shifts, weights, np.float32(offset), limit, acc, out.reshape(-1))
    return out


def _correlate_plain(padded: Array, kernel: Array, offset: float) -> Array:
    """Correlation with a float32 kernel, plus ``offset``; ``padded`` reaches half the kernel further on each side."""
    height, width = padded.shape[0] - kernel.shape[0] + 1, padded.shape[1] - kernel.shape[1] + 1
    source = padded.astype(np.float32)
    sums = np.zeros((height, width, padded.shape[2]), np.float32)
    for y, x in zip(*np.nonzero(kernel), strict=True):
        sums += kernel[y, x] * source[y : y + height, x : x + width]
    return to_dtype(sums + np.float32(offset), padded.dtype)


correlate: Exact[[Array, Array, float], Array] = Exact(_correlate_plain, _correlate_fast)


def sobel_magnitude(padded: Array, dtype: str) -> Array:
    """The length of the Sobel gradient of a float32 image with one pixel around it, as samples of ``dtype``."""
    p = padded[..., 0]

    def at(y: int, x: int) -> Array:
        return p[1 + y : p.shape[0] - 1 + y, 1 + x : p.shape[1] - 1 + x]

    two = np.float32(2)
    across = ((at(-1, 1) - at(-1, -1)) + two * (at(0, 1) - at(0, -1))) + (at(1, 1) - at(1, -1))
    down = ((at(1, -1) - at(-1, -1)) + two * (at(1, 0) - at(-1, 0))) + (at(1, 1) - at(-1, 1))
    return to_dtype(np.sqrt(across * across + down * down), dtype)[..., None]


def box_mean(padded: Array, radius: int) -> Array:
    """The mean of the square of ``2 radius + 1`` pixels a side: exact sums, rounded half up once.

    Floats are summed in float64 in a fixed order and rounded to float32.
    """
    side = 2 * radius + 1
    sums: Array = padded.astype(np.int64 if padded.dtype.kind == "u" else np.float64)
    for axis in (0, 1):
        length = sums.shape[axis] - 2 * radius
        parts = [np.take(sums, range(i, i + length), axis) for i in range(side)]
        total = parts[0]
        for other in parts[1:]:
            total = total + other
        sums = total
    count = side * side
    if padded.dtype.kind == "u":
        return ((2 * sums + count) // (2 * count)).astype(padded.dtype)
    return (sums / count).astype(padded.dtype)
