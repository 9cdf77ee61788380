"""Files written row by row: others read them, and their bytes do not depend on how they were made."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as Pillow

import imgrs
from imgrs.errors import ArgumentError
from imgrs.io.jpeg import write as jpeg_write
from imgrs.io.jpeg.markers import read_header
from imgrs.io.png import write as png_write
from tests import samples
from tests.test_files import pixels

Array = npt.NDArray[Any]

WAYS: list[dict[str, Any]] = [
    {"chunks": (16, 16), "scheduler": "sync"},
    {"chunks": (64, 33), "workers": 3},
    {"optimizer": "off", "memory_limit": "1GiB"},
    {"chunks": (50, 40), "scheduler": "processes"},
]


@pytest.fixture(autouse=True)
def small_strips(monkeypatch: Any) -> None:
    """Several strips in a small image. Other processes have the usual ones, so their images are one strip anyway."""
    monkeypatch.setattr(png_write, "STRIP", 3_000)
    monkeypatch.setattr(jpeg_write, "STRIP", 1_000)


def as_image(data: Array, mode: str | None = None) -> imgrs.Image:
    img = imgrs.fromarray(data)
    return img if mode is None else img.convert(mode)


@pytest.mark.parametrize("level", [0, 1, 3, 6, 9])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_pngs_are_read_by_others(bands: int, dtype: str, level: int, tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    data = pixels(dtype, bands)
    path = tmp_path / "a.png"
    imgrs.fromarray(data).save(path, compress_level=level)
    np.testing.assert_array_equal(imagecodecs.png_decode(path.read_bytes()).reshape(data.shape), data)
    if dtype == "uint8" or bands == 1:
        np.testing.assert_array_equal(np.asarray(Pillow.open(path)), data)
    Pillow.open(path).verify()


def test_one_bit_pngs(tmp_path: Path) -> None:
    img = as_image(pixels("uint8", 1), "1")
    img.save(tmp_path / "a.png")
    read = Pillow.open(tmp_path / "a.png")
    assert read.mode == "1"
    np.testing.assert_array_equal(np.asarray(read), img.compute())


@pytest.mark.parametrize("extension", ["png", "jpg", "npy"])
def test_the_bytes_do_not_depend_on_tiles_schedulers_or_workers(
    extension: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.undo()
    data = pixels("uint8", 3, (150, 700))
    img = imgrs.fromarray(data).blur(2).brightness(20)
    written = set()
    for i, options in enumerate(WAYS):
        img.save(tmp_path / f"{i}.{extension}", **options)
        written.add((tmp_path / f"{i}.{extension}").read_bytes())
    assert len(written) == 1


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("size", [(83, 61), (16, 16), (17, 200), (1, 1), (33, 8)])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpegs_have_the_bytes_of_pillows_with_restart_markers(
    mode: str, size: tuple[int, int], subsampling: int, tmp_path: Path
) -> None:
    img = as_image(pixels("uint8", 3, size), mode)
    path = tmp_path / "a.jpg"
    img.save(path, quality=85, subsampling=subsampling, chunks=(16, 16))
    block = {0: 8, 1: 8, 2: 16}[subsampling] if mode != "L" else 8
    rows = jpeg_write.JpegEncoder(img._node.spec, {"subsampling": subsampling}).unit[1] // block
    expected = io.BytesIO()
    img.to_pil().save(expected, "JPEG", quality=85, subsampling=subsampling, restart_marker_rows=rows)
    np.testing.assert_array_equal(np.asarray(Pillow.open(path)), np.asarray(Pillow.open(expected)))
    ours, theirs = path.read_bytes(), expected.getvalue()
    assert ours[_coded(ours) :] == theirs[_coded(theirs) :]


def _coded(data: bytes) -> int:
    """Where the coded data of a JPEG begins."""
    return read_header(io.BytesIO(data), "a JPEG").coded


@pytest.mark.parametrize("extension", ["png", "jpg"])
def test_metadata_is_written_as_pillow_writes_it(extension: str, tmp_path: Path) -> None:
    profile = samples.profile()
    exif = Pillow.Exif()
    exif[0x010E] = "a title"
    path = tmp_path / f"a.{extension}"
    imgrs.fromarray(pixels("uint8", 3)).save(path, dpi=(300, 300), icc_profile=profile, exif=exif.tobytes())
    read = Pillow.open(path)
    assert read.info["icc_profile"] == profile
    assert round(read.info["dpi"][0]) == 300
    assert read.getexif()[0x010E] == "a title"
    imgrs.open(path).brightness(3).save(tmp_path / f"b.{extension}")
    carried = Pillow.open(tmp_path / f"b.{extension}")
    assert carried.info["icc_profile"] == profile
    assert carried.getexif()[0x010E] == "a title"


def test_adler_sums_join() -> None:
    rng = np.random.default_rng(0)
    for first, second in [(0, 0), (1, 0), (0, 1), (70_000, 3), (3, 70_000), (65_521, 65_521)]:
        a, b = rng.bytes(first), rng.bytes(second)
        assert png_write.joined_adler(zlib.adler32(a), zlib.adler32(b), second) == zlib.adler32(a + b)


def test_large_images_are_planned_in_rows_that_fit() -> None:
    big = imgrs.new("RGB", (30_000, 30_000), (1, 2, 3)).rotate(33).blur(2)
    plan = big.explain(sink="png", costs=False, workers=2, memory_limit="500MiB", optimizer="exact", chunks=None)
    assert "rows" in plan
    with pytest.raises(ArgumentError, match="CMYK"):
        big.convert("CMYK").explain(sink="png")


def test_optimized_and_progressive_jpegs(tmp_path: Path) -> None:
    img = imgrs.fromarray(pixels("uint8", 3))
    img.save(tmp_path / "a.jpg", progressive=True)
    img.save(tmp_path / "b.jpg", optimize=True)
    assert Pillow.open(tmp_path / "a.jpg").info["progressive"]
    img.save(tmp_path / "c.jpg")
    for other in "ab":
        np.testing.assert_array_equal(
            np.asarray(Pillow.open(tmp_path / f"{other}.jpg")), np.asarray(Pillow.open(tmp_path / "c.jpg"))
        )
