"""Kernels that gather numbers about an image; sums are exact, so they do not depend on how it is cut into tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]  # the dtype is the image's
Counts = npt.NDArray[np.int64]

_FRACTION = 149
"""The smallest float32 above 0 is 2^-149, so a float32 times 2^149 is an integer."""


def histogram(pixels: Array, bins: int) -> Counts:
    """How many samples of each band fall into each of ``bins`` equal parts of full range: (bins, bands).

    Floats outside 0..1 are counted at the ends.
    """
    if pixels.dtype.kind == "f":
        places = np.clip(np.floor(pixels.astype(np.float64) * bins), 0, bins - 1).astype(np.int64)
    else:
        depth = np.iinfo(pixels.dtype).max + 1
        places = pixels if bins == depth else pixels // (depth // bins)
    bands = pixels.shape[2]
    counts = [np.bincount(places[..., b].ravel(), minlength=bins) for b in range(bands)]
    return np.stack(counts, axis=1).astype(np.int64)


def exact_sums(pixels: Array) -> tuple[int, ...]:
    """The sum of each band as an exact integer: of samples, or of floats in units of 2^-149."""
    if pixels.dtype.kind == "u":
        return tuple(int(v) for v in pixels.sum(axis=(0, 1), dtype=np.uint64))
    return tuple(_exact_float_sum(pixels[..., b]) for b in range(pixels.shape[2]))


def _exact_float_sum(samples: Array) -> int:
    """Samples are grouped by exponent, and their integer mantissas summed in each group."""
    mantissa, exponent = np.frexp(samples.ravel().astype(np.float64))
    whole = (mantissa * (1 << 24)).astype(np.int64)
    low = int(exponent.min()) if exponent.size else 0
    groups = exponent - low
    high = np.bincount(groups, whole >> 12).astype(np.int64)  # two halves: float64 sums of them are exact
    rest = np.bincount(groups, whole & 0xFFF).astype(np.int64)
    shift = low - 24 + _FRACTION
    total = sum(((int(h) << 12) + int(r)) << i for i, (h, r) in enumerate(zip(high, rest, strict=True)))
    return total << shift if shift >= 0 else total >> -shift


def mean_of(sums: tuple[int, ...], count: int, is_float: bool) -> npt.NDArray[np.float64]:
    """Exact sums over a count, correctly rounded."""
    scale = count << _FRACTION if is_float else count
    return np.array([total / scale for total in sums])
