"""JPEG 2000: every depth, smaller copies of tiled files, and the boxes around the pixels, as GDAL and Pillow see them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image as Pillow

import imgrs
from imgrs.errors import ArgumentError, CorruptImageError, SaveError, UnsupportedFormatError
from imgrs.io.boxes import boxes
from imgrs.io.resource import BytesResource
from imgrs.types import Region
from tests.samples import profile
from tests.test_files import pixels
from tests.test_formats import image, reader_of

rasterio = pytest.importorskip("rasterio")


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_gdal_reads_what_is_written(dtype: str, bands: int, tmp_path: Path) -> None:
    data = pixels(dtype, bands)
    path = tmp_path / "a.jp2"
    imgrs.fromarray(data).save(path)
    with rasterio.open(path) as file:
        seen = np.moveaxis(file.read(), 0, 2)
        kinds = [kind.name for kind in file.colorinterp]
    np.testing.assert_array_equal(seen.reshape(data.shape), data)
    assert (kinds[-1] == "alpha") == (bands in (2, 4))
    np.testing.assert_array_equal(imgrs.open(path).compute(), data)


@pytest.mark.parametrize("bits", [9, 12, 15])
@pytest.mark.parametrize("bands", [1, 3])
def test_samples_of_any_depth_are_scaled_to_the_full_range(bands: int, bits: int) -> None:
    data, most = pixels("uint16", bands, (96, 64)) >> 16 - bits, (1 << bits) - 1
    for boxed in ("jp2", "j2k"):
        stored = bytes(imagecodecs.jpeg2k_encode(data, codecformat=boxed, reversible=True, bitspersample=bits))
        img = imgrs.open(stored)
        expected = (data.astype(np.int64) * 65_535 * 2 + most) // (2 * most)
        np.testing.assert_array_equal(img.compute(), expected)
        for shrink in reader_of(img).shrinks:
            small = reader_of(img).read(Region(0, 0, 96 // shrink, 64 // shrink), shrink)
            assert abs(float(small.mean()) - float(expected.mean())) < 3_000


@pytest.mark.parametrize(
    ("tile", "shrinks"),
    [
        (None, (1, 2, 4, 8, 16, 32)), ((64, 64), (1, 2, 4, 8, 16, 32)), ((256, 256), (1, 2, 4, 8, 16, 32)),
        ((72, 1_000), (1, 2, 4, 8)), ((100, 90), (1, 2)), ((99, 128), (1,)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [(640, 480), (1_017, 777)])
def test_smaller_copies_are_those_that_gdal_decodes(
    size: tuple[int, int], tile: Any, shrinks: tuple[int, ...], tmp_path: Path
) -> None:
    path = tmp_path / "a.jp2"
    options = {} if tile is None else {"tile_size": tile}
    image("RGB", "uint8", size).save(path, num_resolutions=7, **options)
    img = imgrs.open(path)
    np.testing.assert_array_equal(img.compute(), image("RGB", "uint8", size).compute())
    reader, whole = reader_of(img), img.compute()
    assert reader.shrinks == shrinks
    compared = []
    for level, shrink in enumerate(shrinks[1:]):
        spec = reader.shrunk(shrink)
        assert spec.size == (-(-size[0] // shrink), -(-size[1] // shrink))
        small = reader.read(spec.region, shrink)
        assert np.abs(small.astype(int) - whole[::shrink, ::shrink]).mean() < 6
        try:
            with rasterio.open(path, OVERVIEW_LEVEL=level) as file:
                np.testing.assert_array_equal(small, np.moveaxis(file.read(), 0, 2))
        except rasterio.errors.RasterioIOError:
            continue  # it offers those that are larger than 128 pixels
        compared.append(shrink)
    assert tile is not None or size != (640, 480) or compared[:2] == [2, 4]


def test_levels_are_those_of_the_codestream() -> None:
    file = io.BytesIO()
    image("RGB", "uint8", (640, 480)).save(file, "JPEG2000", num_resolutions=3, comment="\xff\x52 no marker")
    assert reader_of(imgrs.open(file)).shrinks == (1, 2, 4)


def test_metadata_stands_in_boxes(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x010E], exif[0x0112] = "a title", 6
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'></x:xmpmeta>"
    said: dict[str, Any] = {"exif": exif.tobytes(), "xmp": packet, "icc_profile": profile(), "dpi": (300, 72)}
    for dtype in ("uint8", "uint16"):
        path = tmp_path / f"{dtype}.jp2"
        image("RGBA", dtype).save(path, **said)
        resource = BytesResource(path.read_bytes())
        assert [part.kind for part in boxes(resource)] == [b"jP  ", b"ftyp", b"jp2h", b"uuid", b"uuid", b"jp2c"]
        with rasterio.open(path) as file:
            np.testing.assert_array_equal(np.moveaxis(file.read(), 0, 2), image("RGBA", dtype).compute())
            assert packet.decode() in file.tags(ns="xml:XMP").get("xml:XMP", "")
        with Pillow.open(path) as seen:
            assert [round(side) for side in seen.info["dpi"]] == [300, 72]
        imgrs.open(path).save(tmp_path / "b.jp2")
        read = imgrs.open(tmp_path / "b.jp2")
        assert read.info["xmp"] == packet
        assert read.info["icc_profile"] == said["icc_profile"]
        assert read.metadata["exif"] == {"ImageDescription": "a title", "Orientation": 6}
        imgrs.open(path, orient=True).save(tmp_path / "d.jp2")
        assert imgrs.open(tmp_path / "d.jp2").size == image("RGBA", dtype).size[::-1]


def test_dpi_of_any_size(tmp_path: Path) -> None:
    for dpi in (0.01, 1, 72, 1_200, 4_000, 100_000):
        image("L", "uint8").save(tmp_path / "a.jp2", dpi=(dpi, dpi))
        assert imgrs.open(tmp_path / "a.jp2").info["dpi"] == pytest.approx((dpi, dpi), rel=1e-3)


def test_what_it_cannot_hold_is_refused() -> None:
    with pytest.raises(ArgumentError, match="quality_layers"):
        image("RGB", "uint16").save(io.BytesIO(), "JPEG2000", quality_layers=[20])
    with pytest.raises(UnsupportedFormatError, match="signed"):
        imgrs.open(bytes(imagecodecs.jpeg2k_encode(np.zeros((64, 64), np.int16), codecformat="j2k")))
    for bad in (b"\xff\x4f\xff\x51", b"\xff\x4f\xff\x51" + bytes(60), b"\0\0\0\x0cjP  \r\n\x87\n"):
        with pytest.raises(CorruptImageError):
            imgrs.open(bad)


def test_what_the_encoder_refuses_is_said() -> None:
    with pytest.raises(SaveError, match="JPEG2000"):
        image("RGB", "uint8", (64, 3)).save(io.BytesIO(), "JPEG2000", num_resolutions=7)


def test_lossy_options_of_pillow() -> None:
    sizes = []
    for layers in ([60], [20], [5]):
        file = io.BytesIO()
        image("RGB", "uint8", (300, 200)).save(
            file, "JPEG2000", quality_mode="rates", quality_layers=layers, irreversible=True
        )
        sizes.append(len(file.getvalue()))
        difference = np.abs(imgrs.open(file).compute().astype(int) - image("RGB", "uint8", (300, 200)).compute())
        assert difference.mean() < 4
    assert sizes == sorted(sizes)
