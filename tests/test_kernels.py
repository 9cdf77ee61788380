"""Each kernel's compiled loop gives the bits of its NumPy form. A kernel without a case here fails a test."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from numpy._core._multiarray_umath import __cpu_features__  # type: ignore[import-not-found]  # has no types
from PIL import Image as Pillow

import imgrs.kernels
from imgrs import compiled
from imgrs.compiled import Exact, Load
from imgrs.kernels import color, convolve, dots, lookup, mix, move, resample, tone, warp, wide
from imgrs.machine_code import processor_has

Array = npt.NDArray[Any]
DTYPES = ("uint8", "uint16", "float32")


def noise(dtype: str, shape: tuple[int, int, int] = (61, 83, 3), seed: int = 0) -> Array:
    scale = 1 if dtype == "float32" else np.iinfo(dtype).max + 0.999
    return (np.random.default_rng(seed).random(shape) * scale).astype(dtype)


def kernels() -> dict[str, Exact[..., Any]]:
    found: dict[str, Exact[..., Any]] = {}
    for module in pkgutil.iter_modules(imgrs.kernels.__path__):
        names = vars(importlib.import_module(f"imgrs.kernels.{module.name}"))
        found |= {f"{module.name}.{name}": value for name, value in names.items() if isinstance(value, Exact)}
    # A kernel that another module imports is listed where it is defined.
    return {name: kernel for name, kernel in found.items() if kernel.plain.__module__.endswith(name.split(".")[0])}


def cases(name: str) -> Iterator[tuple[Any, ...]]:
    matrix = np.array([[0.9, 0.3, -0.2, 5], [0.1, 0.8, 0.3, -7], [0.4, -0.1, 0.7, 0]], np.float32)
    for dtype in DTYPES:
        pixels = noise(dtype)
        match name:
            case "color.matrix":
                yield pixels, matrix
                yield noise(dtype, (40, 33, 4)), matrix
            case "color.premultiply":
                yield (noise(dtype, (40, 33, 4)),)
                yield (noise(dtype, (9, 8, 2)),)
            case "color.unpremultiply":
                for bands in (2, 4):
                    straight = noise(dtype, (40, 33, bands))
                    straight[:9, :, -1] = 0
                    yield color.premultiply.plain(straight), dtype
                    yield color.premultiply.plain(straight) + np.float32(0.4), dtype
            case "tone.affine_f32":
                yield noise("float32"), 1.3, -0.1, 3
                yield noise("float32", (9, 8, 4)), 1.3, -0.1, 3
            case "convolve.separable":
                for sigma in (0.4, 1.0, 2.0, 3.3):
                    yield pixels, convolve.gaussian_taps(sigma)
            case "convolve.correlate":
                yield pixels, np.array([[1, 2, 0], [0.5, -3, 1], [0, 0.25, 1]], np.float32), 3.0
                yield pixels, np.random.default_rng(1).random((5, 7)).astype(np.float32), 0.0
            case "resample.resample_pass":
                down = resample.coefficients(61, 23, "lanczos", 0.0, 61.0)
                weights: Array = (down.weights * (1 << 22)).astype(np.int32)
                if dtype != "uint8":
                    weights = down.weights.astype(np.float32)
                for axis in (0, 1):
                    yield pixels, down.starts, weights, axis, dtype
                    if dtype != "uint8":
                        yield pixels, down.starts, weights, axis, "float32"
                        yield (pixels / 257).astype(np.uint8), down.starts, weights, axis, "uint8"
            case "warp.affine":
                for taps in (1, 2, 4):
                    q = warp.coordinates((0.8, -0.55, 9, 0.55, 0.8, -8), taps)
                    yield pixels, (0, 0), (83, 61), (-5, 0, 90, 75), q, taps, np.array([1, 2, 3]).astype(dtype)
            case _:
                raise AssertionError(f"kernel {name} has no case; add one")


@pytest.mark.parametrize("name", kernels())
def test_loops_equal_their_numpy_form(name: str) -> None:
    kernel = kernels()[name]
    for arguments in cases(name):
        plain, fast = kernel.plain(*arguments), kernel.fast(*arguments)
        assert plain.dtype == fast.dtype
        np.testing.assert_array_equal(fast, plain)


@pytest.mark.parametrize("bands", [3, 4])
@pytest.mark.parametrize("width", [1, 15, 16, 17, 50])
def test_a_matrix_goes_to_rows_that_lie_apart_and_nowhere_else(bands: int, width: int) -> None:
    m = np.array([[0.9, 0.3, -0.2, 5], [0.1, 0.8, 0.3, -7], [0.4, -0.1, 0.7, 0.5]], np.float32)
    pixels = noise("uint8", (9, 70, bands))[:, 3 : 3 + width]
    target = np.full((12, 60, bands), 7, np.uint8)
    mix.matrix(pixels, m, target[1:10, 5 : 5 + width])
    expected = np.full((12, 60, bands), 7, np.uint8)
    expected[1:10, 5 : 5 + width] = color.matrix.plain(pixels, m)
    np.testing.assert_array_equal(target, expected)


@pytest.mark.skipif(not dots.is_able(), reason="needs a processor with AVX-512 VNNI and VBMI")
@pytest.mark.parametrize("name", resample.FILTERS)
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_dot_products_equal_the_numpy_form(name: str, bands: int) -> None:
    for width, narrow in ((1, 1), (7, 3), (30, 29), (63, 100), (64, 32), (129, 86), (200, 20), (333, 7), (700, 10)):
        pixels = noise("uint8", (1 + width % 35, width, bands))
        pixels[0] = 255
        plan = resample.coefficients(width, narrow, name, 0.0, width)
        weights = (plan.weights * (1 << resample.PRECISION)).astype(np.int32)
        expected = resample.resample_pass.plain(pixels, plan.starts, weights, 1, "uint8")
        found = dots.across(pixels, plan.starts, weights, resample.PRECISION)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(not dots.is_able(), reason="needs a processor with AVX-512 VNNI and VBMI")
def test_dot_products_are_for_bytes_and_weights_within_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dots, "_load", Load(0))
    pixels, starts, weights = noise("uint8", (9, 20, 3)), np.arange(0, 20, 4), np.full((5, 4), 1 << 20, np.int32)
    assert dots.pays(pixels, starts, weights)
    assert not dots.pays(pixels.astype(np.uint16), starts, weights)
    assert not dots.pays(pixels, starts + 1, weights)
    assert not dots.pays(pixels, starts - 1, weights)
    assert not dots.pays(pixels, starts, weights * 8)
    assert not dots.pays(noise("uint8", (9, 20, 5)), starts, weights)


@pytest.mark.parametrize("name", resample.FILTERS)
@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("size", [(23, 17), (83, 9), (120, 20), (7, 61)])
def test_pillow_resizes_to_the_bytes_of_the_kernel(name: str, bands: int, size: tuple[int, int]) -> None:
    pixels = noise("uint8", (61, 83, bands))
    for box in [(0.0, 0.0, 83.0, 61.0), (3.25, 5.5, 80.0, 60.75)]:
        across, down = (
            None if (length, 0.0, length) == (wanted, box[axis], box[axis + 2])
            else resample.coefficients(length, wanted, name, box[axis], box[axis + 2])
            for axis, (length, wanted) in enumerate(zip((83, 61), size, strict=True))
        )  # fmt: skip
        expected = resample.resize(pixels, (0, 0), across, down, (0, 0, *size))
        np.testing.assert_array_equal(resample.resize_by_pillow(pixels, across, down, name, box), expected)


def test_a_thumbnail_loads_no_compiler() -> None:
    code = (
        "import numpy, sys, imgrs;"
        "img = imgrs.fromarray(numpy.zeros((1300, 1300, 3), 'uint8')).thumbnail((200, 200));"
        "assert img.compute().shape == (200, 200, 3);"
        "assert not {'numba', 'llvmlite'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_small_calls_run_compiled_once_they_have_taken_as_long_as_loading() -> None:
    ran: list[str] = []
    kernel = Exact(lambda pixels: ran.append("plain"), lambda pixels: ran.append("fast"))
    quarter: Array = np.zeros(compiled.WORTH // 4, np.uint8)
    for _ in range(6):
        kernel(quarter)
    assert ran == ["plain"] * 3 + ["fast"] * 3


def test_there_are_kernels() -> None:
    assert len(kernels()) >= 5


@pytest.mark.parametrize("name", ["box", "bilinear", "hamming", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(20, 91), (200, 31), (83, 17), (11, 61)])
def test_resizing_equals_pillow(name: str, size: tuple[int, int]) -> None:
    pixels = noise("uint8")
    across = None if size[0] == 83 else resample.coefficients(83, size[0], name, 0.0, 83.0)
    down = None if size[1] == 61 else resample.coefficients(61, size[1], name, 0.0, 61.0)
    expected = np.asarray(Pillow.fromarray(pixels).resize(size, Pillow.Resampling[name.upper()]))
    np.testing.assert_array_equal(resample.resize(pixels, (0, 0), across, down, (0, 0, *size)), expected)


@pytest.mark.parametrize("sigma", [12.0, 17.5, 40.0])
def test_wide_gaussians_are_within_their_bound(sigma: float) -> None:
    from scipy.ndimage import gaussian_filter1d

    pixels = noise("float32", (150, 170, 1)) * np.float32(255)
    reach = wide.reach(sigma)
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    exact = pixels.astype(np.float64)
    for axis in (0, 1):
        exact = gaussian_filter1d(exact, sigma, axis=axis, mode="nearest", truncate=4.0)
    plan = wide.wide(sigma)
    whole = wide.gaussian(padded, (0, 0), plan)
    assert np.abs(whole - exact).max() < 0.02
    for left, top, right, bottom in ((0, 0, 7, 16), (33, 41, 97, 74), (100, 90, 170, 150)):
        part = padded[top : bottom + 2 * reach, left : right + 2 * reach]
        np.testing.assert_array_equal(wide.gaussian(part, (left, top), plan), whole[top:bottom, left:right])


def test_tables_round_half_up_and_clip() -> None:
    table = tone.table_of(lambda x: x * 1.5 - 0.5, "uint8")
    assert table[:4].tolist() == [0, 1, 3, 4]
    assert table[-1] == 255


@pytest.mark.parametrize("shape", [(37, 52, 1), (37, 52, 3), (37, 52, 4), (1, 9, 2), (9, 1, 3), (6, 7, 5)])
@pytest.mark.parametrize("dtype", [*DTYPES, "bool"])
def test_moves_and_tables_are_the_same_without_opencv(shape: Any, dtype: str, monkeypatch: Any) -> None:
    pixels = noise("uint8", shape).astype(dtype)

    def results() -> Iterator[Array]:
        for bits in range(8):
            yield move.turned(pixels, bool(bits & 4), bool(bits & 2), bool(bits & 1))
        if dtype in tone.ENTRIES:
            entries = np.random.default_rng(5).integers(0, 256, (tone.ENTRIES[dtype], shape[2])).astype(dtype)
            yield tone.apply_table(pixels, entries, shape[2])
            yield tone.apply_table(pixels, entries[:, 0], shape[2] - (shape[2] in (2, 4)))

    import cv2  # noqa: F401  # from here on it pays, however small the image

    monkeypatch.setattr(lookup, "pays", lambda *arrays: False)
    with_opencv = list(results())
    for module in (move, tone):
        monkeypatch.setattr(module, "opencv_pays", lambda samples: False)
    for got, expected in zip(results(), with_opencv, strict=True):
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == expected.dtype
        assert got.flags.c_contiguous
    assert compiled.opencv_pays(pixels.size)


@pytest.mark.parametrize("lanes", [64, 32])
@pytest.mark.parametrize("shape", [(5, 64, 1), (3, 200, 3), (4, 21, 3), (2, 1, 1), (3, 50, 4), (3, 33, 2), (1, 300, 5)])
def test_permuted_tables_are_tables(lanes: int, shape: tuple[int, int, int], monkeypatch: Any) -> None:
    if not processor_has("avx512vbmi" if lanes == 64 else "avx2"):
        pytest.skip("not on this processor")
    monkeypatch.setattr(lookup, "_lanes", lambda: lanes)
    height, width, bands = shape
    table = np.random.default_rng(3).integers(0, 256, 256, np.uint8)
    around = noise("uint8", (height + 2, width + 9, bands))
    pixels, kept = around[1:-1, 4:-5], around.copy()
    for colors in {bands, bands - 1 if bands in (2, 4) else bands}:
        out = np.zeros_like(around)
        lookup.apply(pixels, table, colors, out[1:-1, 4:-5])
        expected = np.zeros_like(around)
        expected[1:-1, 4:-5] = pixels
        expected[1:-1, 4:-5, :colors] = table[pixels[..., :colors]]
        np.testing.assert_array_equal(out, expected)
        np.testing.assert_array_equal(around, kept)
    lookup.apply(pixels, table, bands, pixels)  # in place
    np.testing.assert_array_equal(pixels, table[kept[1:-1, 4:-5]])


def test_every_value_is_looked_up() -> None:
    from llvmlite import binding  # noqa: F401  # from here on it pays, however small the image

    pixels, table = np.arange(256, dtype=np.uint8).reshape(2, 128, 1), np.arange(255, -1, -1, dtype=np.uint8)
    assert lookup.pays(pixels, pixels, table) == __cpu_features__.get("AVX2", False)  # as NumPy finds out
    np.testing.assert_array_equal(tone.apply_table(pixels, table, 1), 255 - pixels)
    assert not lookup.pays(pixels[:, ::2], pixels, table)
    assert not lookup.pays(pixels, pixels, np.stack([table, table], axis=1))
