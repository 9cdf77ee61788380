"""What each op means, against something that this project did not write: a float64 formula, Pillow, scikit-image, SciPy.

An op without a reference here fails a test.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.interpolate
import scipy.ndimage
import skimage.exposure
import skimage.filters
from PIL import Image as Pillow
from PIL import ImageFilter, ImageOps

import imgrs
from imgrs.image import Image
from imgrs.ops.geometry import ExifTranspose
from tests.examples import op_classes

Array = npt.NDArray[Any]
MADE_BY_THE_ENGINE = {"point_run", "table", "combine", "absolute", "with_number", "map_tiles", "band", "merge"}
"""Found by the optimizer, or held to NumPy in other tests."""


@pytest.fixture
def pixels(photo: Array) -> Array:
    return photo[40:140, 60:190]


def half_up(x: Array) -> Array:
    rounded: Array = np.clip(np.floor(x + 0.5), 0, 255).astype(np.uint8)
    return rounded


def pillow(x: Array) -> Pillow.Image:
    return Pillow.fromarray(x.astype(np.uint8))


def luma(x: Array) -> Array:
    weighted: Array = x @ np.array([0.299, 0.587, 0.114])
    return weighted


def gaussian(x: Array, sigma: float) -> Array:
    return np.asarray(scipy.ndimage.gaussian_filter(x, (sigma, sigma, 0), mode="nearest", truncate=4.0))


def correlated(x: Array, kernel: Any) -> Array:
    return np.asarray(scipy.ndimage.correlate(x, np.array(kernel, float)[..., None], mode="nearest"))


def srgb_exposed(x: Array, stops: float) -> Array:
    v = x / 255
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4) * 2**stops
    return np.asarray(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255)


def rotated(x: Array, angle: float) -> Array:
    """By SciPy's spline of order 1, which is bilinear, from float64 coordinates."""
    height, width = x.shape[:2]
    turn = np.deg2rad(angle)
    rows, columns = np.mgrid[:height, :width] + 0.5
    dx, dy = columns - width / 2, rows - height / 2
    places = [
        np.sin(turn) * dx + np.cos(turn) * dy + height / 2 - 0.5,
        np.cos(turn) * dx - np.sin(turn) * dy + width / 2 - 0.5,
    ]
    bands = [scipy.ndimage.map_coordinates(x[..., b], places, order=1, mode="nearest") for b in range(3)]
    inside = np.logical_and.reduce([(p >= -0.5) & (p < n - 0.5) for p, n in zip(places, (height, width), strict=True)])
    return np.where(inside[..., None], np.stack(bands, axis=2), 0)


def unsharp(x: Array) -> Array:
    lost = x - gaussian(x, 2.0)
    return np.where(np.abs(lost) > 3, x + 1.5 * lost, x)


def blended(x: Array) -> Array:
    return np.asarray(
        Pillow.alpha_composite(
            Pillow.fromarray(np.dstack([x, np.full(x.shape[:2], 255, np.uint8)])),
            Pillow.fromarray(np.dstack([255 - x, x[..., 0]])),
        )
    )[..., :3]


LINEAR = ((0.9, 0.1, 0), (0, 1, 0.2), (0.1, 0, 0.8))
SEPIA = [[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]]
GRAY = [[0.2126, 0.7152, 0.0722]] * 3
POINTS = ((0.0, 0.0), (64.0, 48.0), (192.0, 214.0), (255.0, 255.0))
STRONG = [[-1, -1, -1], [-1, 9, -1], [-1, -1, -1]]
SOFT = ((1, 2, 1), (2, 4, 2), (1, 2, 0))
EDGES = [[-0.5, -0.5, -0.5], [-0.5, 5, -0.5], [-0.5, -0.5, -0.5]]

# name: (the image, its reference from float64 pixels, the difference allowed where sums are float32 and rounded once)
CASES: dict[str, tuple[Callable[[Image], Image], Callable[[Array], Any], int]] = {
    "brightness": (lambda i: i.brightness(20), lambda x: x + 20, 0),
    "contrast": (lambda i: i.contrast(1.3), lambda x: (x - 128) * 1.3 + 128, 0),
    "gamma": (lambda i: i.gamma(1.8), lambda x: skimage.exposure.adjust_gamma(x / 255, 1 / 1.8) * 255, 0),
    "exposure_adjust": (lambda i: i.exposure_adjust(0.7), lambda x: srgb_exposed(x, 0.7), 0),
    "invert": (lambda i: i.invert(0.3), lambda x: x * 0.7 + (255 - x) * 0.3, 0),
    "solarize": (lambda i: i.solarize(100), lambda x: ImageOps.solarize(pillow(x), 100), 0),
    "posterize": (lambda i: i.posterize(3), lambda x: ImageOps.posterize(pillow(x), 3), 0),
    "threshold": (lambda i: i.threshold(99), lambda x: (x >= 99) * 255.0, 0),
    "levels": (
        lambda i: i.levels(20, 220, 1.5),
        lambda x: skimage.exposure.rescale_intensity(x, (20, 220), (0.0, 1.0)) ** (1 / 1.5) * 255,
        0,
    ),
    "curve": (lambda i: i.curve(POINTS), lambda x: scipy.interpolate.PchipInterpolator(*np.array(POINTS).T)(x), 0),
    "saturate": (lambda i: i.saturate(0), lambda x: x @ np.array([[0.213, 0.715, 0.072]] * 3).T, 1),
    "grayscale": (lambda i: i.grayscale(), lambda x: x @ np.array(GRAY).T, 1),
    "sepia": (lambda i: i.sepia(), lambda x: x @ np.array(SEPIA).T, 1),
    "hue_rotate": (lambda i: i.hue_rotate(360), lambda x: x, 0),
    "color_matrix": (lambda i: i.color_matrix(LINEAR), lambda x: x @ np.array(LINEAR).T, 1),
    "convert": (lambda i: i.convert("L"), lambda x: pillow(x).convert("L"), 0),
    "astype": (lambda i: i.astype("uint16").astype("uint8"), lambda x: x, 0),
    "blur": (lambda i: i.blur(2), lambda x: gaussian(x, 2), 1),
    "box_blur": (lambda i: i.box_blur(3), lambda x: scipy.ndimage.uniform_filter(x, (7, 7, 1), mode="nearest"), 1),
    "sharpen": (lambda i: i.sharpen(0.5), lambda x: correlated(x, [[0, -0.5, 0], [-0.5, 3, -0.5], [0, -0.5, 0]]), 0),
    "emboss": (lambda i: i.emboss(), lambda x: correlated(x, [[0, 0, 0], [0, 1, 0], [-1, 0, 0]]) + 128, 0),
    "edge_enhance": (lambda i: i.edge_enhance(), lambda x: correlated(x, EDGES), 0),
    "edge_enhance_more": (lambda i: i.edge_enhance_more(), lambda x: correlated(x, STRONG), 0),
    "convolve": (lambda i: i.convolve(SOFT, offset=5), lambda x: correlated(x, np.array(SOFT) / 15) + 5, 1),
    "unsharp_mask": (lambda i: i.unsharp_mask(), unsharp, 1),
    "edge_detect": (
        lambda i: i.edge_detect(),
        lambda x: np.hypot(*(scipy.ndimage.sobel(luma(x), axis=a, mode="nearest") for a in (0, 1))),
        1,
    ),
    "crop": (lambda i: i.crop((3, 5, 60, 50)), lambda x: x[5:50, 3:60], 0),
    "transpose": (lambda i: i.rotate_left(), lambda x: np.rot90(x), 0),
    "exif_transpose": (lambda i: i.apply(ExifTranspose("rotate_90")), lambda x: np.rot90(x), 0),
    "pad": (lambda i: i.pad((2, 3), "edge"), lambda x: np.pad(x, ((3, 3), (2, 2), (0, 0)), mode="edge"), 0),
    "resize": (lambda i: i.resize((50, 77)), lambda x: pillow(x).resize((50, 77), 1), 0),
    "affine": (lambda i: i.rotate(25, resample="bilinear"), lambda x: rotated(x, 25), 1),
    "blend": (
        lambda i: i.blend("normal", imgrs.merge("RGBA", [*i.invert().split(), i.split()[0]])),
        lambda x: blended(x.astype(np.uint8)),
        1,
    ),
    "auto_contrast": (lambda i: i.auto_contrast(1), lambda x: ImageOps.autocontrast(pillow(x), 1), 1),
    "histogram": (lambda i: i.histogram(), lambda x: np.stack(pillow(x).histogram()).reshape(3, 256).T, 0),
    "mean": (lambda i: i.mean(), lambda x: x.mean(axis=(0, 1)), 0),
    "extrema": (lambda i: i.extrema(), lambda x: np.stack([x.min(axis=(0, 1)), x.max(axis=(0, 1))], axis=1), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_ops_mean_what_their_reference_says(name: str, pixels: Array) -> None:
    build, reference, allowed = CASES[name]
    got = build(imgrs.fromarray(pixels)).compute()
    expected = np.asarray(reference(pixels.astype(np.float64)))
    if name in ("histogram", "mean", "extrema"):
        np.testing.assert_allclose(got, expected, rtol=1e-12)
        return
    rounded = half_up(expected) if expected.dtype.kind == "f" else expected
    difference = np.abs(got.astype(int) - rounded)
    assert difference.max() <= allowed
    if name != "auto_contrast":  # Pillow cuts its table's entries off; ours are rounded
        assert (difference > 0).mean() < 0.01


def test_every_op_has_a_reference() -> None:
    assert {cls.name for cls in op_classes()} - MADE_BY_THE_ENGINE == set(CASES)


def test_hue_turns_as_the_standard_says(pixels: Array) -> None:
    """120 degrees take red toward green; the luminance weights of the standard stay."""
    red = imgrs.new("RGB", (1, 1), (200, 30, 30)).hue_rotate(120).compute()[0, 0] / 255
    assert abs(colorsys.rgb_to_hsv(*red)[0] - 1 / 3) < 0.06
    turned = imgrs.fromarray(pixels).astype("float32").hue_rotate(75).compute()
    weights = np.array([0.213, 0.715, 0.072])
    np.testing.assert_allclose(turned @ weights, (pixels / 255) @ weights, atol=2e-3)


@pytest.mark.parametrize("name", ["EMBOSS", "EDGE_ENHANCE", "EDGE_ENHANCE_MORE"])
def test_named_filters_are_pillows_inside(name: str, pixels: Array) -> None:
    ours = getattr(imgrs.fromarray(pixels), name.lower())().compute()
    theirs = np.asarray(Pillow.fromarray(pixels).filter(getattr(ImageFilter, name)))
    assert np.abs(ours.astype(int) - theirs)[1:-1, 1:-1].max() <= 1


def test_bicubic_rotation_against_float64(pixels: Array) -> None:
    """Keys' cubic, a = -0.5, summed in float64 at one pixel after another."""
    got = imgrs.fromarray(pixels).rotate(33).compute()
    height, width = pixels.shape[:2]
    turn = np.deg2rad(33)
    for y, x in ((50, 60), (20, 70), (77, 41)):
        dx, dy = x + 0.5 - width / 2, y + 0.5 - height / 2
        u, v = (
            np.cos(turn) * dx - np.sin(turn) * dy + width / 2 - 0.5,
            np.sin(turn) * dx + np.cos(turn) * dy + height / 2 - 0.5,
        )
        total = np.zeros(3)
        for j in range(int(v) - 1, int(v) + 3):
            for i in range(int(u) - 1, int(u) + 3):
                total += keys(u - i) * keys(v - j) * pixels[j, i]
        np.testing.assert_array_equal(got[y, x], half_up(total))


def keys(t: float) -> float:
    t = abs(t)
    return 1.5 * t**3 - 2.5 * t**2 + 1 if t < 1 else -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0


def test_alpha_is_premultiplied_where_pixels_mix() -> None:
    """A transparent green beside an opaque red must not show."""
    pixels = np.zeros((9, 20, 4), np.uint8)
    pixels[:, :10] = (200, 0, 0, 255)
    pixels[:, 10:] = (0, 255, 0, 0)
    for img in (
        imgrs.fromarray(pixels).blur(2),
        imgrs.fromarray(pixels).resize((7, 5)),
        imgrs.fromarray(pixels).rotate(9),
    ):
        assert img.compute()[..., 1].max() == 0
