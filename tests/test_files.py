"""Files: what others write is read, what is written others read, and only what is needed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image as Pillow

import imgrs

Array = npt.NDArray[Any]


def pixels(dtype: str, bands: int, size: tuple[int, int] = (83, 61)) -> Array:
    rng = np.random.default_rng(bands)
    ramp = np.add.outer(np.arange(size[1]), np.arange(size[0]))[..., None] * (0.5 / sum(size))
    noise = ramp + rng.random((*size[::-1], bands)) * 0.4
    scaled = noise if dtype == "float32" else noise * np.iinfo(dtype).max
    return scaled.astype(dtype)[..., 0] if bands == 1 else scaled.astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize("compression", [None, "deflate", "lzw", "zstd"])
@pytest.mark.parametrize("layout", ["tiled", "striped", "planar", "big"])
def test_tiffs_of_others_are_read(dtype: str, bands: int, compression: str | None, layout: str, tmp_path: Path) -> None:
    data = pixels(dtype, bands)
    path = tmp_path / "a.tif"
    options: dict[str, Any] = {"compression": compression, "photometric": "minisblack" if bands == 1 else "rgb"}
    if bands == 4:
        options["extrasamples"] = ["unassalpha"]
    if compression:
        options["predictor"] = 3 if dtype == "float32" else 2
    if layout == "tiled":
        options["tile"] = (32, 48)
    elif layout == "striped":
        options["rowsperstrip"] = 7
    elif layout == "big":
        tifffile.imwrite(path, data, bigtiff=True, **options)
    elif bands > 1:
        options["planarconfig"] = "separate"
    if layout != "big":
        separate = layout == "planar" and bands > 1
        tifffile.imwrite(path, np.moveaxis(data, 2, 0) if separate else data, **options)
    img = imgrs.open(path)
    np.testing.assert_array_equal(img.compute(), data)
    np.testing.assert_array_equal(img.crop((11, 7, 59, 40)).compute(), data[7:40, 11:59])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize("compression", ["none", "deflate", "lzw", "zstd"])
def test_our_tiffs_are_read_by_others(dtype: str, bands: int, compression: str, tmp_path: Path) -> None:
    data = pixels(dtype, bands)
    path = tmp_path / "a.tif"
    imgrs.fromarray(data).save(path, compression=compression, tile=32)
    np.testing.assert_array_equal(tifffile.imread(path), data)
    if dtype == "uint8":
        np.testing.assert_array_equal(np.asarray(Pillow.open(path)), data)


def test_jpegs_in_tiffs(tmp_path: Path) -> None:
    smooth = np.asarray(Pillow.fromarray(pixels("uint8", 3)).resize((200, 160), Pillow.Resampling.BICUBIC))
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, smooth, tile=(64, 64), compression="jpeg", photometric="rgb")
    np.testing.assert_array_equal(imgrs.open(path).compute(), tifffile.imread(path))
    imgrs.fromarray(smooth).save(path, compression="jpeg", quality=95, tile=64)
    assert np.abs(tifffile.imread(path).astype(int) - smooth).mean() < 6


@pytest.mark.parametrize("extension", ["png", "bmp", "webp", "gif", "npy", "tif"])
def test_lossless_formats_round_trip(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{extension}"
    data = pixels("uint8", 3) // 64 * 64  # few enough colors for GIF
    options: dict[str, Any] = {"lossless": True} if extension == "webp" else {}
    imgrs.fromarray(data).save(path, **options)
    np.testing.assert_array_equal(imgrs.open(path).compute(), data)
    if extension != "npy":
        np.testing.assert_array_equal(np.asarray(Pillow.open(path).convert("RGB")), data)
    else:
        np.testing.assert_array_equal(np.load(path), data)


def test_jpegs_equal_pillows(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Pillow.fromarray(pixels("uint8", 3)).save(path, quality=80)
    np.testing.assert_array_equal(imgrs.open(path).compute(), np.asarray(Pillow.open(path)))


def test_sixteen_bits_survive_png(tmp_path: Path) -> None:
    for bands in (1, 3, 4):
        data = pixels("uint16", bands)
        imgrs.fromarray(data).save(tmp_path / "a.png")
        np.testing.assert_array_equal(imgrs.open(tmp_path / "a.png").compute(), data)


def test_palettes_expand(tmp_path: Path) -> None:
    palette = Pillow.fromarray(pixels("uint8", 3)).quantize(16)
    palette.save(tmp_path / "a.png")
    img = imgrs.open(tmp_path / "a.png")
    assert img.mode == "RGB"
    np.testing.assert_array_equal(img.compute(), np.asarray(palette.convert("RGB")))


def test_bytes_and_file_objects(tmp_path: Path) -> None:
    data = pixels("uint8", 3)
    for format_ in ("png", "tiff", "bmp"):
        target = io.BytesIO()
        imgrs.fromarray(data).save(target, format_)
        content = target.getvalue()
        np.testing.assert_array_equal(imgrs.open(content).compute(), data)
        np.testing.assert_array_equal(imgrs.open(io.BytesIO(content)).compute(), data)
        (tmp_path / "misnamed.jpg").write_bytes(content)
        np.testing.assert_array_equal(imgrs.open(tmp_path / "misnamed.jpg").compute(), data)


def test_a_file_can_be_saved_over_itself(tmp_path: Path) -> None:
    data = pixels("uint8", 3)
    path = tmp_path / "a.tif"
    imgrs.fromarray(data).save(path, tile=32)
    imgrs.open(path).invert().save(path, tile=32)
    np.testing.assert_array_equal(imgrs.open(path).compute(), 255 - data)
