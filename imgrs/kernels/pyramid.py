"""Halving: each pixel of a smaller copy is the mean of four."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from imgrs.kernels import color

Array = npt.NDArray[Any]  # the dtype is the image's

ROWS = 64
"""Rows of a copy that are made at a time: sums are four times as wide as samples, and are to stay in the cache."""


def halved(pixels: Array, alpha: bool) -> Array:
    """The mean of every 2x2 pixels, rounded half up; an odd last column or row counts twice. Color is weighted by alpha.

    Tiles that begin at even places of the image give the pixels of the whole.
    """
    if alpha:
        return color.unpremultiply(_means(color.premultiply(pixels)), pixels.dtype.name)
    if pixels.dtype == bool:
        return np.greater_equal(_means(pixels.astype(np.float32)), 0.5)
    return _means(pixels)


def _means(pixels: Array) -> Array:
    height, width, bands = pixels.shape
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    wide = np.float32 if pixels.dtype == np.float32 else np.uint32
    means = np.empty((-(-height // 2), -(-width // 2), bands), pixels.dtype)
    for top in range(0, len(means), ROWS):
        block = pixels[2 * top : 2 * (top + ROWS)]
        rows = np.add(block[::2], block[1::2], dtype=wide)
        sums = rows[:, ::2] + rows[:, 1::2]
        means[top : top + ROWS] = sums * np.float32(0.25) if wide is np.float32 else (sums + 2) >> 2
    return means
