"""PNG files read from the top down: every kind, in any number of strips, and what is damaged is refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

import imgrs
from imgrs.errors import CorruptImageError, ImgrsError, TruncatedImageError
from imgrs.io import png_read
from imgrs.io.resource import resource_of
from imgrs.types import Region
from tests.test_files import pixels


@pytest.fixture(params=[300, 5_000, 4 << 20])
def strip(request: Any, monkeypatch: Any) -> int:
    monkeypatch.setattr(png_read, "STRIP", request.param)
    size: int = request.param
    return size


def kinds() -> dict[str, Pillow.Image]:
    rgba = Pillow.fromarray(pixels("uint8", 4))
    rgb = rgba.convert("RGB")
    found = {mode: rgba.convert(mode) for mode in ("1", "L", "LA", "RGB", "RGBA")}
    found |= {f"P{colors}": rgb.quantize(colors) for colors in (2, 4, 16, 256)}
    found["I;16"] = Pillow.fromarray(pixels("uint16", 1))
    return found


@pytest.mark.parametrize("kind", kinds())
def test_every_kind(kind: str, strip: int, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    kinds()[kind].save(path)
    img = imgrs.open(path)
    expected = np.asarray(kinds()[kind].convert(img.mode)) if kind[0] == "P" else np.asarray(kinds()[kind])
    np.testing.assert_array_equal(img.compute(), expected)
    part = png_read.PngReader(resource_of(path)).read(Region(9, 20, 50, 33))
    np.testing.assert_array_equal(part.reshape(expected[20:33, 9:50].shape), expected[20:33, 9:50])


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_colors_that_stand_for_transparency(mode: str, strip: int, tmp_path: Path) -> None:
    source = Pillow.fromarray(pixels("uint8", 3) // 64 * 64)
    image = source.quantize(8) if mode == "P" else source.convert(mode)
    color = image.getpixel((3, 4))
    image.save(tmp_path / "a.png", transparency=color)
    img = imgrs.open(tmp_path / "a.png")
    assert img.mode == ("LA" if mode == "L" else "RGBA")
    np.testing.assert_array_equal(img.compute(), np.asarray(Pillow.open(tmp_path / "a.png").convert(img.mode)))


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_sixteen_bits_and_every_filter(bands: int, strip: int) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    data = pixels("uint16", bands)
    for level in (0, 1, 6):
        content = imagecodecs.png_encode(data, level=level, filter=imagecodecs.PNG.FILTER.ALL)
        np.testing.assert_array_equal(imgrs.open(content).compute(), data)


def test_what_is_damaged_is_refused(strip: int) -> None:
    file = io.BytesIO()
    Pillow.fromarray(pixels("uint8", 3)).save(file, "PNG")
    good = file.getvalue()
    start = good.index(b"IDAT") + 4
    for at in range(start, len(good) - 12, 97):
        bad = bytearray(good)
        bad[at] ^= 4
        with pytest.raises(CorruptImageError):
            imgrs.open(bytes(bad)).compute()
    for length in range(start, len(good) - 12, 97):
        with pytest.raises((TruncatedImageError, CorruptImageError)):
            imgrs.open(good[:length]).compute()


def test_a_bomb_is_cut_short() -> None:
    """A few kilobytes that inflate to a thousand times what the header says: no more than the image is taken."""
    import zlib

    from imgrs.io.png_write import SIGNATURE, chunk

    head = chunk(b"IHDR", (4).to_bytes(4, "big") * 2 + bytes((8, 0, 0, 0, 0)))
    bomb = SIGNATURE + head + chunk(b"IDAT", zlib.compress(bytes(50 << 20))) + chunk(b"IEND", b"")
    with pytest.raises(ImgrsError):
        imgrs.open(bomb).compute()


def test_large_files_go_through_a_scratch_file(tmp_path: Path, monkeypatch: Any) -> None:
    data = np.random.default_rng(0).integers(0, 256, (3_000, 2_500, 3), np.uint8)
    path = tmp_path / "a.png"
    imgrs.fromarray(data).save(path, compress_level=1)
    img = imgrs.open(path).brightness(10)

    monkeypatch.setattr(png_read.PngReader, "read", None)  # whole reads would fail
    options: dict[str, Any] = {"memory_limit": "32MiB", "workers": 1, "chunks": (256, 256)}
    assert "decoded once in scratch files" in img.explain(**options)
    np.testing.assert_array_equal(img.compute(**options), np.minimum(data.astype(int) + 10, 255))
