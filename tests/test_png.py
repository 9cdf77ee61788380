"""PNG files read from the top down: every kind, in any number of strips, and what is damaged is refused."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image as Pillow

import imgrs
from imgrs.errors import CorruptImageError, ImgrsError, TruncatedImageError
from imgrs.io.png import chunks as png_chunks
from imgrs.io.png import filters as png_filters
from imgrs.io.png import read as png_read
from imgrs.io.png.chunks import SIGNATURE, chunk
from imgrs.io.resource import BytesResource, resource_of
from imgrs.types import Region
from tests import pngs
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


def made(color: int, bits: int, size: tuple[int, int], **options: Any) -> tuple[bytes, dict[str, Any]]:
    rng = np.random.default_rng(color * 16 + bits)
    palette = rng.integers(0, 256, (1 << bits, 3)) if color == 3 else None
    samples = rng.integers(0, 1 << bits, (size[1], size[0], pngs.SAMPLES[color]))
    return pngs.png(samples, color, bits, palette=palette, **options), {"samples": samples, "palette": palette}


def seen_by_libpng(data: bytes, like: Any) -> Any:
    """What imagecodecs' libpng makes of it, at the bands that we give it."""
    seen = imagecodecs.png_decode(data)
    if like.shape != seen.shape:  # it leaves a color that stands for transparency alone
        with Pillow.open(io.BytesIO(data)) as image:
            seen = np.asarray(image.convert({2: "LA", 3: "RGB", 4: "RGBA"}[like.shape[2]]))
    return seen.astype(bool) if like.dtype == bool else seen


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("size", [(83, 61), (1, 1), (9, 3), (3, 40)])
@pytest.mark.parametrize(("color", "bits"), pngs.KINDS)
def test_pngs_of_every_kind_filter_and_order(
    color: int, bits: int, size: tuple[int, int], interlaced: bool, strip: int
) -> None:
    data, source = made(color, bits, size, interlaced=interlaced)
    img = imgrs.open(data)
    got = img.compute()
    np.testing.assert_array_equal(got, seen_by_libpng(data, got))
    if color == 3:
        np.testing.assert_array_equal(got, source["palette"][source["samples"][..., 0]])
    elif bits >= 8:
        np.testing.assert_array_equal(got.reshape(source["samples"].shape), source["samples"])
    reader = png_read.PngReader(resource_of(data))
    width, height = size
    for box in [(0, 0, 1, 1), (width // 3, height // 2, width, height), (0, height - 1, width, height)]:
        part = reader.read(Region(*box))
        np.testing.assert_array_equal(
            part.reshape(got[box[1] : box[3], box[0] : box[2]].shape), got[box[1] : box[3], box[0] : box[2]]
        )


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("filters", range(5))
@pytest.mark.parametrize(("color", "bits"), [(0, 8), (2, 8), (6, 8), (4, 8), (0, 16), (2, 16), (6, 16), (0, 1)])
def test_each_filter_alone_as_libvips_reads_it(
    color: int, bits: int, filters: int, interlaced: bool, strip: int
) -> None:
    pyvips = pytest.importorskip("pyvips")
    data, _ = made(color, bits, (40, 30), filters=filters, interlaced=interlaced, piece=7)
    got = imgrs.open(data).compute()
    seen = np.asarray(pyvips.Image.new_from_buffer(data, "").numpy()).reshape(got.shape)
    np.testing.assert_array_equal(got, seen > 0 if got.dtype == bool else seen)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("color", "bits", "clear"),
    [
        (0, 8, b"\0\x07"),
        (0, 4, b"\0\x03"),
        (0, 1, b"\0\1"),
        (2, 8, b"\0\1\0\2\0\3"),
        (3, 2, b"\0\x80"),
        (3, 8, bytes(range(256))),
    ],
)
def test_transparency_by_color_or_palette(color: int, bits: int, clear: bytes, interlaced: bool, strip: int) -> None:
    data, _ = made(color, bits, (40, 30), clear=clear, interlaced=interlaced)
    img = imgrs.open(data)
    assert img.mode == ("LA" if color == 0 else "RGBA")
    with Pillow.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(img.compute(), np.asarray(image.convert(img.mode)))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("color", [0, 2])
def test_transparency_by_a_color_of_sixteen_bits(color: int, interlaced: bool, strip: int) -> None:
    samples = np.random.default_rng(color).integers(0, 3, (30, 40, pngs.SAMPLES[color])) * 257
    samples[3, 5] = 256  # near the clear color, but not it
    clear = b"".join(int(value).to_bytes(2, "big") for value in [257] * pngs.SAMPLES[color])
    img = imgrs.open(pngs.png(samples, color, 16, clear=clear, interlaced=interlaced))
    assert img.mode == ("LA" if color == 0 else "RGBA")
    assert img.dtype == np.uint16
    np.testing.assert_array_equal(img.compute()[..., :-1], samples)
    np.testing.assert_array_equal(img.compute()[..., -1] == 0, (samples == 257).all(axis=2))
    assert set(np.unique(img.compute()[..., -1])) == {0, 65_535}


def test_chunks_longer_than_a_piece(monkeypatch: Any) -> None:
    monkeypatch.setattr(png_chunks, "PIECE", 64)
    for piece in (10, 63, 64, 65, 1_000_000):
        data, source = made(2, 8, (40, 30), piece=piece)
        np.testing.assert_array_equal(imgrs.open(data).compute(), source["samples"])
        bad = bytearray(data)
        bad[data.index(b"IDAT") + 9] ^= 1
        with pytest.raises(CorruptImageError, match="checksum of a IDAT"):
            imgrs.open(bytes(bad)).compute()


def test_pixels_in_many_chunks_are_inflated_in_few_pieces(monkeypatch: Any) -> None:
    monkeypatch.setattr(png_chunks, "PIECE", 500)
    data, _ = made(2, 8, (40, 30), piece=20)
    chunks = [content for kind, content in png_chunks.chunks(data) if kind == b"IDAT"]
    pieces = [content for _, content in png_chunks.joined(png_chunks.verified_chunks(BytesResource(data)))]
    assert b"".join(pieces) == b"".join(chunks)
    assert len(chunks) > 20 * len(pieces) > 100, (len(chunks), len(pieces))
    assert all(isinstance(piece, bytes) for piece in pieces), "views would hold what was read around them"


@pytest.mark.parametrize(
    "length", [0, 1, png_chunks.BLOCK - 1, png_chunks.BLOCK, png_chunks.BLOCK + 1, 3 * png_chunks.BLOCK]
)
def test_stored_blocks_of_any_length(length: int) -> None:
    rows = np.zeros((2, 1 + length // 2), np.uint8) if length > 1 else np.zeros((1, 1 + max(1, length)), np.uint8)
    rows[:, 1:] = np.random.default_rng(length).integers(0, 256, rows[:, 1:].shape)
    png = png_chunks.stored_png(rows.shape[1] - 1, len(rows), 8, 0, rows.reshape(-1))
    np.testing.assert_array_equal(imagecodecs.png_decode(png.tobytes()), rows[:, 1:])
    Pillow.open(io.BytesIO(png.tobytes())).verify()


def test_interlaced_files_are_kept_in_a_scratch_file_where_they_do_not_fit(tmp_path: Path) -> None:
    pyvips = pytest.importorskip("pyvips")
    data = np.random.default_rng(0).integers(0, 256, (3_000, 2_500, 3), np.uint8)
    path = tmp_path / "a.png"
    pyvips.Image.new_from_memory(data, 2_500, 3_000, 3, "uchar").pngsave(str(path), interlace=True, compression=1)
    img = imgrs.open(path).brightness(10)
    options: dict[str, Any] = {"memory_limit": "55MiB", "workers": 1, "chunks": (256, 256)}
    assert "decoded once in scratch files" in img.explain(**options)
    np.testing.assert_array_equal(img.compute(**options), np.minimum(data.astype(int) + 10, 255))


@pytest.mark.parametrize("late", [(b"PLTE", bytes(range(100, 112))), (b"tRNS", bytes((0, 50, 100, 150)))])
def test_a_palette_behind_its_pixels_is_damage(late: tuple[bytes, bytes]) -> None:
    """Whether it counted for a strip would depend on how far ahead of it decoding is."""
    rows = np.zeros((4000, 4001), np.uint8)
    rows[:, 1:] = np.arange(4000) % 4
    pixels = zlib.compress(rows.tobytes(), 1)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4000, 4000, 8, 3, 0, 0, 0))
    data += chunk(b"PLTE", bytes(range(12))) + chunk(b"IDAT", pixels[: len(pixels) // 2])
    data += chunk(*late) + chunk(b"IDAT", pixels[len(pixels) // 2 :]) + chunk(b"IEND", b"")
    with pytest.raises(CorruptImageError, match=f"{late[0].decode()} chunk behind its pixels"):
        imgrs.open(data).compute()


@pytest.mark.parametrize("pixel", [1, 2, 3, 4, 6, 8])
def test_filters_are_undone_by_slants_as_by_libpng(pixel: int) -> None:
    rng = np.random.default_rng(pixel)
    for height, width in ((1, 1), (2, 1), (1, 40), (3, 5), (8, 7), (9, 64), (33, 50)):
        rows = rng.integers(0, 256, (height, 1 + width * pixel), np.uint8)
        rows[:, 0] = rng.integers(0, 5, height)
        above = rng.integers(0, 256, width * pixel, np.uint8)
        expected = png_filters.by_libpng(rows, above, pixel)
        np.testing.assert_array_equal(png_filters.by_slants(rows, above, pixel), expected)


@pytest.mark.parametrize("form", [png_filters.by_slants, png_filters.by_libpng])
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [8, 16])
def test_files_with_all_filters_are_read_either_way(form: Any, bands: int, bits: int, monkeypatch: Any) -> None:
    pyvips = pytest.importorskip("pyvips")
    data = pixels(f"uint{bits}", bands)
    names = ("b-w", "srgb") if bits == 8 else ("grey16", "rgb16")
    image = pyvips.Image.new_from_array(data).copy(interpretation=names[bands > 2])
    png = image.pngsave_buffer(filter="all", compression=6)
    monkeypatch.setattr(png_read, "unfiltered", form)
    monkeypatch.setattr(png_read, "STRIP", 5_000)
    np.testing.assert_array_equal(imgrs.open(png).compute(), data)


@pytest.mark.parametrize("large", [0, 1 << 30])
def test_a_filter_that_does_not_exist_is_refused(large: int, monkeypatch: Any) -> None:
    rows = np.zeros((4, 1 + 12), np.uint8)
    rows[2, 0] = 5
    head = chunk(b"IHDR", (4).to_bytes(4, "big") * 2 + bytes((8, 2, 0, 0, 0)))
    png = SIGNATURE + head + chunk(b"IDAT", zlib.compress(rows.tobytes())) + chunk(b"IEND", b"")
    monkeypatch.setattr(png_filters._load, "_done", large)
    with pytest.raises(CorruptImageError, match="filter"):
        imgrs.open(png).compute()


def test_a_strip_is_no_higher_than_libpng_takes_with_the_row_above(monkeypatch: Any) -> None:
    data = np.arange(1_000_000, dtype=np.uint32).astype(np.uint8).reshape(-1, 1)
    file = io.BytesIO()
    Pillow.fromarray(data).save(file, "PNG")
    monkeypatch.setattr(png_read, "unfiltered", png_filters.by_libpng)
    np.testing.assert_array_equal(np.asarray(imgrs.open(file.getvalue())), data)
