"""Metadata: EXIF, profiles, XMP and texts come in, go along and come out, and photographs are set upright."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
    made = profile()

    def like(space: bytes) -> bytes:
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


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_comments_go_along_to_jpeg(options: dict[str, Any], tmp_path: Path) -> None:
    for extension, comment in (("jpg", b"seen at dawn"), ("gif", b"seen at dusk")):
        image("RGB", "uint8").to_pil().save(tmp_path / f"a.{extension}", comment=comment)
        imgrs.open(tmp_path / f"a.{extension}").save(tmp_path / "b.jpg", **options)
        assert Pillow.open(tmp_path / "b.jpg").info["comment"] == comment
    image("RGB", "uint8").to_pil().save(tmp_path / "a.gif", comment=b"x" * 70_000)
    imgrs.open(tmp_path / "a.gif").save(tmp_path / "b.jpg", **options)
    assert "comment" not in Pillow.open(tmp_path / "b.jpg").info
    with pytest.raises(imgrs.ArgumentError, match="65,533"):
        image("RGB", "uint8").save(tmp_path / "b.jpg", comment=b"x" * 65_534, **options)
    image("RGB", "uint8").save(tmp_path / "b.jpg", comment=b"x" * 65_533, **options)
    assert imgrs.open(tmp_path / "b.jpg").info["comment"] == b"x" * 65_533


def _exif() -> Pillow.Exif:
    """EXIF with a tag of each kind, in each directory."""
    exif = Pillow.Exif()
    exif[0x010E], exif[0x010F], exif[0x0112], exif[0x4746] = "a title", "Maker", 6, 5
    exif[0x9C9B] = "Größe".encode("utf-16-le")
    exif[0x011A], exif[0x011B], exif[0x0128] = 72.5, 72.5, 2
    inner, gps = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
    inner[0x829A], inner[0x9003], inner[0x9000], inner[0xA005] = 0.01, "2026:01:02 03:04:05", b"0232", {1: "R98"}
    gps[1], gps[2], gps[5] = "N", (47.0, 30.0, 1.5), b"\0"
    return exif


@pytest.mark.parametrize("extension", ["jpg", "png", "tif", "webp", "avif", "jxl", "jp2"])
def test_exif_is_taken_as_pillows_object_and_as_bytes(extension: str, tmp_path: Path) -> None:
    said = []
    for value in (_exif(), _exif().tobytes(), _exif().tobytes().removeprefix(b"Exif\0\0")):
        path = tmp_path / f"a.{extension}"
        image("RGB", "uint8").save(path, exif=value)
        said.append(imgrs.open(path).metadata["exif"])
    assert said[0] == said[1] == said[2]
    assert (said[0]["ImageDescription"], said[0]["Make"], said[0]["Rating"]) == ("a title", "Maker", 5)
    assert said[0]["ExposureTime"] == pytest.approx(0.01)
    assert said[0]["GPSInfo"]["GPSLatitude"] == [47, 30, 1.5]
    if extension != "jxl":  # whose decoders turn the image, so that its EXIF says 1
        assert said[0]["Orientation"] == 6
    image("RGB", "uint8").save(path, exif=Pillow.Exif())
    assert not imgrs.open(path).metadata.get("exif")


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_keeps_every_tag_of_exif(order: str, big: bool, tmp_path: Path) -> None:
    exif = _exif()
    exif.endian = order
    path = tmp_path / "a.tif"
    image("RGB", "uint8").save(path, exif=exif, bigtiff=big)
    wanted, found = Pillow.Exif(), Pillow.open(path).getexif()
    wanted.load(exif.tobytes())
    for tag, value in wanted.items():
        if tag not in (0x8769, 0x8825):
            assert found[tag] == value, hex(tag)
    for directory in (0x8769, 0x8825, 0xA005):
        assert found.get_ifd(directory), hex(directory)
        for tag, value in wanted.get_ifd(directory).items():
            assert tag == 0xA005 or found.get_ifd(directory)[tag] == value, hex(tag)
    imgrs.open(path).save(tmp_path / "b.tif")
    assert imgrs.open(tmp_path / "b.tif").metadata["exif"] == imgrs.open(path).metadata["exif"]


def test_an_ome_tiff_keeps_its_own_description_beside_exif(tmp_path: Path) -> None:
    image("RGB", "uint8").save(tmp_path / "a.ome.tif", exif=_exif())
    with Pillow.open(tmp_path / "a.ome.tif") as seen:
        assert seen.getexif()[0x010F] == "Maker"
        assert "OME" in seen.getexif()[0x010E]


@pytest.mark.parametrize("value", [b"nonsense", b"Exif\0\0", "text", {271: "Maker"}, b"II*\0", 5])
@pytest.mark.parametrize("extension", ["jpg", "png", "tif", "webp", "avif", "jxl", "jp2"])
def test_what_is_no_exif_is_refused_at_the_call(value: Any, extension: str, tmp_path: Path) -> None:
    if value == b"Exif\0\0":
        image("RGB", "uint8").save(tmp_path / f"a.{extension}", exif=value)  # which says nothing
        return
    with pytest.raises(imgrs.ArgumentError, match="save: exif must"):
        image("RGB", "uint8").save(tmp_path / f"a.{extension}", exif=value)
    assert not list(tmp_path.iterdir())
