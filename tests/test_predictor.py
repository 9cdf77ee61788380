"""TIFF's horizontal predictor: imagecodecs sees the same differences, and the same sums of them."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from imgrs.io.tiff import predictor
from imgrs.types import Pixels


def noise(dtype: str, bands: int, width: int) -> Pixels:
    top = np.iinfo(dtype).max
    return np.random.default_rng(width).integers(0, top, (5, width, bands), dtype=dtype, endpoint=True)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_differences_and_sums_are_those_of_others(dtype: str, bands: int) -> None:
    for width in (1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 64, 100):
        pixels = noise(dtype, bands, width)
        differences = predictor.differences(pixels)
        np.testing.assert_array_equal(differences, imagecodecs.delta_encode(pixels, axis=-2))
        np.testing.assert_array_equal(predictor.sums_by_steps(differences), pixels)


@pytest.mark.parametrize("bands", [5, 7, 10, 16, 32])
def test_pixels_of_many_bands_take_fewer_steps(bands: int) -> None:
    pixels = noise("uint8", bands, 41)
    np.testing.assert_array_equal(predictor.sums_by_steps(predictor.differences(pixels)), pixels)


def test_pixels_larger_than_half_a_vector_are_summed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise("uint16", 17, 41)
    monkeypatch.setattr(predictor, "sums_by_steps", None)
    monkeypatch.setattr(predictor._load, "_done", 1 << 40)
    np.testing.assert_array_equal(predictor.sums(predictor.differences(pixels)), pixels)
