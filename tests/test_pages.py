"""Files of several images: pages, frames, and smaller copies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image as Pillow

import imgrs
from imgrs.errors import ArgumentError
from imgrs.io.tiff.write import TiffEncoder
from imgrs.types import Region
from tests.test_files import pixels

Array = npt.NDArray[Any]


def test_pages_of_a_tiff(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    data = [pixels("uint8", 3, (40 + i, 30)) for i in range(3)]
    with tifffile.TiffWriter(path) as file:
        for page in data:
            file.write(page, photometric="rgb", tile=(16, 16))
    img = imgrs.open(path)
    assert img.n_frames == 3
    for i, page in enumerate(data):
        np.testing.assert_array_equal(img.page(i).compute(), page)
        np.testing.assert_array_equal(imgrs.open(path, page=i).compute(scheduler="processes"), page)
    assert len({img.page(i).key for i in range(3)}) == 3
    with pytest.raises(ArgumentError, match="from 0 to 2"):
        img.page(3)
    with pytest.raises(ArgumentError, match="before other"):
        img.blur(1).page(1)


@pytest.mark.parametrize("extension", ["gif", "png", "webp"])
def test_frames_of_an_animation(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{extension}"
    frames = [Pillow.fromarray(np.full((20, 30, 3), 40 * i, np.uint8)) for i in range(4)]
    options: dict[str, Any] = {"lossless": True} if extension == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=50, **options)
    img = imgrs.open(path)
    assert img.n_frames == 4
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(img.page(i).convert("RGB").compute(), np.asarray(frame))
    with pytest.raises(ArgumentError, match="from 0 to 3"):
        imgrs.open(path, page=4)


def means(data: Array) -> Array:
    """Halved in float64, as the format's users expect: each pixel the mean of four."""
    height, width = data.shape[:2]
    wide = np.pad(data.astype(np.float64), ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    halves: Array = np.floor(wide.reshape(-(-height // 2), 2, -(-width // 2), 2, -1).mean(axis=(1, 3)) + 0.5)
    return halves


@pytest.mark.parametrize("size", [(700, 300), (333, 1001), (64, 64), (65, 1)])
@pytest.mark.parametrize(
    "options", [{"scheduler": "sync"}, {"workers": 2, "bigtiff": True}, {"scheduler": "processes"}]
)
def test_a_pyramid_has_every_level(size: tuple[int, int], options: dict[str, Any], tmp_path: Path) -> None:
    data = pixels("uint8", 3, size)
    path = tmp_path / "a.tif"
    imgrs.fromarray(data).save(path, pyramid=True, tile=16, chunks=(64, 64), **options)
    with tifffile.TiffFile(path) as file:
        assert file.series[0].is_pyramidal or min(size) <= 64
        assert [page.is_reduced for page in file.pages] == [i > 0 for i in range(len(file.pages))]
        assert all(page.is_tiled for page in file.pages)
        levels = [page.asarray() for page in file.pages]
    expected = data
    for level in levels:
        np.testing.assert_array_equal(level, expected)
        expected = means(expected).astype(np.uint8)
    assert max(levels[-1].shape[:2]) <= 16
    assert len(levels) == 1 or max(levels[-2].shape[:2]) > 16


def test_a_pyramids_bytes_do_not_depend_on_tiles(tmp_path: Path) -> None:
    data = pixels("uint8", 4, (500, 400))
    written = set()
    ways: list[dict[str, Any]] = [{"scheduler": "sync"}, {"workers": 3}, {"scheduler": "processes"}]
    for i, options in enumerate(ways):
        imgrs.fromarray(data).save(tmp_path / f"{i}.tif", pyramid=True, tile=16, **options)
        written.add((tmp_path / f"{i}.tif").read_bytes())
    assert len(written) == 1


@pytest.mark.parametrize("mode", ["1", "L", "RGBA", "I;16", "F", "CMYK"])
def test_pyramids_of_every_kind(mode: str, tmp_path: Path) -> None:
    img = imgrs.fromarray(pixels("uint8", 4, (100, 90))).convert(mode)
    img.save(tmp_path / "a.tif", pyramid=True, tile=32)
    read = imgrs.open(tmp_path / "a.tif")
    np.testing.assert_array_equal(read.compute(), img.compute())
    assert read.page(1).size == (50, 45)
    if mode == "RGBA":
        assert abs(read.page(1).compute()[..., 3].astype(float).mean() - img.compute()[..., 3].mean()) < 1


def test_smaller_copies_are_used_where_allowed(tmp_path: Path) -> None:
    smooth = np.asarray(Pillow.fromarray(pixels("uint8", 3, (20, 15))).resize((800, 600), Pillow.Resampling.BICUBIC))
    path = tmp_path / "a.tif"
    imgrs.fromarray(smooth).save(path, pyramid=True, tile=64)
    small = imgrs.open(path).resize((90, 70))
    assert "shrink=4" in small.explain(optimizer="fast")
    assert "shrink=" not in small.explain(optimizer="exact")
    difference = np.abs(small.compute(optimizer="fast").astype(int) - small.compute(optimizer="exact"))
    assert difference.mean() < 1


@pytest.mark.parametrize("subifds", [0, 2])
def test_pyramids_of_others(subifds: int, tmp_path: Path) -> None:
    data = pixels("uint8", 3, (256, 192))
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(data, tile=(32, 32), photometric="rgb", subifds=subifds)
        for step in (2, 4):
            file.write(data[::step, ::step], tile=(32, 32), photometric="rgb", subfiletype=1)
    reader: Any = imgrs.open(path)._node.op
    assert tuple(reader.reader.shrinks) == (1, 2, 4)
    np.testing.assert_array_equal(reader.reader.read(reader.reader.shrunk(4).region, 4), data[::4, ::4])


def test_others_open_pyramids(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    openslide = pytest.importorskip("openslide")
    data = np.random.default_rng(0).integers(0, 256, (700, 1_100, 3), np.uint8)
    path = tmp_path / "a.tif"
    imgrs.fromarray(data).save(path, pyramid=True, tile=64)
    with rasterio.open(path) as file:
        assert file.overviews(1)[:4] == [2, 4, 8, 16]
        assert len(file.overviews(1)) == 5
        np.testing.assert_array_equal(np.moveaxis(file.read(), 0, 2), data)
    slide = openslide.OpenSlide(path)
    assert slide.level_dimensions == ((1100, 700), (550, 350), (275, 175), (138, 88), (69, 44), (35, 22))
    for level, size in enumerate(slide.level_dimensions):
        seen = np.asarray(slide.read_region((0, 0), level, size).convert("RGB"))
        np.testing.assert_array_equal(seen, imgrs.open(path, page=level).compute())


class Tracked(bytes):
    """Encoded bytes that tell how many of them are alive."""

    alive = 0
    most = 0

    def __init__(self, data: bytes) -> None:
        Tracked.alive += 1
        Tracked.most = max(Tracked.most, Tracked.alive)

    def __del__(self) -> None:
        Tracked.alive -= 1


def test_tiles_of_a_pyramid_are_forgotten_when_they_are_in_the_file(tmp_path: Path, monkeypatch: Any) -> None:
    real = TiffEncoder.encode

    def tracked(self: TiffEncoder, region: Region, pixels: Array, level: int = 0) -> list[tuple[int, bytes]]:
        return [(number, Tracked(data)) for number, data in real(self, region, pixels, level)]

    monkeypatch.setattr(TiffEncoder, "encode", tracked)
    img = imgrs.fromarray(pixels("uint8", 3, (1_024, 1_024)))
    img.save(tmp_path / "a.tif", pyramid=True, tile=16, scheduler="sync", workers=1, chunks=(64, 64))
    assert 0 < Tracked.most <= 2 * (16 + 4 + 1)  # those of two tasks, of 256
