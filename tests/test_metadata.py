"""Metadata: EXIF, profiles, XMP and texts come in, go along and come out, and photographs are set upright."""

from __future__ import annotations

import json
import pickle
import struct
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags
from PIL import Image as Pillow

import imgrs
from imgrs.io import exif_edit, profiles
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
    for mode, space in (("CMYK", b"CMYK"), ("RGB", b"RGB "), ("L", b"GRAY")):
        image(mode, "uint8").save(tmp_path / "a.tif", icc_profile=like(space))
        img = imgrs.open(tmp_path / "a.tif")
        for target in ("L", "RGB", "CMYK"):
            if target == "CMYK" and extension not in ("jpg", "tif"):
                continue
            if target == "L" and extension in ("webp", "avif"):
                continue
            with nullcontext() if mode == target else pytest.warns(imgrs.MetadataWarning):
                img.convert(target).save(tmp_path / f"b.{extension}")
            found = imgrs.open(tmp_path / f"b.{extension}").info.get("icc_profile")
            assert found == (like(space) if mode == target else None), (mode, target)


def like(space: bytes, size: int = 0) -> bytes:
    """A profile that says it is of a color space, named by no one, with nonsense up to ``size`` bytes."""
    return bytes(16) + space + bytes(108) + np.random.default_rng(1).bytes(max(0, size - 128))


@pytest.mark.parametrize("size", [128, 255, 510, 70_001])
@pytest.mark.parametrize(
    ("extension", "mode"),
    [("gif", "L"), ("gif", "RGB"), ("bmp", "L"), ("bmp", "RGB"), ("bmp", "RGBA"), ("zarr", "RGB"), ("zarr", "RGBA")],
)
def test_profiles_are_kept_where_pillow_keeps_none(extension: str, mode: str, size: int, tmp_path: Path) -> None:
    profile, path = like(b"GRAY" if mode == "L" else b"RGB ", size), tmp_path / f"a.{extension}"
    img = image(mode, "uint8").posterize(3)
    img.save(tmp_path / "a.tif", icc_profile=profile)
    imgrs.open(tmp_path / "a.tif").save(path)
    read = imgrs.open(path)
    assert read.info["icc_profile"] == profile
    expected = img.convert(read.mode).compute()
    np.testing.assert_array_equal(read.compute(), expected)
    if extension != "zarr":  # others see the same image
        np.testing.assert_array_equal(np.asarray(Pillow.open(path).convert(read.mode)), expected)
    if extension == "gif":
        assert Pillow.open(path).info["extension"][0] == b"ICCRGBG1012"
    imgrs.open(tmp_path / "a.tif").save(path, metadata=False)
    assert "icc_profile" not in imgrs.open(path).info
    with pytest.raises(imgrs.ArgumentError, match="icc_profile must be bytes"):
        img.save(path, icc_profile="sRGB")


def test_the_profile_of_a_bmp_stands_behind_its_pixels(tmp_path: Path) -> None:
    image("RGB", "uint8").save(tmp_path / "a.bmp", icc_profile=like(b"RGB ", 300))
    data = (tmp_path / "a.bmp").read_bytes()
    size, start, length = struct.unpack_from("<I4xII", data, 2)
    kind, intent, place, count = struct.unpack_from("<4s48xIII", data, 14 + 56)
    assert (size, length, kind, intent) == (len(data), 124, b"DEBM", 4)
    assert not any(data[54:70]), "masks are of alpha only"
    assert (14 + place, count) == (len(data) - 300, 300)
    assert start + 3 * image("RGB", "uint8").width * image("RGB", "uint8").height <= 14 + place
    for at, value in ((14 + 112, len(data)), (14 + 112, 0xFFFF_FFFF), (14 + 116, 301), (14 + 116, 0xFFFF_FFFF)):
        lying = data[:at] + struct.pack("<I", value) + data[at + 4 :]
        assert "icc_profile" not in imgrs.open(lying).info, (at, value)
        np.testing.assert_array_equal(imgrs.open(lying).compute(), image("RGB", "uint8").compute())
    for mode, size, length in (("RGB", (40_000, 36_000), 128), ("RGBA", (32_768, 32_767), 200_000)):
        with pytest.raises(imgrs.ArgumentError, match="BMP of 4 GiB and more holds no color profile"):
            imgrs.new(mode, size).save(tmp_path / "b.bmp", icc_profile=like(b"RGB ", length))


def test_the_profile_of_a_gif_is_one_block_of_several(tmp_path: Path, monkeypatch: Any) -> None:
    image("L", "uint8").save(tmp_path / "a.gif", icc_profile=like(b"GRAY", 700))
    data = (tmp_path / "a.gif").read_bytes()
    assert data[:6] == b"GIF89a"
    at = data.index(b"\x21\xff\x0bICCRGBG1012")
    for before in (b"\x21\xfe\x00", b"\x21\xfe\x03abc\x00", b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"):
        assert imgrs.open(data[:at] + before + data[at:]).info["icc_profile"] == like(b"GRAY", 700)
    assert "icc_profile" not in imgrs.open(data.replace(b"ICCRGBG1012", b"ICCRGBG1013")).info
    ones = b"".join(bytes([1, value]) for value in like(b"GRAY", 200_000))
    end = data.index(b"\x00\x2c", at) if b"\x00\x2c" in data[at:] else data.index(b"\x2c", at) - 1
    slow = data[: at + 14] + ones + data[end:]
    assert imgrs.open(slow).info["icc_profile"] == like(b"GRAY", 200_000)
    monkeypatch.setattr(profiles, "_MOST_BLOCKS", 100)
    assert "icc_profile" not in imgrs.open(slow).info
    for name in ("a.gif", "a.bmp"):
        image("L", "uint8").save(tmp_path / name, icc_profile=like(b"GRAY", 700))
        with dask.config.set({"imgrs.max-metadata": 699}), pytest.raises(imgrs.LimitError, match="color profile has"):
            imgrs.open((tmp_path / name).read_bytes())


def test_every_frame_of_a_gif_has_its_profile(tmp_path: Path) -> None:
    frames = [Pillow.new("L", (9, 9), 80 * i) for i in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    data = profiles.with_gif_profile((tmp_path / "a.gif").read_bytes(), like(b"RGB "))
    img = imgrs.open(data)
    assert img.n_frames == 3
    for number in (0, 2):
        page = pickle.loads(pickle.dumps(img.page(number)))
        assert page.info["icc_profile"] == like(b"RGB ")
        np.testing.assert_array_equal(page.compute(), img.page(number).compute())


@pytest.mark.parametrize("text", [7, None, "no base64!", {"a": 1}, ["AAAA"]])
def test_nonsense_beside_ome_says_nothing(text: Any, tmp_path: Path) -> None:
    image("RGB", "uint8").save(tmp_path / "a.zarr", icc_profile=like(b"RGB "), xmp=b"<x/>")
    document = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())
    document["attributes"]["imgrs"]["icc_profile"] = text
    (tmp_path / "a.zarr" / "zarr.json").write_text(json.dumps(document))
    info = imgrs.open(tmp_path / "a.zarr").info
    assert "icc_profile" not in info
    assert info["xmp"] == b"<x/>"
    document["attributes"]["imgrs"] = text
    (tmp_path / "a.zarr" / "zarr.json").write_text(json.dumps(document))
    assert "xmp" not in imgrs.open(tmp_path / "a.zarr").info


@pytest.mark.parametrize("extension", ["jxl", "ppm", "qoi", "npy", "tga", "pam"])
def test_a_profile_that_cannot_be_kept_is_told_of(extension: str, tmp_path: Path) -> None:
    image("RGB", "uint8").save(tmp_path / "a.tif", icc_profile=like(b"RGB "))
    img = imgrs.open(tmp_path / "a.tif")
    with pytest.warns(imgrs.MetadataWarning, match="128 bytes.*holds no color profile.*TIFF.*metadata=False") as said:
        img.save(tmp_path / f"a.{extension}")
    assert [warning.filename for warning in said] == [__file__]
    image("RGB", "uint8").save(tmp_path / "srgb.tif", icc_profile=profile())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        img.save(tmp_path / f"a.{extension}", metadata=False)
        img.explain(extension)
        imgrs.open(tmp_path / "srgb.tif").save(tmp_path / f"a.{extension}")  # which is assumed without one
        with pytest.raises(imgrs.ArgumentError):
            img.save(tmp_path / f"a.{extension}", nonsense=1)


def test_colors_of_two_profiles_in_one_image_are_told_of(tmp_path: Path) -> None:
    made = {"one": like(b"RGB "), "other": like(b"RGB ", 200), "srgb": profile(), "none": None}
    for name, found in made.items():
        image("RGB", "uint8").save(tmp_path / f"{name}.tif", icc_profile=found)
    one, other, srgb, untagged = (imgrs.open(tmp_path / f"{name}.tif") for name in made)
    image("L", "uint8").save(tmp_path / "mask.tif", icc_profile=like(b"GRAY"))
    canvas = imgrs.new("RGB", (600, 400))
    mixed = [
        one.blend("normal", other),
        canvas.blend("normal", one, position=(9, 9)),
        one.convert("L"),
        srgb + one,
        one + untagged,
    ]
    for number, img in enumerate(mixed):
        with pytest.warns(imgrs.MetadataWarning, match="will look different: an image has") as said:
            img.save(tmp_path / "b.png")
        assert len(said) == 1, number
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one.blend("normal", one.invert()).save(tmp_path / "b.png")
        canvas.blend("normal", srgb).save(tmp_path / "b.png")
        one.convert("L").save(tmp_path / "b.png", icc_profile=like(b"GRAY"))
        one.convert("L").save(tmp_path / "b.png", metadata=False)
        (untagged + srgb).save(tmp_path / "b.png")
        alpha = one.convert("RGBA").split()[3]
        alpha.save(tmp_path / "b.png")
        one.histogram().save(tmp_path / "b.npy")
        mask = imgrs.open(tmp_path / "mask.tif")
        untagged.blend("normal", untagged.invert(), mask).save(tmp_path / "b.png")
        imgrs.merge("RGBA", [*untagged.split(), alpha]).save(tmp_path / "b.png")
        untagged.auto_contrast().save(tmp_path / "b.png")


def test_an_image_over_a_color_stays_that_image(tmp_path: Path) -> None:
    image("RGBA", "uint8").save(tmp_path / "a.png", icc_profile=like(b"RGB "), dpi=(300, 300))
    img = imgrs.open(tmp_path / "a.png")
    for flat in (img.remove_transparency(), imgrs.new("RGB", img.size, 9).blend("normal", img)):
        flat.save(tmp_path / "a.jpg")
        assert imgrs.open(tmp_path / "a.jpg").info["icc_profile"] == like(b"RGB ")
    sheet = imgrs.new("RGB", (600, 400)).blend("normal", img)
    moved = imgrs.new("RGB", img.size).blend("normal", img, position=(1, 0))
    assert sheet.info == moved.info == {}


@pytest.mark.parametrize("extension", ["gif", "bmp", "ppm", "qoi", "npy", "tga", "dzi"])
def test_an_orientation_that_cannot_be_kept_is_told_of(extension: str, tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    image("RGB", "uint8").to_pil().save(tmp_path / "a.jpg", exif=exif)
    with pytest.warns(imgrs.MetadataWarning, match="orientation 6 is lost; set it upright by imgrs.open"):
        imgrs.open(tmp_path / "a.jpg").save(tmp_path / f"a.{extension}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        imgrs.open(tmp_path / "a.jpg", orient=True).save(tmp_path / f"a.{extension}")


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "tif", "avif", "jxl"])
@pytest.mark.parametrize("says", ["both", "xmp"])
def test_xmp_says_no_other_orientation_than_exif(says: str, extension: str, tmp_path: Path) -> None:
    from PIL import ImageOps

    exif = Pillow.Exif()
    if says == "both":
        exif[0x0112] = 6
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" a="6"/></x:xmpmeta>'
    image("RGB", "uint8").to_pil().save(tmp_path / "a.jpg", exif=exif, xmp=packet)
    expected = np.asarray(ImageOps.exif_transpose(Pillow.open(tmp_path / "a.jpg")))
    img = imgrs.open(tmp_path / "a.jpg", orient=True)
    np.testing.assert_array_equal(img.compute(), expected)
    img.save(tmp_path / f"b.{extension}")
    again = imgrs.open(tmp_path / f"b.{extension}", orient=True)
    assert again.size == img.size
    assert again.info["xmp"].rstrip(b"\0") == packet.replace(b'tiff:Orientation="6"', b'tiff:Orientation="1"')
    if extension != "jxl":  # which Pillow does not read
        other = Pillow.open(tmp_path / f"b.{extension}")
        assert ImageOps.exif_transpose(other).size == img.size == other.size


def thumbnailed(order: str, at_the_end: bool) -> bytes:
    """EXIF of a 400x300 image with a thumbnail: its directory, and a JPEG of nonsense."""
    made = b"Exif\0\0" + struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8)
    made += struct.pack(
        order + "HHHIHHHHIII", 2, 0x0112, 3, 1, 1, 0, 0x8769, 4, 1, 38, 68
    )  # the first; the second at 68
    made += struct.pack(order + "HHHIHHHHIII", 2, 0xA002, 3, 1, 400, 0, 0xA003, 4, 1, 300, 0)  # below the first, at 38
    made += struct.pack(order + "HHHIIHHIII", 2, 0x0201, 4, 1, 98, 0x0202, 4, 1, 500, 0)  # at 68
    return made + b"T" * 500 + (b"" if at_the_end else b"a maker's note")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("at_the_end", [False, True])
def test_other_pixels_have_no_thumbnail_of_those_before(order: str, at_the_end: bool, tmp_path: Path) -> None:
    given = thumbnailed(order, at_the_end)
    seen = Pillow.Exif()
    seen.load(given)
    assert seen.get_ifd(ExifTags.IFD.IFD1)[0x0202] == 500
    image("RGB", "uint8").save(tmp_path / "a.jpg", exif=given)
    img = imgrs.open(tmp_path / "a.jpg")
    assert img.info["exif"] == given
    img.save(tmp_path / "same.jpg")
    assert imgrs.open(tmp_path / "same.jpg").info["exif"] == given
    img.crop((0, 0, 30, 20)).save(tmp_path / "b.jpg")
    kept = imgrs.open(tmp_path / "b.jpg").info["exif"]
    found = Pillow.Exif()
    found.load(kept)
    assert not found.get_ifd(ExifTags.IFD.IFD1)
    assert (found.get_ifd(0x8769)[0xA002], found.get_ifd(0x8769)[0xA003]) == (30, 20)
    assert b"TT" not in kept
    assert len(kept) < 80 if at_the_end else kept.endswith(b"a maker's note"), len(kept)


def test_a_thumbnail_that_lies_over_the_rest_goes_without_it(tmp_path: Path) -> None:
    good = thumbnailed("<", False)
    link, second, length = 6 + 34, 6 + 68, len(good)
    assert struct.unpack_from("<I", good, link) == (68,)
    lies = {
        "the directory itself": [(link, 8)],
        "the directory of the camera": [(link, 38)],
        "a thumbnail from the first byte": [(second + 10, 0)],
        "a thumbnail over the first directory": [(second + 10, 8)],
        "a thumbnail beyond the end": [(second + 22, length)],
        "a directory beyond the end": [(link, length - 8)],
    }
    for name, changes in lies.items():
        bad = bytearray(good)
        for at, value in changes:
            struct.pack_into("<I", bad, at, value)
        image("RGB", "uint8").save(tmp_path / "a.jpg", exif=bytes(bad))
        imgrs.open(tmp_path / "a.jpg").crop((0, 0, 30, 20)).save(tmp_path / "b.jpg")
        found = Pillow.Exif()
        found.load(imgrs.open(tmp_path / "b.jpg").info["exif"])
        assert found[0x0112] == 1, name
        assert (found.get_ifd(0x8769)[0xA002], found.get_ifd(0x8769)[0xA003]) == (30, 20), name
        assert not found.get_ifd(ExifTags.IFD.IFD1), name


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60), st.integers(0, 700), st.integers(0, 255), st.sampled_from("<>"))
def test_nonsense_in_exif_is_no_error_when_it_is_changed(noise: bytes, at: int, byte: int, order: str) -> None:
    data = bytearray(thumbnailed(order, True))
    data[at % len(data)] = byte
    for bad in (bytes(data), bytes(data[: at % len(data)]), b"Exif\0\0II*\0" + noise, noise):
        changed = exif_edit.resized(exif_edit.without_thumbnail(bad), (9, 8))
        assert len(changed) <= len(bad)
        exif_edit.with_number(bad, 0x0112, 3)


def test_zarr_keeps_how_a_tiff_lies_and_what_is_left_out(tmp_path: Path) -> None:
    image("RGB", "uint8").to_pil().save(tmp_path / "b.tif", tiffinfo={274: 6}, icc_profile=like(b"RGB "))
    img = imgrs.open(tmp_path / "b.tif")
    img.save(tmp_path / "b.zarr", pyramid=True, tile=16)
    read = imgrs.open(tmp_path / "b.zarr", orient=True)
    np.testing.assert_array_equal(read.compute(), imgrs.open(tmp_path / "b.tif", orient=True).compute())
    assert imgrs.open(tmp_path / "b.zarr" / "0").info["icc_profile"] == like(b"RGB ")
    img.save(tmp_path / "b.zarr", icc_profile=None)
    assert "icc_profile" not in imgrs.open(tmp_path / "b.zarr").info
    with pytest.raises(imgrs.ArgumentError, match="ZARR holds 16,777,216 bytes of metadata"):
        img.save(tmp_path / "b.zarr", xmp=bytes(17 << 20))


@pytest.mark.parametrize("extension", ["gif", "bmp", "png", "jpg", "webp", "avif", "jp2", "tif", "zarr"])
def test_none_leaves_out_the_profile_of_the_source(extension: str, tmp_path: Path) -> None:
    image("RGB", "uint8").save(tmp_path / "a.tif", icc_profile=profile(), dpi=(300, 300))
    for nothing in (None, b""):
        imgrs.open(tmp_path / "a.tif").save(tmp_path / f"b.{extension}", icc_profile=nothing)
        assert "icc_profile" not in imgrs.open(tmp_path / f"b.{extension}").info


def test_png_refuses_xmp_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(imgrs.ArgumentError, match="PNG holds XMP in UTF-8"):
        image("RGB", "uint8").save(tmp_path / "a.png", xmp=b"\xff\xfe<x/>")


def test_flags_of_open_are_flags(tmp_path: Path) -> None:
    image("RGB", "uint8").save(tmp_path / "a.png")
    assert imgrs.open(tmp_path / "a.png", orient=bool(np.True_)) == imgrs.open(tmp_path / "a.png", orient=np.True_)  # type: ignore[arg-type]  # as it comes from tables
    with pytest.raises(imgrs.ArgumentError, match=r"^open: orient must be True or False, got 'no'"):
        imgrs.open(tmp_path / "a.png", orient="no")  # type: ignore[arg-type]  # as it may come from a form


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
