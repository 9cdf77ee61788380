"""TIFF as others read it: Cloud Optimized, OME, every compression, and what is said beside the pixels."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import pyvips
import rasterio
import tifffile
from PIL import Image as Pillow
from rio_cogeo.cogeo import cog_validate

import imgrs
from imgrs.errors import ArgumentError
from tests.test_files import pixels
from tests.test_pages import means

Array = npt.NDArray[Any]


@pytest.mark.parametrize("options", [{}, {"bigtiff": True, "compression": "zstd"}, {"compression": "jpeg"}])
@pytest.mark.parametrize("size", [(700, 1_100), (40, 30)])
def test_a_cog_is_valid(size: tuple[int, int], options: dict[str, Any], tmp_path: Path) -> None:
    data = pixels("uint8", 3, size)
    path = tmp_path / "a.tif"
    imgrs.fromarray(data).save(path, cog=True, tile=128, chunks=(512, 512), **options)
    valid, errors, warnings = cog_validate(path, strict=True)
    assert valid, (errors, warnings)
    with rasterio.open(path) as file:
        assert len(file.overviews(1)) == (4 if size[0] == 700 else 0)
        read = np.moveaxis(file.read(), 0, 2)
    if "jpeg" not in options.values():
        np.testing.assert_array_equal(read, data)
        expected = data
        for level in range(len(tifffile.TiffFile(path).pages)):
            np.testing.assert_array_equal(tifffile.imread(path, key=level), expected)
            expected = means(expected).astype(np.uint8)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16", "F", "1"])
def test_an_ome_tiff_says_what_it_holds(mode: str, big: bool, tmp_path: Path) -> None:
    img = imgrs.fromarray(pixels("uint8", 4, (300, 200))).convert(mode)
    path = tmp_path / "a.ome.tif"
    img.save(path, pyramid=True, tile=64, bigtiff=big, dpi=(254, 254), chunks=(256, 256))
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert file.is_bigtiff == big
        assert len(file.pages) == 1
        (series,) = file.series
        assert series.kind == "ome"
        assert [level.shape[:2] for level in series.levels] == [(200, 300), (100, 150), (50, 75), (25, 38)]
        np.testing.assert_array_equal(series.asarray(), img.compute())
        described = ElementTree.fromstring(file.ome_metadata or "")
    (size,) = described.iter("{http://www.openmicroscopy.org/Schemas/OME/2016-06}Pixels")
    assert (size.get("SizeX"), size.get("SizeC"), size.get("PhysicalSizeX")) == ("300", str(img.bands), "100.0")
    reader: Any = imgrs.open(path)._node.op
    assert tuple(reader.reader.shrinks) == (1, 2, 4, 8)
    assert pyvips.Image.new_from_file(str(path)).width == 300


@pytest.mark.parametrize("quality", [75, 95])
@pytest.mark.parametrize("compression", ["jpeg", "webp"])
def test_lossy_compressions_are_close_and_read_by_others(compression: str, quality: int, tmp_path: Path) -> None:
    smooth = Pillow.fromarray(pixels("uint8", 3, (30, 20))).resize((300, 200), Pillow.Resampling.BICUBIC)
    data = np.asarray(smooth)
    path = tmp_path / "a.tif"
    imgrs.fromarray(data).save(path, compression=compression, quality=quality, tile=128)
    seen = [
        tifffile.imread(path),
        np.asarray(pyvips.Image.new_from_file(str(path)).numpy()),
        imgrs.open(path).compute(),
        *([np.asarray(Pillow.open(path))] if compression == "jpeg" else []),
    ]
    with rasterio.open(path) as file:
        seen.append(np.moveaxis(file.read(), 0, 2))
    for read in seen:
        assert np.abs(read[..., :3].astype(int) - data).mean() < 4
    assert path.stat().st_size < data.nbytes / 4


def test_webp_without_loss(tmp_path: Path) -> None:
    data = pixels("uint8", 4, (90, 80))
    imgrs.fromarray(data).save(tmp_path / "a.tif", compression="webp", lossless=True, tile=32)
    read = imgrs.open(tmp_path / "a.tif").compute()
    np.testing.assert_array_equal(read[..., 3], data[..., 3])
    visible = data[..., 3] > 0
    np.testing.assert_array_equal(read[visible], data[visible])


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"pyramid": True, "tile": 16}, {"cog": True}])
def test_exif_goes_into_the_file_and_comes_back(options: dict[str, Any], tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x010F], exif[0x0132] = "Maker", "2024:05:06 07:08:09"
    exif.get_ifd(0x8769).update(
        {0x829A: 0.01, 0x9003: "2024:05:06 07:08:10", 0x9286: b"ASCII\0\0\0a comment", 0x8827: 200}
    )
    exif.get_ifd(0x8825).update({1: "N", 2: (47.0, 30.0, 15.5)})
    imgrs.fromarray(pixels("uint8", 3)).to_pil().save(tmp_path / "a.jpg", exif=exif)
    imgrs.open(tmp_path / "a.jpg").invert().save(tmp_path / "a.tif", **options)
    found = Pillow.open(tmp_path / "a.tif").getexif()
    assert (found[0x010F], found[0x0132]) == ("Maker", "2024:05:06 07:08:09")
    inner, place = found.get_ifd(0x8769), found.get_ifd(0x8825)
    assert (float(inner[0x829A]), inner[0x9003], inner[0x9286], inner[0x8827]) == (
        0.01, "2024:05:06 07:08:10", b"ASCII\0\0\0a comment", 200,
    )  # fmt: skip
    assert (place[1], tuple(map(float, place[2]))) == ("N", (47.0, 30.0, 15.5))
    assert tifffile.TiffFile(tmp_path / "a.tif").pages[0].tags["ExifTag"].value["ISOSpeedRatings"] == 200
    imgrs.open(tmp_path / "a.jpg").save(tmp_path / "b.tif", metadata=False)
    assert 0x010F not in Pillow.open(tmp_path / "b.tif").getexif()


def test_what_a_compression_cannot_hold_is_refused(tmp_path: Path) -> None:
    for mode, compression in (("RGBA", "jpeg"), ("L", "webp"), ("I;16", "jpeg")):
        img = imgrs.fromarray(pixels("uint8", 4)).convert(mode)
        with pytest.raises(ArgumentError, match=f"{compression}.*cannot hold"):
            img.save(tmp_path / "a.tif", compression=compression)
    with pytest.raises(ArgumentError, match="cog"):
        img.save(tmp_path / "a.tif", cog="yes")
    assert not list(tmp_path.iterdir())


def test_options_of_other_compressions_are_refused(tmp_path: Path) -> None:
    img = imgrs.new("RGB", (9, 9))
    for options, said in (
        ({"quality": 80}, "TIFF quality is of jpeg and webp, and the compression is 'deflate'"),
        ({"compression": "jpeg", "level": 3}, "TIFF level is of deflate and zstd"),
        ({"compression": "jpeg", "lossless": True}, "TIFF lossless is of webp and none"),
        ({"compression": "none", "predictor": True}, "TIFF predictor is of deflate and zstd and lzw"),
    ):
        with pytest.raises(imgrs.ArgumentError, match=said):
            img.save(tmp_path / "a.tif", **options)
    img.save(tmp_path / "a.tif", compression="none", predictor=False)
