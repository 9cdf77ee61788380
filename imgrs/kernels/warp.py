"""Affine warps: every output pixel looks up its place in the input.

Coordinates are integers in units of 2^-32 pixel, computed from the output's global x and y, so a pixel's place does not
depend on the tile; weights are float32, summed in a fixed order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from imgrs.compiled import Exact, loop, part
from imgrs.kernels.color import limit_of, to_dtype

Array = npt.NDArray[Any]  # the dtype is the image's

ONE = 1 << 32
"""One pixel, in the units of coordinates."""
TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4}
"""Source pixels along each axis that an output pixel is made from."""


def coordinates(matrix: tuple[float, ...], taps: int) -> npt.NDArray[np.int64]:
    """(a, b, c, d, e, f) such that output pixel (x, y) lies at (a x + b y + c, d x + e y + f) / 2^32 of the input.

    ``matrix`` takes points to points (a pixel's center is half a pixel in); with several ``taps`` the result counts from
    the center of input pixel 0, with one from its corner.
    """
    a, b, c, d, e, f = matrix
    back = 0.0 if taps == 1 else 0.5
    values = (a, b, (a + b) * 0.5 + c - back, d, e, (d + e) * 0.5 + f - back)
    return np.array([round(v * ONE) for v in values], np.int64)


@part
def _weights(fraction: np.int64, taps: int, out: Array) -> None:
    # Of the taps from the first on; bicubic is Keys' with a = -0.5.
    t = np.float32(fraction >> 8) * np.float32(1 / (1 << 24))
    if taps == 1:
        out[0] = np.float32(1)
    elif taps == 2:
        out[0] = np.float32(1) - t
        out[1] = t
    else:
        out[0] = ((np.float32(-0.5) * t + np.float32(1)) * t - np.float32(0.5)) * t
        out[1] = ((np.float32(1.5) * t - np.float32(2.5)) * t) * t + np.float32(1)
        out[2] = ((np.float32(-1.5) * t + np.float32(2)) * t + np.float32(0.5)) * t
        out[3] = ((np.float32(0.5) * t - np.float32(0.5)) * t) * t


@loop
def _affine_loop(
    flat: Array,
    stride: int,
    bands: int,
    geometry: Array,
    q: Array,
    taps: int,
    fill: Array,
    limit: np.float32,
    weights: Array,
    places: Array,
    out: Array,
) -> None:
    # geometry: the tile's left and top, the image's width and height, the output's left, top, width and height.
    # places are unsigned, so that numba does not look for negative ones.
    tile_left, tile_top, width, height, left, top, columns, rows = geometry
    one, zero, half = np.int64(32), np.float32(0), np.float32(0.5)
    center = np.int64(0) if taps == 1 else np.int64(1) << np.int64(31)
    before = np.int64(1) if taps == 4 else np.int64(0)
    mask = (np.int64(1) << one) - np.int64(1)
    across, down = weights[0], weights[1]
    offsets, lines = places[0], places[1]
    for y in range(rows):
        px = q[0] * left + q[1] * (top + y) + q[2]
        py = q[3] * left + q[4] * (top + y) + q[5]
        for x in range(columns):
            target = (y * columns + x) * bands
            nx, ny = (px + center) >> one, (py + center) >> one
            if nx < 0 or ny < 0 or nx >= width or ny >= height:
                for c in range(bands):
                    out[target + c] = fill[c]
            else:
                ix, iy = (px >> one) - before, (py >> one) - before
                if taps == 1:
                    source = (iy - tile_top) * stride + (ix - tile_left) * bands
                    for c in range(bands):
                        out[target + c] = flat[source + c]
                else:
                    _weights(px & mask, taps, across)
                    _weights(py & mask, taps, down)
                    for i in range(taps):
                        offsets[i] = (min(max(ix + i, 0), width - 1) - tile_left) * bands
                        lines[i] = (min(max(iy + i, 0), height - 1) - tile_top) * stride
                    a0, a1, a2, a3 = across[0], across[1], across[2], across[3]
                    b0, b1, b2, b3 = down[0], down[1], down[2], down[3]
                    o0, o1, o2, o3 = offsets[0], offsets[1], offsets[2], offsets[3]
                    l0, l1, l2, l3 = lines[0], lines[1], lines[2], lines[3]
                    for band in range(bands):
                        k = np.uint64(band)
                        r0 = a0 * np.float32(flat[l0 + o0 + k]) + a1 * np.float32(flat[l0 + o1 + k])
                        r1 = a0 * np.float32(flat[l1 + o0 + k]) + a1 * np.float32(flat[l1 + o1 + k])
                        if taps == 4:
                            r0 = (r0 + a2 * np.float32(flat[l0 + o2 + k])) + a3 * np.float32(flat[l0 + o3 + k])
                            r1 = (r1 + a2 * np.float32(flat[l1 + o2 + k])) + a3 * np.float32(flat[l1 + o3 + k])
                        total = b0 * r0 + b1 * r1
                        if taps == 4:
                            r2 = a0 * np.float32(flat[l2 + o0 + k]) + a1 * np.float32(flat[l2 + o1 + k])
                            r2 = (r2 + a2 * np.float32(flat[l2 + o2 + k])) + a3 * np.float32(flat[l2 + o3 + k])
                            r3 = a0 * np.float32(flat[l3 + o0 + k]) + a1 * np.float32(flat[l3 + o1 + k])
                            r3 = (r3 + a2 * np.float32(flat[l3 + o2 + k])) + a3 * np.float32(flat[l3 + o3 + k])
                            total = (total + b2 * r2) + b3 * r3
                        if limit > zero:
                            total = np.float32(np.int32(min(max(total + half, zero), limit)))
                        out[target + band] = total
            px += q[0]
            py += q[3]


def _affine_fast(
    tile: Array,
    corner: tuple[int, int],
    size: tuple[int, int],
    box: tuple[int, int, int, int],
    q: Array,
    taps: int,
    fill: Array,
) -> Array:
    rows, columns, bands = box[3] - box[1], box[2] - box[0], tile.shape[2]
    out = np.empty((rows, columns, bands), tile.dtype)
    geometry = np.array([*corner, *size, box[0], box[1], columns, rows], np.int64)
    limit = limit_of(tile.dtype)
    stride = tile.shape[1] * bands
    weights, places = np.empty((2, 4), np.float32), np.empty((2, 4), np.uint64)
    flat = np.ascontiguousarray(tile).reshape(-1)
    _affine_loop(flat, stride, bands, geometry, q, taps, fill, limit, weights, places, out.reshape(-1))
    return out


def _affine_plain(
    tile: Array,
    corner: tuple[int, int],
    size: tuple[int, int],
    box: tuple[int, int, int, int],
    q: Array,
    taps: int,
    fill: Array,
) -> Array:
    """The pixels ``box`` (left, top, right, bottom) of a warped image, in ``tile``'s dtype.

    ``tile`` has its first pixel at ``corner`` (left, top) of an image of ``size`` and covers what they need. ``q`` is from
    ``coordinates``. A pixel whose center falls outside the image becomes ``fill`` (one sample per band); one inside uses
    the nearest pixels there are.
    """
    x, y = np.arange(box[0], box[2], dtype=np.int64), np.arange(box[1], box[3], dtype=np.int64)[:, None]
    places = [q[0] * x + q[1] * y + q[2], q[3] * x + q[4] * y + q[5]]
    center = 0 if taps == 1 else ONE >> 1
    inside = np.ones(places[0].shape, bool)
    indices, weights = [], []
    for axis in (0, 1):
        nearest = (places[axis] + center) >> 32
        inside &= (nearest >= 0) & (nearest < size[axis])
        first = (places[axis] >> 32) - (1 if taps == 4 else 0)
        last = tile.shape[1 - axis] - 1  # what is not inside may point anywhere
        indices.append([np.clip(np.clip(first + i, 0, size[axis] - 1) - corner[axis], 0, last) for i in range(taps)])
        w = np.empty((4, *nearest.shape), np.float32)
        _weights(places[axis] & (ONE - 1), taps, w)
        weights.append(w[..., None])
    if taps == 1:
        result = tile[indices[1][0], indices[0][0]]
    else:
        total: Array = np.zeros((), np.float32)
        for j in range(taps):
            part: Array = np.zeros((), np.float32)
            for i in range(taps):
                term = weights[0][i] * tile[indices[1][j], indices[0][i]].astype(np.float32)
                part = term if i == 0 else part + term
            total = weights[1][0] * part if j == 0 else total + weights[1][j] * part
        result = to_dtype(total, tile.dtype)
    result[~inside] = fill
    warped: Array = result
    return warped


affine: Exact[[Array, tuple[int, int], tuple[int, int], tuple[int, int, int, int], Array, int, Array], Array] = Exact(
    _affine_plain, _affine_fast
)
