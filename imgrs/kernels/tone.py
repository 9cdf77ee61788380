"""Kernels for samples: tables for 8 and 16 bits, formulas for floats.

A table is built in float64 once; applying it is exact by nature. Arrays are (height, width, bands), and ``colors`` is the
number of leading bands that change (the rest, alpha, is copied).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from imgrs.compiled import Exact, loop, opencv_pays
from imgrs.kernels import lookup

Array = npt.NDArray[Any]  # the dtype is the image's
Curve = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]

ENTRIES = {"uint8": 256, "uint16": 65536}


def table_of(curve: Curve, dtype: str) -> Array:
    """``curve`` (on the 0..255 scale) for every value of ``dtype``, rounded half up and clipped to its range."""
    entries = ENTRIES[dtype]
    unit = (entries - 1) / 255
    result = np.floor(curve(np.arange(entries, dtype=np.float64) / unit) * unit + 0.5)
    return np.clip(result, 0, entries - 1).astype(dtype)


def apply_table(pixels: Array, table: Array, colors: int, out: Array | None = None) -> Array:
    """Each sample of the color bands replaced by its entry in ``table``, of shape (entries,) or (entries, colors).

    The result is written to ``out`` if that is given, an array of the same shape whose rows may lie apart.
    """
    if out is None:
        out = np.empty(pixels.shape, pixels.dtype)
    bands = pixels.shape[2]
    if lookup.pays(pixels, out, table) and (colors == bands or bands in (2, 4)):
        lookup.apply(pixels, table, colors, out)
    elif bands <= 4 and opencv_pays(pixels.size):
        out[...] = _table_opencv(pixels, table, colors)
    else:
        columns = table.reshape(len(table), -1)
        for band in range(colors):
            out[..., band] = columns[:, min(band, columns.shape[1] - 1)][pixels[..., band]]
        out[..., colors:] = pixels[..., colors:]
    return out


def _table_opencv(pixels: Array, table: Array, colors: int) -> Array:
    import cv2

    bands = pixels.shape[2]
    entries = len(table)
    if table.ndim == 1 and colors == bands:
        return np.asarray(cv2.LUT(pixels.reshape(pixels.shape[0], -1), table.reshape(1, entries))).reshape(pixels.shape)
    full = np.tile(np.arange(entries, dtype=pixels.dtype)[:, None], (1, bands))
    full[:, :colors] = table.reshape(entries, -1)
    return np.asarray(cv2.LUT(pixels, full.reshape(1, entries, bands))).reshape(pixels.shape)


@loop
def _affine_loop(flat: Array, scale: Array, offset: Array, out: Array) -> None:
    bands = np.uint64(scale.size)
    for i in range(np.uint64(flat.size) // bands):
        for b in range(bands):
            j = i * bands + b
            out[j] = np.float32(np.float64(flat[j]) * scale[b] + offset[b])


def _affine_fast(pixels: Array, scale: float, offset: float, colors: int) -> Array:
    a, b = _per_band(pixels.shape[2], scale, offset, colors)
    out = np.empty_like(pixels)
    _affine_loop(pixels.reshape(-1), a, b, out.reshape(-1))
    return out


def _affine_plain(pixels: Array, scale: float, offset: float, colors: int) -> Array:
    """``scale * x + offset`` of float32 samples in float64, rounded to float32 once."""
    a, b = _per_band(pixels.shape[2], scale, offset, colors)
    return (pixels.astype(np.float64) * a + b).astype(np.float32)


def _per_band(bands: int, scale: float, offset: float, colors: int) -> tuple[Array, Array]:
    a, b = np.ones(bands), np.zeros(bands)
    a[:colors], b[:colors] = scale, offset
    return a, b


affine_f32: Exact[[Array, float, float, int], Array] = Exact(_affine_plain, _affine_fast)


def curve_f32(pixels: Array, curve: Curve, colors: int) -> Array:
    """``curve`` (on the 0..255 scale) of float32 samples, in float64, rounded to float32 once."""
    out = pixels.copy()
    for top in range(0, pixels.shape[0], 64):  # bounds the float64 copies
        rows = slice(top, top + 64)
        x = np.ascontiguousarray(pixels[rows, :, :colors], dtype=np.float64) * 255.0
        out[rows, :, :colors] = curve(x) / 255.0
    return out
