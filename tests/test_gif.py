"""GIF: few colors come back as they were, many come close, pixels are opaque or clear, and frames are Pillow's."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as Pillow

import imgrs
from imgrs.errors import ArgumentError, SaveError
from tests.test_files import pixels
from tests.test_formats import image


def saved(data: npt.NDArray[Any], **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    imgrs.fromarray(data).save(file, "GIF", **options)
    return file


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("colors", [1, 2, 3, 16, 17, 255, 256])
def test_few_colors_are_kept(colors: int, optimize: bool) -> None:
    rng = np.random.default_rng(colors)
    palette = rng.choice(1 << 24, colors, replace=False)
    chosen = np.concatenate([np.arange(colors), rng.integers(0, colors, 63 * 41 - colors)]).reshape(41, 63)
    data = np.stack([palette >> 16, palette >> 8 & 255, palette & 255], axis=1).astype(np.uint8)[chosen]
    file = saved(data, optimize=optimize)
    np.testing.assert_array_equal(imgrs.open(file).convert("RGB").compute(), data)
    with Pillow.open(file) as seen:
        np.testing.assert_array_equal(np.asarray(seen.convert("RGB")), data)


def test_many_colors_come_close() -> None:
    data = np.asarray(image("RGB", "uint8").compute())
    assert len(np.unique(data.reshape(-1, 3), axis=0)) > 256
    read = imgrs.open(saved(data)).convert("RGB").compute()
    assert np.abs(read.astype(int) - data).mean() < 6
    assert len(np.unique(read.reshape(-1, 3), axis=0)) <= 256


@pytest.mark.parametrize("colors", [1, 3, 255, 256, 1_000])
def test_clear_pixels_stay_clear(colors: int) -> None:
    rng = np.random.default_rng(colors)
    chosen = np.concatenate([np.arange(colors), rng.integers(0, colors, 63 * 41 - colors)]).reshape(41, 63)
    data = rng.integers(0, 256, (colors, 4), np.uint8)[chosen]
    data[..., 3] = 255
    data[10:, :20, 3] = 0
    read = imgrs.open(saved(data)).compute()
    np.testing.assert_array_equal(read[..., 3], data[..., 3])
    difference = np.abs(read[..., :3].astype(int) - data[..., :3])[data[..., 3] > 0]
    assert difference.max() == 0 if colors <= 255 else difference.mean() < 30


def test_opaque_and_empty_images() -> None:
    data = pixels("uint8", 4) // 64 * 64
    for opacity in (255, 0):
        data[..., 3] = opacity
        read = imgrs.open(saved(data)).convert("RGBA").compute()
        assert (read[..., 3] == opacity).all()
        if opacity:
            np.testing.assert_array_equal(read, data)


def test_what_is_neither_opaque_nor_clear_is_refused() -> None:
    data = pixels("uint8", 4)
    data[..., 3] = 255
    data[3, 4, 3] = 254
    with pytest.raises(SaveError, match="1 are in between"):
        saved(data)
    with pytest.raises(ArgumentError, match="convert"):
        image("LA", "uint8").save(io.BytesIO(), "GIF")


def moving(clear: bool) -> list[Pillow.Image]:
    """Frames that differ in a corner, so that only that is stored."""
    frames = []
    for i in range(4):
        data = np.zeros((20, 30, 4), np.uint8) if clear else pixels("uint8", 4, (30, 20)) // 64 * 64
        data[..., 3] = 0 if clear else 255
        data[3 * i : 3 * i + 6, 5 * i : 5 * i + 8] = (200, 60 * i, 10, 255)
        frames.append(Pillow.fromarray(data))
    return frames


@pytest.mark.parametrize("disposal", [0, 1, 2, 3, [1, 2, 3, 1]])
@pytest.mark.parametrize("clear", [False, True])
def test_frames_are_put_on_those_before_them(clear: bool, disposal: Any) -> None:
    file = io.BytesIO()
    first, *rest = moving(clear)
    first.save(file, "GIF", save_all=True, append_images=rest, disposal=disposal, duration=50)
    img = imgrs.open(file)
    with Pillow.open(file) as seen:
        assert img.n_frames == seen.n_frames == 4  # type: ignore[attr-defined]  # a GIF has it
        for i in (2, 0, 3, 1):
            seen.seek(i)
            np.testing.assert_array_equal(img.page(i).convert("RGBA").compute(), np.asarray(seen.convert("RGBA")))
