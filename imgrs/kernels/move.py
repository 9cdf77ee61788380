"""Kernels that only move pixels: flips and quarter turns. Nothing is computed, so any implementation gives the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from imgrs.compiled import opencv_pays

Array = npt.NDArray[Any]  # the dtype is the image's


def turned(pixels: Array, swap: bool, columns: bool, rows: bool) -> Array:
    """A (height, width, bands) array with its axes swapped, then its columns and rows reversed, where asked for."""
    if pixels.shape[2] <= 4 and opencv_pays(pixels.size):
        return _turned_opencv(pixels, swap, columns, rows)
    moved = pixels.swapaxes(0, 1) if swap else pixels
    moved = moved[:, ::-1] if columns else moved
    return np.ascontiguousarray(moved[::-1] if rows else moved)


def _turned_opencv(pixels: Array, swap: bool, columns: bool, rows: bool) -> Array:
    import cv2

    samples = pixels.view(np.uint8) if pixels.dtype == bool else pixels
    if swap:
        samples = cv2.transpose(samples)
    if columns or rows:
        samples = cv2.flip(samples, -1 if columns and rows else int(columns))
    height, width, bands = pixels.shape
    shape = (width, height, bands) if swap else pixels.shape
    moved: Array = np.ascontiguousarray(samples).reshape(shape).view(pixels.dtype)
    return moved
