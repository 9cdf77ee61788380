"""JPEG XL: what its header says is what is decoded, every kind of image comes back, and others see the same colors."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageOps

import imgrs
from imgrs.errors import ArgumentError, CorruptImageError, TruncatedImageError, UnsupportedFormatError
from imgrs.io.boxes import box, boxes
from imgrs.io.jpegxl_header import parse
from imgrs.io.resource import BytesResource
from tests.test_files import pixels
from tests.test_formats import image

imagecodecs = pytest.importorskip("imagecodecs")
KINDS = [("L", "uint8"), ("I;16", "uint16"), ("F", "float32")] + [
    (mode, dtype) for mode in ("LA", "RGB", "RGBA") for dtype in ("uint8", "uint16", "float32")
]
TURNED = base64.b64decode(
    "AAAADEpYTCANCocKAAAAFGZ0eXBqeGwgAAAAAGp4bCAAAAATanhscAAAAAD/ChhAC8QEAAAAXGpicmTAcNsAgiAILQMCQDYAoUaBJAAAAADo/y"
    "SEAgAAgCh3mYH+VxIAAADA8f9CxgkAAACBOEz3kGGG/F/gBwAqCwALCIDgABBKRklGAAEBAAABAAEAAAMAAAA9YnJvYkV4aWYbMQAABP6X937d"
    "VRQkMBh5YhtswAH7luBP47Axdg3C+AHe5e4LU2Mh3dHgrQjU4fwHAAABF2p4bHCAAAAB4FsCEAAQBA52DHUOdv7/DgAAGAAIAAEAAAAAAICAJY"
    "lUyLxJDwB4mhnuBQBQSFJQUODs6BiDHINhJMdgki1YSIzBW2GEiIXLsPYIAADh8QCpbQU4AcQQk9o8gNl7f1jskdR77w32KPXee88IW+q99957"
    "77333nvvvffee++9995777333qNGiGK9CSdBIQEiqscoyicYImMBI7X1gs0Yt0Act1gQClAgzMyZ2QcBBCgIHBBK8QGIoGSEEtPTDeHB7L33IE"
    "hI6r33/vyTeu+9Z/Xeew8w7r333nvvvffee++9995777333nvvAQAAAAAAlCSSIbjbD6FUEf33dbpNRKslZI512kalQCYA"
)
"""A 6x4 JPEG of orientation 6 as cjxl packs it: in parts, with EXIF compressed by brotli."""
TWELVE = base64.b64decode("/woQMBgUFwIIAgEAdABLGIsVUmwK0cm+RSHZTZDNhE6nHyZ912G/pYTVGg==")
"""4x3 pixels of 12 bits, by cjxl: 0, 372, 744, 1116, 1488, 1860, 2231, ..."""


def encoded(data: Any, **options: Any) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(data, **options))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_the_header_is_read_as_the_decoder_reads_it(bands: int, dtype: str) -> None:
    sizes = [(1, 1), (8, 8), (256, 256), (257, 100), (300, 200), (160, 90), (48, 40), (120, 100), (513, 2), (9_000, 2)]
    ways: list[dict[str, Any]] = [
        {"lossless": True, "effort": 1}, {"distance": 1.5, "effort": 3}, {"lossless": True, "usecontainer": True},
    ]  # fmt: skip
    for i, size in enumerate(sizes):
        data = encoded(pixels(dtype, bands, size), **ways[i % len(ways)])
        expected = imagecodecs.jpegxl_decode(data)
        img = imgrs.open(data)
        assert img.size == size
        assert img.dtype == expected.dtype
        assert (img.bands, img.format, img.n_frames) == (bands, "JXL", 1)
        np.testing.assert_array_equal(img.compute(), expected)


@pytest.mark.parametrize(("mode", "dtype"), KINDS)
def test_every_kind_comes_back_and_others_read_it(mode: str, dtype: str, tmp_path: Path) -> None:
    img, path = image(mode, dtype), tmp_path / "a.jxl"
    img.save(path, lossless=True, effort=3)
    read = imgrs.open(path)
    assert read.mode == mode
    assert read.dtype == dtype
    np.testing.assert_array_equal(read.compute(), img.compute())
    np.testing.assert_array_equal(imagecodecs.jpegxl_decode(path.read_bytes()), img.compute())
    sizes = []
    for quality in (20, 60, 95):
        img.save(path, quality=quality, effort=3)
        seen = imagecodecs.jpegxl_decode(path.read_bytes())  # which it could not show so, were the samples linear
        difference = np.abs(seen.astype(float) - img.compute()) / img._node.spec.full_scale * 255
        assert difference.mean() < 8
        sizes.append(path.stat().st_size)
    assert sizes == sorted(sizes)


def test_deep_samples_are_said_to_be_srgb() -> None:
    for dtype in ("uint8", "uint16", "float32"):
        file = io.BytesIO()
        image("RGB", dtype).save(file, "JXL", lossless=True, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0", effort=1)
        resource = BytesResource(file.getvalue())
        (data,) = [part.content(resource) for part in boxes(resource) if part.kind == b"jxlc"]
        at = parse(data[:4096]).transfer_at
        said = at is None or int.from_bytes(data[:64], "little") >> at & 63 == 2 | 11 << 2
        assert said  # sRGB is 13: the selector 2, then 13 - 2


def test_floats_beyond_full_scale_come_back() -> None:
    data = (np.random.default_rng(0).random((40, 50, 3)) * 4 - 1).astype(np.float32)
    file = io.BytesIO()
    imgrs.fromarray(data).save(file, "JXL", lossless=True)
    np.testing.assert_array_equal(imgrs.open(file.getvalue()).compute(), data)


def test_colors_of_clear_pixels_come_back() -> None:
    data = np.random.default_rng(0).integers(0, 256, (40, 50, 4), np.uint8)
    data[..., 3] = 0
    file = io.BytesIO()
    imgrs.fromarray(data).save(file, "JXL", lossless=True)
    np.testing.assert_array_equal(imgrs.open(file.getvalue()).compute(), data)


def test_frames_of_an_animation() -> None:
    for count in (2, 3, 8, 9):
        frames = np.random.default_rng(count).integers(0, 256, (count, 20, 30, 3), np.uint8)
        frames[-1] = 0
        img = imgrs.open(encoded(frames, lossless=True))
        assert img.n_frames == count
        for i, frame in enumerate(frames):
            np.testing.assert_array_equal(img.page(i).compute(), frame)
        with pytest.raises(ArgumentError, match=f"from 0 to {count - 1}"):
            img.page(count)


def test_twelve_bits_are_scaled_to_the_full_range() -> None:
    img = imgrs.open(TWELVE)
    assert (img.size, img.mode) == ((4, 3), "I;16")
    stored = imagecodecs.jpegxl_decode(TWELVE).astype(int)
    assert stored.max() == 4091
    np.testing.assert_array_equal(img.compute(), (stored * 2 * 65_535 + 4_095) // (2 * 4_095))


def test_an_image_is_upright_when_it_is_read() -> None:
    img = imgrs.open(TURNED)
    assert img.size == (4, 6)
    assert img.metadata["exif"]["ImageDescription"] == "turned"
    assert img.exif_transpose().size == (4, 6)
    np.testing.assert_array_equal(img.compute(), imagecodecs.jpegxl_decode(TURNED))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_written_upright(orientation: int, tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x0112], exif[0x010E] = orientation, "a title"
    image("RGB", "uint8").to_pil().save(tmp_path / "a.jpg", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Pillow.open(tmp_path / "a.jpg")))
    imgrs.open(tmp_path / "a.jpg").save(tmp_path / "a.jxl", lossless=True, effort=1)
    imgrs.open(tmp_path / "a.jpg", orient=True).save(tmp_path / "b.jxl", lossless=True, effort=1)
    for name in ("a.jxl", "b.jxl"):
        read = imgrs.open(tmp_path / name, orient=True)
        np.testing.assert_array_equal(read.compute(), expected)
        assert read.metadata["exif"].get("Orientation", 1) == 1
        assert read.metadata["exif"]["ImageDescription"] == "a title"


def test_metadata_stands_in_boxes(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x010E] = "a title"
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'></x:xmpmeta>"
    image("RGB", "uint16").save(tmp_path / "a.jxl", exif=exif.tobytes(), xmp=packet)
    found = {part.kind: part for part in boxes(BytesResource((tmp_path / "a.jxl").read_bytes()))}
    assert list(found) == [b"JXL ", b"ftyp", b"Exif", b"xml ", b"jxlc"]
    imgrs.open(tmp_path / "a.jxl").save(tmp_path / "b.jxl", lossless=True)
    read = imgrs.open(tmp_path / "b.jxl")
    assert read.info["xmp"] == packet
    assert read.metadata["exif"] == {"ImageDescription": "a title"}
    read.save(tmp_path / "c.jxl", metadata=False)
    assert not imgrs.open(tmp_path / "c.jxl").info


def test_colors_multiplied_by_the_opacity_are_divided() -> None:
    straight = np.zeros((4, 5, 4), np.uint16)
    straight[..., 0], straight[..., 3] = 40_000, np.arange(20).reshape(4, 5) * 3_000
    data = straight.copy()
    data[..., :3] = (straight[..., :3].astype(np.uint64) * straight[..., 3:] + 32_767) // 65_535
    file = encoded(data, lossless=True, usecontainer=False)
    resource = BytesResource(file)
    (plain,) = [part.content(resource) for part in boxes(resource) if part.kind == b"jxlc"]
    ways = [(int.from_bytes(plain, "little") ^ 1 << at).to_bytes(len(plain), "little") for at in range(16, 120)]
    (said,) = [way for way in ways if _marked(way, plain)]
    got = imgrs.open(said).compute().astype(int)
    seen = straight[..., 3] > 0
    assert np.abs(got - straight)[seen].max() <= 65_535 // 6_000 + 1
    assert not got[~seen].any()


def _marked(data: bytes, plain: bytes) -> bool:
    try:
        found, before = parse(data), parse(plain)
    except ValueError:
        return False
    return found.premultiplied and (found.width, found.transfer_at) == (before.width, before.transfer_at)


def test_what_is_cut_or_odd_is_refused() -> None:
    good = encoded(np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8), lossless=True)
    with pytest.raises(TruncatedImageError):
        imgrs.open(good[: len(good) // 2]).compute()
    with pytest.raises(CorruptImageError):
        imgrs.open(good[:3])
    signature = box(b"JXL ", b"\r\n\x87\n")
    with pytest.raises(CorruptImageError, match="not one of JPEG XL"):
        imgrs.open(signature + box(b"ftyp", b"heic" + bytes(4)) + box(b"jxlc", good))
    with pytest.raises(CorruptImageError):
        imgrs.open(signature + box(b"ftyp", b"jxl " + bytes(4)))
    bomb = imagecodecs.brotli_encode(bytes(100 << 20))
    packed = signature + box(b"ftyp", b"jxl " + bytes(4)) + box(b"brob", b"xml " + bomb) + box(b"jxlc", good)
    with pytest.raises(CorruptImageError, match="metadata"):
        imgrs.open(packed)


def test_cmyk_is_refused() -> None:
    """A header with nothing behind it: 8x8 pixels, as usual but for one extra band, which is black."""
    size, plain = "100000100", "000001"
    one_extra, black = "10", "00101000000000"
    said = size + plain + one_extra + black + "01"
    data = int(("1111111101010000" + said)[::-1], 2).to_bytes(20, "little")
    assert parse(data).black
    with pytest.raises(UnsupportedFormatError, match="CMYK"):
        imgrs.open(data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quality": 101}, "quality"),
        ({"effort": 0}, "effort"),
        ({"lossless": 1}, "lossless"),
        ({"method": 3}, "method"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        image("RGB", "uint8").save(io.BytesIO(), "JXL", **options)


def test_modes_that_it_cannot_hold_are_named() -> None:
    with pytest.raises(ArgumentError, match="RGB"):
        image("CMYK", "uint8").save(io.BytesIO(), "JXL")
    with pytest.raises(ArgumentError, match="astype"):
        image("1", "bool").save(io.BytesIO(), "JXL")
