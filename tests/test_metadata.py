"""Metadata: EXIF, profiles, XMP and texts come in, go along and come out, and photographs are set upright."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

import imgrs
from tests.samples import profile
from tests.test_formats import image


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "tif", "avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_set_upright(orientation: int, extension: str, tmp_path: Path) -> None:
    from PIL import ImageOps

    exif = Pillow.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{extension}"
    image("RGB", "uint8").to_pil().save(path, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Pillow.open(path)))
    img = imgrs.open(path, orient=True)
    np.testing.assert_array_equal(img.compute(), expected)
    img.save(tmp_path / f"b.{extension}")
    assert Pillow.open(tmp_path / f"b.{extension}").getexif().get(0x0112, 1) == 1
    imgrs.open(path).save(tmp_path / "c.tif")
    assert Pillow.open(tmp_path / "c.tif").getexif().get(0x0112, 1) == orientation
    imgrs.open(tmp_path / "c.tif").save(tmp_path / "d.jpg")
    assert Pillow.open(tmp_path / "d.jpg").getexif().get(0x0112, 1) == orientation
    imgrs.open(path).save(tmp_path / "e.jpg", metadata=False)
    assert not Pillow.open(tmp_path / "e.jpg").getexif()


def test_metadata_is_plain(tmp_path: Path) -> None:
    from PIL import ImageCms

    exif = Pillow.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0x829A] = 0.01
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / "a.jpg"
    image("RGB", "uint8").to_pil().save(path, exif=exif, icc_profile=profile, dpi=(72, 72))
    found = imgrs.open(path).metadata
    assert found["exif"]["Make"] == "Maker"
    assert found["exif"]["ExposureTime"] == pytest.approx(0.01)
    assert "sRGB" in found["icc_profile"]
    assert found["dpi"] == [72, 72]
    json.dumps(found)


def test_text_and_xmp_go_along(tmp_path: Path) -> None:
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'></x:xmpmeta>"
    for extension in ("png", "jpg", "webp", "tif", "avif"):
        path = tmp_path / f"a.{extension}"
        image("RGB", "uint8").save(path, xmp=packet)
        assert Pillow.open(path).info["xmp"].rstrip(b"\0") == packet, extension
        imgrs.open(path).save(tmp_path / f"b.{extension}")
        assert imgrs.open(tmp_path / f"b.{extension}").info["xmp"].rstrip(b"\0") == packet, extension
    image("RGB", "uint8").save(tmp_path / "t.png", text={"Title": "Größe"})
    assert Pillow.open(tmp_path / "t.png").text["Title"] == "Größe"  # type: ignore[attr-defined]  # a PNG has it
    assert imgrs.open(tmp_path / "t.png").info["text"] == {"Title": "Größe"}


@pytest.mark.parametrize("extension", ["jpg", "png", "tif", "webp", "jp2", "avif"])
def test_a_profile_of_another_color_space_stays_behind(extension: str, tmp_path: Path) -> None:
    def like(space: bytes) -> bytes:
        made = profile()
        return made[:16] + space + made[20:]

    for mode, space in (("CMYK", b"CMYK"), ("RGB", b"RGB "), ("L", b"GRAY")):
        image(mode, "uint8").save(tmp_path / "a.tif", icc_profile=like(space))
        img = imgrs.open(tmp_path / "a.tif")
        for target in ("L", "RGB", "CMYK"):
            if target == "CMYK" and extension not in ("jpg", "tif"):
                continue
            if target == "L" and extension in ("webp", "avif"):
                continue
            img.convert(target).save(tmp_path / f"b.{extension}")
            found = imgrs.open(tmp_path / f"b.{extension}").info.get("icc_profile")
            assert found == (like(space) if mode == target else None), (mode, target)
