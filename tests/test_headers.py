"""Headers that are read here rather than by a decoder: what they say is what Pillow, or the decoder, finds."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image as Pillow

import imgrs
from imgrs.errors import ArgumentError, CorruptImageError, TruncatedImageError, UnsupportedFormatError
from imgrs.io.boxes import box, boxes
from imgrs.io.resource import BytesResource
from tests.test_files import pixels
from tests.test_formats import image

EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x0e\0\2\0\0\0\2t\0\0\0\0\0\0\0"
METADATA: dict[str, Any] = {"exif": EXIF, "xmp": b"<x/>", "icc_profile": b"profile" * 9}


def written(img: Pillow.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    img.save(file, format, **options)
    return file.getvalue()


def same_as_pillow(data: bytes, tolerance: int = 0) -> imgrs.Image:
    img = imgrs.open(data)
    with Pillow.open(io.BytesIO(data)) as seen:
        assert img.size == seen.size
        assert img.mode == seen.mode
        for name in METADATA:
            assert img.info.get(name, b"").removeprefix(b"Exif\0\0") == seen.info.get(name, b"").removeprefix(
                b"Exif\0\0"
            )
        assert np.abs(img.compute().astype(int) - np.asarray(seen)).max() <= tolerance
    return img


@pytest.mark.parametrize("options", [{}, {"lossless": True}, METADATA, {"lossless": True, **METADATA}])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_webps(mode: str, options: dict[str, Any]) -> None:
    for size in [(1, 1), (83, 61), (300, 2), (2, 16_383)]:
        same_as_pillow(written(image(mode, "uint8", size).to_pil(), "WEBP", **options))


def test_frames_of_a_webp() -> None:
    frames = [image("RGBA", "uint8", (90, 70)).rotate(20 * i, expand=False).to_pil() for i in range(5)]
    data = written(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True, loop=3)
    img = imgrs.open(data)
    assert img.n_frames == 5
    assert img.info["loop"] == 3
    with Pillow.open(io.BytesIO(data)) as seen:
        for i in range(5):
            seen.seek(i)
            np.testing.assert_array_equal(img.page(i).convert("RGBA").compute(), np.asarray(seen.convert("RGBA")))


def test_damaged_webps() -> None:
    good = written(image("RGB", "uint8").to_pil(), "WEBP", **METADATA)
    for length in (13, 20, 30, 60, len(good) - 2):
        with pytest.raises(CorruptImageError):
            imgrs.open(good[:length]).compute()
    with pytest.raises(TruncatedImageError, match="ends within its b'VP8 ' chunk"):
        imgrs.open(written(image("RGB", "uint8").to_pil(), "WEBP")[:100])
    with pytest.raises(CorruptImageError, match="b'ABCD'"):
        imgrs.open(b"RIFF\x10\0\0\0WEBPABCD\4\0\0\0abcd")
    many = b"".join(b"abcd\0\0\0\0" for _ in range(100_001))
    with pytest.raises(CorruptImageError, match="more than 100,000"):
        imgrs.open(b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(10) + many)


def test_colors_of_clear_pixels_stay_in_a_lossless_webp() -> None:
    data = pixels("uint8", 4)
    data[:30, :, 3] = 0
    file = io.BytesIO()
    imgrs.fromarray(data).save(file, "WEBP", lossless=True)
    np.testing.assert_array_equal(imgrs.open(file).compute(), data)


@pytest.mark.parametrize("options", [{}, METADATA, {"subsampling": "4:4:4"}])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_avifs(mode: str, options: dict[str, Any]) -> None:
    for size in [(1, 1), (83, 61), (300, 2)]:
        same_as_pillow(written(image(mode, "uint8", size).to_pil(), "AVIF", **options))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turns_of_an_avif(orientation: int) -> None:
    """Pillow writes them as turns and mirrors of the file's own."""
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    img = same_as_pillow(written(image("RGB", "uint8").to_pil(), "AVIF", exif=exif))
    assert img.metadata.get("exif", {}).get("Orientation", 1) == orientation


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_deep_avifs_keep_their_depth(bands: int, bits: int) -> None:
    data = pixels("uint16", bands) >> 16 - bits
    stored = bytes(
        imagecodecs.avif_encode(data, level=100, bitspersample=bits, pixelformat="400" if bands == 1 else "444")
    )
    decoded = imagecodecs.avif_decode(stored).astype(np.int64)
    img = imgrs.open(stored)
    assert img.dtype == np.uint16
    most = (1 << bits) - 1
    np.testing.assert_array_equal(img.compute(), (decoded * 65_535 * 2 + most) // (2 * most))
    assert np.abs(img.compute().astype(int) - pixels("uint16", bands)).mean() < 65_535 / most


def test_an_avif_that_is_a_grid() -> None:
    """The primary item is a grid of two, whose codec is that of its cells: the tables are written anew around them."""
    data = written(Pillow.new("RGB", (64, 64), (200, 90, 30)), "AVIF")
    resource = BytesResource(data)
    parts = {part.kind: part for part in boxes(resource)}
    meta = {part.kind: part.content(resource) for part in boxes(resource, parts[b"meta"].start + 4, parts[b"meta"].end)}
    coded = parts[b"mdat"].content(resource)
    owned = BytesResource(meta[b"iprp"])
    ipco = next(part.content(owned) for part in boxes(owned) if part.kind == b"ipco")
    number = {part.kind: i + 1 for i, part in enumerate(boxes(BytesResource(ipco)))}

    def table(cells_at: int) -> bytes:
        infe = [
            struct.pack(">IHH", 2 << 24, i, 0) + kind + b"\0" for i, kind in ((1, b"av01"), (2, b"av01"), (3, b"grid"))
        ]
        properties = ipco + box(b"ispe", struct.pack(">III", 0, 128, 64))
        extra = len(list(boxes(BytesResource(properties))))
        cell = bytes((len(number), *(i | 0x80 * (kind == b"av1C") for kind, i in number.items())))
        ipma = struct.pack(">II", 0, 3) + b"\0\1" + cell + b"\0\2" + cell + bytes((0, 3, 2, extra, number[b"pixi"]))
        places = [(1, 0, cells_at, len(coded)), (2, 0, cells_at, len(coded)), (3, 1, 0, 8)]
        iloc = struct.pack(">IBBH", 1 << 24, 0x44, 0, 3)
        for item, method, start, length in places:
            iloc += struct.pack(">HHHHII", item, method, 0, 1, start, length)
        iref = bytes(4) + box(b"dimg", struct.pack(">HHHH", 3, 2, 1, 2))
        content = box(b"hdlr", meta[b"hdlr"]) + box(b"pitm", struct.pack(">IH", 0, 3)) + box(b"iloc", iloc)
        content += box(b"iinf", struct.pack(">IH", 0, 3) + b"".join(box(b"infe", one) for one in infe)) + box(
            b"iref", iref
        )
        content += box(b"iprp", box(b"ipco", properties) + box(b"ipma", ipma))
        content += box(b"idat", struct.pack(">BBBBHH", 0, 0, 0, 1, 128, 64))
        return box(b"ftyp", parts[b"ftyp"].content(resource)) + box(b"meta", bytes(4) + content)

    whole = table(len(table(0)) + 8) + box(b"mdat", coded)
    img = same_as_pillow(whole)
    assert img.size == (128, 64)


def test_avifs_with_nonsense_in_their_tables_are_refused() -> None:
    good = written(image("RGB", "uint8").to_pil(), "AVIF", **METADATA)
    for kind in (b"meta", b"pitm", b"ispe", b"av1C"):
        with pytest.raises(CorruptImageError):
            imgrs.open(good.replace(kind, b"none"))
    with pytest.raises(TruncatedImageError):
        imgrs.open(good[:200])


def test_the_icon_is_the_one_that_pillow_chooses() -> None:
    source = image("RGBA", "uint8", (256, 256)).to_pil()
    for options in (
        {"sizes": [(16, 16), (48, 48), (32, 32)]},
        {"sizes": [(256, 256)]},
        {"sizes": [(64, 64)], "bitmap_format": "bmp"},
    ):
        same_as_pillow(written(source, "ICO", **options))
    for mode in ("RGB", "L", "P", "1"):
        same_as_pillow(written(source.convert(mode), "ICO", sizes=[(20, 20)], bitmap_format="bmp"))


def test_an_icon_that_claims_too_much_is_refused() -> None:
    good = written(image("RGBA", "uint8", (32, 32)).to_pil(), "ICO", sizes=[(32, 32)])
    large = bytearray(good)
    at = large.index(b"IHDR") + 4
    large[at : at + 8] = struct.pack(">II", 600, 600)
    large[at + 13 : at + 17] = struct.pack(">I", zlib.crc32(large[at - 4 : at + 13]))
    with pytest.raises(CorruptImageError, match="600"):
        imgrs.open(bytes(large))
    for bad in (good[:10], good[:40], good[:-9], good[:6] + bytes(16), b"\0\0\1\0\0\0" + bytes(20)):
        with pytest.raises(CorruptImageError):
            imgrs.open(bad).compute()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (83, 61), (8, 3)])
def test_bmps_of_others(mode: str, size: tuple[int, int]) -> None:
    source = image("RGBA", "uint8", size).to_pil().convert(mode)
    data = written(source, "BMP", dpi=(300, 200))
    img = imgrs.open(data)
    with Pillow.open(io.BytesIO(data)) as seen:
        expected = np.asarray(seen.convert(img.mode))
        assert img.info["dpi"] == seen.info["dpi"]
    np.testing.assert_array_equal(img.compute(), expected)
    for box_ in [(0, 0, 1, 1), (size[0] // 2, size[1] // 3, size[0], size[1])]:
        np.testing.assert_array_equal(img.crop(box_).compute(), expected[box_[1] : box_[3], box_[0] : box_[2]])
    flipped = bytearray(data)
    if mode != "P":  # whose reader is Pillow itself
        flipped[22:26] = struct.pack("<i", -size[1])
        np.testing.assert_array_equal(imgrs.open(bytes(flipped)).compute(), expected[::-1])


def test_bmps_beyond_four_gigabytes_have_a_header() -> None:
    from imgrs.io.bmp import BmpFormat

    encoder: Any = BmpFormat().encoder(imgrs.new("RGB", (60_000, 40_000))._node.spec, {}, {})
    assert encoder.header[2:6] == bytes(4)
    assert struct.unpack_from("<ii", encoder.header, 18) == (60_000, 40_000)


@pytest.mark.parametrize("extension", ["bmp", "jpg", "png", "jp2"])
def test_dpi_is_two_numbers(extension: str) -> None:
    for wrong in (300, ("a", "b"), (1, 2, 3), (-1, 1), (float("nan"), 1)):
        with pytest.raises(ArgumentError, match="dpi"):
            image("RGB", "uint8").save(io.BytesIO(), extension, dpi=wrong)


def test_heif_is_named_and_refused(tmp_path: Any) -> None:
    head = box(b"ftyp", b"heic" + bytes(4) + b"mif1heic") + box(b"meta", bytes(40))
    with pytest.raises(UnsupportedFormatError, match=r"is HEIF.*permissive.*AVIF or TIFF"):
        imgrs.open(head)
    for target, format_ in [
        (tmp_path / "a.heic", None),
        (tmp_path / "a.HEIF", None),
        (io.BytesIO(), "HEIF"),
        (io.BytesIO(), "heic"),
    ]:
        with pytest.raises(ArgumentError, match=r"HEIF cannot be written.*save as AVIF"):
            image("RGB", "uint8").save(target, format_)
