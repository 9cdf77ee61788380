"""Kernels that mix the bands of a pixel: color matrices, luma, alpha.

Sums are float32 in a fixed order, integers are rounded half up and clipped, floats are left as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from imgrs.compiled import Exact, loop, part
from imgrs.kernels import mix

Array = npt.NDArray[Any]  # the dtype is the image's

BLOCK = 2048
"""Pixels that are split into planes at a time, so that the planes stay in the first-level cache."""


def limit_of(dtype: np.dtype[Any]) -> np.float32:
    """The largest value of an integer dtype; 0 for floats, which have no limit."""
    return np.float32(np.iinfo(dtype).max if dtype.kind == "u" else 0)


def to_dtype(sums: Array, dtype: Any) -> Array:
    """Float sums as samples of ``dtype``: integers half up and clipped, floats unchanged."""
    kind = np.dtype(dtype)
    if kind.kind != "u":
        return sums.astype(kind, copy=False)
    half = sums.dtype.type(0.5)
    clipped: Array = np.clip(np.floor(sums + half), 0, np.iinfo(kind).max)
    return clipped.astype(kind)


@part
def _weigh(
    planes: Array, a: np.float32, b: np.float32, c: np.float32, d: np.float32, limit: np.float32, out: Array
) -> None:
    red, green, blue = planes[0], planes[1], planes[2]
    half, zero = np.float32(0.5), np.float32(0)
    for i in range(out.size):
        total = ((a * red[i] + b * green[i]) + c * blue[i]) + d
        if limit > zero:
            total = np.float32(np.int32(min(max(total + half, zero), limit)))
        out[i] = total


@loop
def _matrix_loop(flat: Array, bands: int, m: Array, limit: np.float32, planes: Array, mixed: Array, out: Array) -> None:
    # Blocks of pixels are split into planes, weighed, and joined again: each of the three steps vectorizes.
    count = flat.size // bands
    for start in range(0, count, BLOCK):
        n = min(BLOCK, count - start)
        source = flat[start * bands : (start + n) * bands]
        target = out[start * bands : (start + n) * bands]
        if bands == 3:
            for i in range(n):
                planes[0, i], planes[1, i], planes[2, i] = source[3 * i], source[3 * i + 1], source[3 * i + 2]
        else:
            for i in range(n):
                planes[0, i], planes[1, i], planes[2, i] = source[4 * i], source[4 * i + 1], source[4 * i + 2]
        for b in range(3):
            _weigh(planes, m[b, 0], m[b, 1], m[b, 2], m[b, 3], limit, mixed[b, :n])
        if bands == 3:
            for i in range(n):
                target[3 * i], target[3 * i + 1], target[3 * i + 2] = mixed[0, i], mixed[1, i], mixed[2, i]
        else:
            for i in range(n):
                target[4 * i], target[4 * i + 1], target[4 * i + 2] = mixed[0, i], mixed[1, i], mixed[2, i]
                target[4 * i + 3] = source[4 * i + 3]


def _matrix_fast(pixels: Array, m: Array) -> Array:
    out = np.empty(pixels.shape, pixels.dtype)
    if pixels.dtype == np.uint8:
        mix.matrix(np.ascontiguousarray(pixels), m, out)
        return out
    planes, mixed = np.empty((2, 3, BLOCK), np.float32)
    flat, bands = np.ascontiguousarray(pixels).reshape(-1), pixels.shape[2]
    _matrix_loop(flat, bands, np.ascontiguousarray(m), limit_of(pixels.dtype), planes, mixed, out.reshape(-1))
    return out


def _matrix_plain(pixels: Array, m: Array) -> Array:
    """The first three bands times a float32 (3, 4) matrix whose last column is added; a fourth band is copied."""
    r, g, b = (pixels[..., i].astype(np.float32) for i in range(3))
    out = pixels.copy()
    for i in range(3):
        out[..., i] = to_dtype(((m[i, 0] * r + m[i, 1] * g) + m[i, 2] * b) + m[i, 3], pixels.dtype)
    return out


matrix: Exact[[Array, Array], Array] = Exact(_matrix_plain, _matrix_fast)


def matrix_into(target: Array, pixels: Array, m: Array) -> None:
    """``matrix``, written to ``target``, whose rows may lie apart."""
    if pixels.dtype != np.uint8:
        target[...] = matrix(pixels, m)
    elif matrix.load.pays(pixels.size):
        mix.matrix(pixels, m, target)
    else:
        target[...] = matrix.plain(pixels, m)


def matrix_with_alpha(pixels: Array, m: Array, full: float) -> Array:
    """RGBA (or RGB, opaque then) times a float32 (4, 5) matrix whose last column is added, in ``pixels``' bands."""
    r, g, b = (pixels[..., i].astype(np.float32) for i in range(3))
    a = pixels[..., 3].astype(np.float32) if pixels.shape[2] == 4 else np.float32(full)
    sums = [(((row[0] * r + row[1] * g) + row[2] * b) + row[3] * a) + row[4] for row in m[: pixels.shape[2]]]
    return to_dtype(np.stack(sums, axis=2), pixels.dtype)


def full_of(dtype: np.dtype[Any]) -> int:
    """A sample at full intensity."""
    return 1 if dtype.kind == "f" else int(np.iinfo(dtype).max)


def cmyk(colors: Array) -> Array:
    """Gray or RGB to CMYK as Pillow has it: gray is black ink alone; RGB is its complement, without black."""
    full = colors.dtype.type(full_of(colors.dtype))
    ink = full - colors
    nothing = np.zeros_like(colors[..., :1])
    parts = [nothing, nothing, nothing, ink] if colors.shape[2] == 1 else [ink, nothing]
    return np.ascontiguousarray(np.concatenate(parts, axis=2))


def rgb_of_cmyk(inks: Array) -> Array:
    """CMYK to RGB: ``(1 - ink) (1 - black)``, at 8 bits in Pillow's integers."""
    if inks.dtype.kind == "f":
        light: Array = 1 - inks[..., 3:]
        rgb: Array = light - inks[..., :3] * light
        return rgb
    full, bits = full_of(inks.dtype), 8 * inks.dtype.itemsize
    left = full - inks[..., 3:].astype(np.int64)
    product = inks[..., :3].astype(np.int64) * left + (1 << (bits - 1))
    kept = left - (((product >> bits) + product) >> bits)  # divided by full, rounded
    return np.clip(kept, 0, full).astype(inks.dtype)


def bilevel(pixels: Array) -> Array:
    """RGB to black and white: Rec. 601 luma, not rounded, of at least 128 of 255, as Pillow without dithering."""
    r, g, b = (pixels[..., i].astype(np.float64) for i in range(3))
    bright: Array = (299.0 * r + 587.0 * g + 114.0 * b) >= 128_000.0 * full_of(pixels.dtype) / 255.0
    return bright[..., None]


def luma(pixels: Array) -> Array:
    """Rec. 601 luma of RGB as float32, neither rounded nor clipped: (height, width, 1)."""
    r, g, b = (pixels[..., i].astype(np.float32) for i in range(3))
    total: Array = (np.float32(0.299) * r + np.float32(0.587) * g) + np.float32(0.114) * b
    return total[..., None]


def gray(pixels: Array) -> Array:
    """RGB to L: Pillow's integers at 8 bits (``19595 R + 38470 G + 7471 B`` in 2^-16), their like at 16; floats in f64."""
    r, g, b = (pixels[..., i] for i in range(3))
    if pixels.dtype.kind == "u":
        wide = "uint64" if pixels.dtype == np.uint16 else "uint32"
        total: Array = r.astype(wide) * 19595 + g.astype(wide) * 38470 + b.astype(wide) * 7471 + 0x8000
        return np.right_shift(total, 16).astype(pixels.dtype)[..., None]
    r, g, b = (band.astype(np.float64) for band in (r, g, b))
    sums: Array = (0.299 * r + 0.587 * g) + 0.114 * b
    return sums.astype(np.float32)[..., None]


@loop
def _premultiply_loop(flat: Array, bands: int, out: Array) -> None:
    step, last = np.uint64(bands), np.uint64(bands - 1)
    for i in range(np.uint64(flat.size) // step):
        alpha = np.float32(flat[i * step + last])
        for b in range(last):
            out[i * step + b] = np.float32(flat[i * step + b]) * alpha
        out[i * step + last] = alpha


def _premultiply_fast(pixels: Array) -> Array:
    out = np.empty(pixels.shape, np.float32)
    _premultiply_loop(np.ascontiguousarray(pixels).reshape(-1), pixels.shape[2], out.reshape(-1))
    return out


def _premultiply_plain(pixels: Array) -> Array:
    """Color times alpha (in alpha's own units), and alpha, as float32."""
    out = pixels.astype(np.float32)
    out[..., :-1] *= out[..., -1:]
    return out


premultiply: Exact[[Array], Array] = Exact(_premultiply_plain, _premultiply_fast)


@loop
def _unpremultiply_loop(flat: Array, bands: int, limit: np.float32, out: Array) -> None:
    step, last = np.uint64(bands), np.uint64(bands - 1)
    half, zero = np.float32(0.5), np.float32(0)
    for i in range(np.uint64(flat.size) // step):
        alpha = flat[i * step + last]
        for b in range(step):
            value = flat[i * step + b]
            if b < last:
                value = value / alpha if alpha > zero else zero
            if limit > zero:
                value = np.float32(np.int32(min(max(value + half, zero), limit)))
            out[i * step + b] = value


def _unpremultiply_fast(weighted: Array, dtype: str) -> Array:
    out = np.empty(weighted.shape, dtype)
    flat = np.ascontiguousarray(weighted).reshape(-1)
    _unpremultiply_loop(flat, weighted.shape[2], limit_of(out.dtype), out.reshape(-1))
    return out


def _unpremultiply_plain(weighted: Array, dtype: str) -> Array:
    """Color over alpha again, as samples of ``dtype``; color under alpha 0 becomes 0."""
    alpha = weighted[..., -1:]
    color = np.divide(weighted[..., :-1], alpha, out=np.zeros_like(weighted[..., :-1]), where=alpha > 0)
    return np.concatenate([to_dtype(color, dtype), to_dtype(alpha, dtype)], axis=2)


unpremultiply: Exact[[Array, str], Array] = Exact(_unpremultiply_plain, _unpremultiply_fast)


def source_over(base: Array, base_alpha: bool, over: Array, over_alpha: bool, mask: Array | None) -> Array:
    """Source-over of W3C Compositing and Blending Level 1, section 5.1, on straight alpha; in ``base``'s bands.

    ``mask`` (height, width, 1) scales the opacity of ``over``. All are of one dtype.
    """
    full = np.float32(np.iinfo(base.dtype).max if base.dtype.kind == "u" else 1)
    colors = over.shape[2] - over_alpha
    opacity = over[..., -1:].astype(np.float32) / full if over_alpha else np.ones_like(over[..., :1], np.float32)
    if mask is not None:
        opacity = opacity * (mask.astype(np.float32) / full)
    behind = base[..., -1:].astype(np.float32) / full if base_alpha else np.ones_like(opacity)
    rest = behind * (np.float32(1) - opacity)
    alpha = opacity + rest
    mixed = over[..., :colors].astype(np.float32) * opacity + base[..., :colors].astype(np.float32) * rest
    straight = np.divide(mixed, alpha, out=np.zeros_like(mixed), where=alpha > 0)
    bands = [to_dtype(straight, base.dtype)]
    if base_alpha:
        bands.append(to_dtype(alpha * full, base.dtype))
    return np.concatenate(bands, axis=2)
