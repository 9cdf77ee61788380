"""Every format, as the registry has it: what it holds comes back, and docs/formats.md says what was seen to be true.

``python -m tests.test_formats`` writes the page.
"""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as Pillow

import imgrs
from imgrs.errors import ArgumentError, CorruptImageError, ImgrsError
from imgrs.io import formats
from imgrs.io.format import Format, TileEncoder
from imgrs.io.resource import FileResource
from imgrs.io.slides import SUFFIXES as SLIDES
from imgrs.io.tiff_decode import NAMES as COMPRESSIONS
from imgrs.types import Region
from tests.test_files import pixels

Array = npt.NDArray[Any]
PAGE = Path(__file__).parent.parent / "docs" / "formats.md"
KINDS = [
    ("1", "bool"), ("L", "uint8"), ("LA", "uint8"), ("RGB", "uint8"), ("RGBA", "uint8"), ("CMYK", "uint8"),
    ("I;16", "uint16"), ("LA", "uint16"), ("RGB", "uint16"), ("RGBA", "uint16"), ("F", "float32"),
    ("RGB", "float32"), ("RGBA", "float32"),
]  # fmt: skip
BY_NAME = {format.name: format for format in formats() if format.is_read and format.is_written}
EXACT: dict[str, Any] = {"WEBP": {"lossless": True}, "GIF": None, "JPEG": None, "AVIF": None}
"""What makes a format lossless; None where nothing does."""
CLOSE = {"GIF": 12, "JPEG": 8, "AVIF": 8}
"""How far the mean sample may be off in formats that lose something."""


def image(mode: str, dtype: str, size: tuple[int, int] = (83, 61)) -> imgrs.Image:
    smooth = Pillow.fromarray(pixels("uint8", 4, (12, 9))).resize(size, Pillow.Resampling.BICUBIC)
    if mode == "1":
        return imgrs.fromarray(np.asarray(smooth)[..., 0] > 100)
    img = imgrs.fromarray(np.asarray(smooth)).convert({"I;16": "L", "F": "L"}.get(mode, mode))
    return img.astype(dtype)


def holds(format: Format) -> list[tuple[str, str]]:
    """The kinds of image that a format takes."""
    found = []
    for mode, dtype in KINDS:
        try:
            format.encoder(image(mode, dtype)._node.spec, {}, {})
        except ArgumentError:
            continue
        found.append((mode, dtype))
    return found


@pytest.mark.parametrize("name", BY_NAME)
def test_what_a_format_holds_comes_back(name: str, tmp_path: Path) -> None:
    format = BY_NAME[name]
    for mode, dtype in holds(format):
        img = image(mode, dtype)
        path = tmp_path / f"{mode.replace(';', '')}-{dtype}{format.extensions[0]}"
        img.save(path, **(EXACT.get(name) or {}))
        read = imgrs.open(path)
        assert read.format == name
        assert (read.size, read.dtype) == (img.size, img.dtype)
        if name not in CLOSE:
            assert read.mode == img.mode, (name, mode)
            np.testing.assert_array_equal(read.compute(), img.compute(), f"{name} {mode} {dtype}")
        else:
            seen = np.asarray(Pillow.open(path).convert(mode if mode != "1" else "L"))
            np.testing.assert_array_equal(read.convert(mode if mode != "1" else "L").compute(), seen)
            assert np.abs(seen.astype(float) - img.convert("L" if mode == "1" else mode).compute()).mean() < CLOSE[name]
        part = read.crop((5, 7, 40, 31))
        np.testing.assert_array_equal(part.compute(), read.compute()[7:31, 5:40])


@pytest.mark.parametrize("name", [n for n in BY_NAME if n not in ("NPY", "TIFF")])
def test_others_read_what_is_written(name: str, tmp_path: Path) -> None:
    format = BY_NAME[name]
    for mode, dtype in holds(format):
        if dtype != "uint8":
            continue  # Pillow would read 16-bit color at 8 bits
        path = tmp_path / f"{mode}{format.extensions[0]}"
        image(mode, dtype).save(path, **(EXACT.get(name) or {}))
        seen = Pillow.open(path)
        assert seen.format == name
        if name not in CLOSE:
            np.testing.assert_array_equal(np.asarray(seen), image(mode, dtype).compute())


@pytest.mark.parametrize("extension", ["pgm", "ppm", "tga", "qoi", "ico", "jp2", "avif", "bmp"])
def test_files_of_others_are_read(extension: str, tmp_path: Path) -> None:
    wanted = image("L" if extension == "pgm" else "RGB", "uint8").to_pil()
    path = tmp_path / f"a.{extension}"
    wanted.save(path, **(dict[str, Any](sizes=[wanted.size]) if extension == "ico" else {}))
    seen = Pillow.open(path)
    img = imgrs.open(path)
    np.testing.assert_array_equal(img.compute(), np.asarray(seen.convert(img.mode)))


def test_pgms_of_any_depth_are_scaled_to_the_full_range(tmp_path: Path) -> None:
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 # a comment\n3 1\n# another\n100\n" + bytes((0, 50, 100)))
    np.testing.assert_array_equal(imgrs.open(path).compute(), [[0, 128, 255]])
    path.write_bytes(b"P5\n2 1\n4095\n" + np.array([0, 4095], ">u2").tobytes())
    np.testing.assert_array_equal(imgrs.open(path).compute(), [[0, 65535]])
    path.write_bytes(b"P5\n2 9\n255\nab")
    with pytest.raises(ImgrsError, match="shorter"):
        imgrs.open(path)
    path.write_bytes(b"P5\nx")
    with pytest.raises(CorruptImageError, match="header"):
        imgrs.open(path)


def test_jpeg_2000_is_decoded_smaller(tmp_path: Path) -> None:
    path = tmp_path / "a.jp2"
    image("RGB", "uint8", (640, 480)).save(path)
    reader = imgrs.open(path)._node.op.reader  # type: ignore[attr-defined]  # it is an Open
    assert reader.shrinks == (1, 2, 4, 8)
    for shrink in reader.shrinks:
        spec = reader.shrunk(shrink)
        small = reader.read(Region(0, 0, *spec.size), shrink)
        assert small.shape == (480 // shrink, 640 // shrink, 3)
        expected = Pillow.open(path).resize(spec.size, Pillow.Resampling.BOX)
        assert np.abs(small.astype(int) - np.asarray(expected)).mean() < 4  # a wavelet is not a box


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


# The page


def row(format: Format, folder: Path) -> str:
    kinds = holds(format)
    path = folder / f"a{format.extensions[0]}"
    image("RGB", "uint8", (200, 160)).save(path)
    reader = imgrs.open(path)._node.op.reader  # type: ignore[attr-defined]  # it is an Open
    encoder = format.encoder(image("RGB", "uint8")._node.spec, {}, {})
    streamed = isinstance(encoder, TileEncoder)
    kept = [name for name in METADATA if survives(format, name, folder)]
    depths: dict[str, list[str]] = {}
    for mode, dtype in kinds:
        depths.setdefault(dtype, []).append(mode)
    held = "; ".join(f"{dtype}: {' '.join(modes)}" for dtype, modes in depths.items())
    longest = getattr(format, "longest", 1 << 31)
    cells = [
        format.name,
        " ".join(format.extensions),
        held,
        "yes" if reader.reads_regions else "",
        "1/" + ", 1/".join(str(s) for s in reader.shrinks[1:]) if len(reader.shrinks) > 1 else "",
        "yes" if streamed else "",
        ", ".join(kept),
        f"{longest:,}" if longest < 1 << 31 else "",
    ]
    return f"| {' | '.join(cells)} |"


METADATA: dict[str, Any] = {
    "dpi": (300, 300),
    "icc_profile": b"profile" * 30,
    "exif": b"",
    "xmp": b"<x/>",
    "text": {"a": "b"},
}


def survives(format: Format, name: str, folder: Path) -> bool:
    """Whether a piece of metadata is written, and read again by Pillow."""
    value = METADATA[name]
    if name == "exif":
        exif = Pillow.Exif()
        exif[0x010E] = "a title"
        value = exif.tobytes()
    path = folder / f"m{format.extensions[0]}"
    try:
        image("RGB", "uint8").save(path, **{name: value})
        found = Pillow.open(path).info.get(name if name != "text" else "a")
    except (ImgrsError, OSError):
        return False
    return found is not None


def page() -> str:
    lines = [
        "# Formats",
        "",
        "Made by `python -m tests.test_formats`: each cell was tried on a file.",
        "",
        "Every format is opened from its header alone. **Region**: only what is needed is decoded; elsewhere a file is decoded",
        "once per run, into memory or, where that does not fit the limit, into a scratch file. **Smaller**: what shrinking",
        "while loading can use. **Streamed**: written in parallel, in memory that does not grow with the image; elsewhere",
        "the whole image is encoded at once. **Side**: the most pixels a side that the format holds.",
        "",
        "| format | extensions | holds | region | smaller | streamed | metadata | side |",
        "|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        lines += [row(format, Path(folder)) for format in BY_NAME.values()]
    lines += [
        "",
        f"TIFF is read with the compressions {', '.join(dict.fromkeys(COMPRESSIONS.values()))}.",
        "",
        f"Slides that are no TIFF ({' '.join(SLIDES)}), and TIFFs whose tiles overlap, are read through openslide,",
        "the extra `wsi`.",
    ]
    return "\n".join(lines) + "\n"


def test_the_page_is_what_the_formats_do() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("name", [name for name in BY_NAME if name not in ("AVIF", "QOI", "WEBP")])
def test_opening_reads_the_header_only(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    """Pillow reads all of an AVIF, a QOI and a WebP before it says anything; nothing is decoded there either."""
    path = tmp_path / f"a{BY_NAME[name].extensions[0]}"
    noise = np.random.default_rng(0).integers(0, 256, (250, 250, 3) if name == "ICO" else (900, 900, 3), np.uint8)
    imgrs.fromarray(noise).save(path)
    read = []
    real = FileResource.read

    def counted(self: FileResource, offset: int = 0, length: int | None = None) -> bytes:
        data = real(self, offset, length)
        read.append(len(data))
        return data

    monkeypatch.setattr(FileResource, "read", counted)
    imgrs.open(path)
    assert sum(read) < path.stat().st_size / 2 + (100_000 if name == "ICO" else 0), sum(read)


def test_file_objects_take_every_format() -> None:
    for format in BY_NAME.values():
        file = io.BytesIO()
        image("RGB", "uint8").save(file, format.name)
        if format.name != "TGA":  # it has no signature, so bytes alone may be anything
            assert imgrs.open(file.getvalue()).format == format.name


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
