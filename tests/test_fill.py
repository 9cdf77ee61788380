"""Damaged files opened with ``on_error="fill"``: what can be decoded is right, the rest is 0, and is counted."""

from __future__ import annotations

import io
import os
import pickle
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

import imgrs
from imgrs.errors import (
    ArgumentError,
    CorruptImageError,
    DamagedImageWarning,
    ImgrsError,
    SourceChangedError,
    TruncatedImageError,
)
from imgrs.io import fill, resource
from imgrs.io.png import read as png_read
from imgrs.io.png.chunks import SIGNATURE
from tests.hostile import png_chunks
from tests.samples import SAMPLES, picture, sample, saved

Array = npt.NDArray[Any]
SIZE = (150, 130)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamagedImageWarning)
        yield


def damaged_tiff(path: Path, broken: tuple[int, ...], **options: Any) -> Array:
    """A TIFF of 32-pixel tiles, some of which cannot be decoded; returns what it held."""
    data = picture(3, SIZE)
    layout: dict[str, Any] = {"photometric": "rgb", "tile": (32, 32), "compression": "zlib", **options}
    stored = np.moveaxis(data, 2, 0) if layout.get("planarconfig") == "separate" else data
    tifffile.imwrite(path, stored, **layout)
    with tifffile.TiffFile(path) as file:
        places = [(file.pages[0].dataoffsets[i], file.pages[0].databytecounts[i]) for i in broken]
    content = bytearray(path.read_bytes())
    for offset, length in places:
        content[offset : offset + length] = b"\xaa" * length
    path.write_bytes(content)
    return data


def filled(data: Array, boxes: list[tuple[int, int, int, int]]) -> Array:
    expected = data.copy()
    for left, top, right, bottom in boxes:
        expected[top:bottom, left:right] = 0
    return expected


WAYS: list[dict[str, Any]] = [
    {"scheduler": "sync"},
    {"chunks": (17, 23)},
    {"chunks": (64, 64), "workers": 2},
    {"chunks": (48, 40), "scheduler": "processes"},
    {"optimizer": "off", "chunks": (40, 40)},
]


@pytest.mark.parametrize(("planes", "way"), [("contig", way) for way in WAYS] + [("separate", WAYS[1])], ids=str)
def test_tiles_that_cannot_be_decoded_are_black_whatever_the_tiling(
    planes: str, way: dict[str, Any], tmp_path: Path
) -> None:
    broken = (2, 14) if planes == "contig" else (2, 14 + 25)
    data = damaged_tiff(tmp_path / "a.tif", broken, planarconfig=planes)
    boxes = [(64, 0, 96, 32), (128, 64, 150, 96)]
    with pytest.raises(CorruptImageError):
        imgrs.open(tmp_path / "a.tif").compute(**way)
    img = imgrs.open(tmp_path / "a.tif", on_error="fill")
    np.testing.assert_array_equal(img.compute(**way), filled(data, boxes))
    np.testing.assert_array_equal(img.crop((70, 10, 150, 90)).compute(**way), filled(data, boxes)[10:90, 70:])


@pytest.mark.parametrize("shards", [None, (64, 64, 3)])
def test_chunks_of_a_store_are_filled_too(shards: tuple[int, ...] | None, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    data = picture(3, SIZE)
    zarr.create_array(tmp_path / "a.zarr", data=data, chunks=(32, 32, 3), shards=shards)
    path = tmp_path / "a.zarr" / "c" / ("2/1/0" if shards is None else "1/0/0")
    content = path.read_bytes()
    places = range(len(content)) if shards is None else shard_index(content)[1]
    path.write_bytes(bytes(byte ^ 0xAA if i in places else byte for i, byte in enumerate(content)))
    with pytest.raises(CorruptImageError):
        imgrs.open(tmp_path / "a.zarr").compute()
    img = imgrs.open(tmp_path / "a.zarr", on_error="fill")
    boxes = [(32, 64, 64, 96)]
    assert [box for box, _ in img.damaged()] == boxes
    for chunks in ((17, 23), (64, 64), (200, 200)):
        np.testing.assert_array_equal(img.compute(chunks=chunks), filled(data, boxes))


def shard_index(content: bytes) -> list[range]:
    """Where a shard of 2 x 2 chunks has each of them: offsets and lengths, and a checksum, stand at its end."""
    numbers = np.frombuffer(content[-4 - 4 * 16 : -4], "<u8").reshape(-1, 2)
    return [range(int(offset), int(offset + length)) for offset, length in numbers]


@pytest.mark.parametrize("on_error", ["raise", "fill"])
def test_what_is_damaged_is_listed_by_tile_and_reason(on_error: str, tmp_path: Path) -> None:
    damaged_tiff(tmp_path / "a.tif", (2, 14))
    img = imgrs.open(tmp_path / "a.tif", on_error=on_error)
    for image in (img, img.blur(2).crop((0, 0, 9, 9))):
        (first, why), (second, _) = image.damaged()
        assert (first, second) == ((64, 0, 96, 32), (128, 64, 150, 96))
        assert "tile 2" in why
        assert "a.tif" in why
    tifffile.imwrite(tmp_path / "good.tif", picture(3))
    assert imgrs.open(tmp_path / "good.tif", on_error=on_error).damaged() == []
    with pytest.raises(ArgumentError, match="does not come from a file"):
        imgrs.new("L", (5, 5)).damaged()


def test_one_warning_for_a_file(tmp_path: Path) -> None:
    damaged_tiff(tmp_path / "a.tif", (2, 14))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(2):
            imgrs.open(tmp_path / "a.tif", on_error="fill").compute(scheduler="sync", chunks=(32, 32))
    (warning,) = [w for w in said if w.category is DamagedImageWarning]
    assert "a.tif: tile" in str(warning.message)
    assert "damaged()" in str(warning.message)


def test_a_filled_image_is_another_image(tmp_path: Path) -> None:
    damaged_tiff(tmp_path / "a.tif", (2,))
    raised, img = (imgrs.open(tmp_path / "a.tif", on_error=way) for way in ("raise", "fill"))
    assert raised.key != img.key
    assert raised != img
    assert img == imgrs.open(tmp_path / "a.tif", on_error="fill") == pickle.loads(pickle.dumps(img))
    with pytest.raises(ArgumentError, match="on_error must be"):
        imgrs.open(tmp_path / "a.tif", on_error="ignore")


def test_pages_and_smaller_copies_are_filled_by_their_own_tiles(tmp_path: Path) -> None:
    data = picture(3, SIZE)
    imgrs.fromarray(data).save(tmp_path / "a.tif", pyramid=True, tile=32)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        half = file.pages[1].asarray()
        offset, length = file.pages[1].dataoffsets[1], file.pages[1].databytecounts[1]
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[offset : offset + length] = bytes(length)
    (tmp_path / "a.tif").write_bytes(content)
    expected = filled(half, [(32, 0, 64, 32)])
    img = imgrs.open(tmp_path / "a.tif", on_error="fill")
    np.testing.assert_array_equal(img.page(1).compute(chunks=(20, 20)), expected)
    assert [box for box, _ in img.page(1).damaged()] == [(32, 0, 64, 32)]
    ((box, reason),) = img.damaged()
    assert (box, reason[-26:]) == ((64, 0, 128, 64), "(in its copy at 1/2 scale)")
    reader: Any = img._node.op
    small = reader.reader.shrunk(2).region
    np.testing.assert_array_equal(reader.reader.read(small, 2), expected)
    for part in small.tiles((21, 19)):
        rows, columns = part.slices_in(small)
        np.testing.assert_array_equal(reader.reader.read(part, 2), expected[rows, columns])


@pytest.mark.parametrize("name", ["PNG rgb", "PNG palette", "PNG deep", "PNG bits"])
def test_rows_of_a_png_stay_up_to_its_damage(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(png_read, "STRIP", 100 if name == "PNG bits" else 1_500)
    good = sample(name)
    expected = imgrs.open(good).compute()
    bad = split_chunks(good, 30 if name == "PNG bits" else 500)
    at = [start for kind, start, _ in png_chunks(bad) if kind == b"IDAT"][-2] + 9
    bad = bad[:at] + bytes([bad[at] ^ 16]) + bad[at + 1 :]
    path = tmp_path / "a.png"
    path.write_bytes(bad)
    with pytest.raises(CorruptImageError, match="checksum"):
        imgrs.open(path).compute()
    img = imgrs.open(path, on_error="fill")
    ((left, top, right, bottom), reason) = img.damaged()[0]
    assert (left, right, bottom) == (0, img.width, img.height)
    assert 0 < top < img.height, "the first rows are in good pieces"
    assert "checksum" in reason
    wanted = expected.copy()
    wanted[top:] = 0
    for options in ({"scheduler": "sync"}, {"chunks": (30, 20)}, {"chunks": (16, 16), "memory_limit": "1MiB"}):
        np.testing.assert_array_equal(img.compute(**options), wanted)


def split_chunks(data: bytes, size: int) -> bytes:
    """A PNG whose pixels come in pieces of ``size``."""
    from imgrs.io.png.chunks import chunk

    made, coded = SIGNATURE, b""
    for kind, at, length in png_chunks(data):
        content = data[at : at + length]
        if kind == b"IDAT":
            coded += content
            continue
        if kind == b"IEND":
            made += b"".join(chunk(b"IDAT", coded[i : i + size]) for i in range(0, len(coded), size))
        made += chunk(kind, content)
    return made


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"mode": "L"}, {"mode": "CMYK"}])
def test_rows_of_a_jpeg_stay_up_to_its_end(options: dict[str, Any], tmp_path: Path) -> None:
    """A file without restarts that was cut short: its first rows are those of the whole file, at every size."""
    path = tmp_path / "a.jpg"
    whole = saved(picture(4 if options.get("mode") == "CMYK" else 3, (500, 400)), "JPEG", **options)
    path.write_bytes(whole[: len(whole) * 3 // 5])
    expected = imgrs.open(whole)
    with pytest.raises(TruncatedImageError):
        imgrs.open(path).compute()
    img = imgrs.open(path, on_error="fill")
    (((left, top, right, bottom), reason),) = img.damaged()
    assert (left, right, bottom) == (0, 500, 400)
    assert 150 < top < 400
    assert "ends before" in reason
    wanted = filled(expected.compute(), [(0, top, 500, 400)])
    ways: list[dict[str, Any]] = [
        {"scheduler": "sync"},
        {"chunks": (30, 20)},
        {"chunks": (64, 64), "memory_limit": "4MiB"},
    ]
    for way in ways:
        np.testing.assert_array_equal(img.compute(**way), wanted)
    small, whole_small = [opened._node.op.reader for opened in (img, expected)]  # type: ignore[attr-defined]  # they are Opens
    for shrink in small.shrinks[1:]:
        region = small.shrunk(shrink).region
        pixels, rows = small.read(region, shrink), top // shrink
        np.testing.assert_array_equal(pixels[:rows], whole_small.read(region, shrink)[:rows])
        assert not pixels[rows:].any()


def test_the_warning_speaks_of_pixels_of_the_full_size_image(tmp_path: Path) -> None:
    whole = saved(picture(3, (501, 403)), "JPEG")
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) * 3 // 5])
    img = imgrs.open(tmp_path / "a.jpg", on_error="fill")
    (((_, top, right, bottom), _),) = img.damaged()
    small = img.copy().thumbnail((60, 60))
    assert small.listing().count("shrink=4") == 1
    assert small.damaged() == img.damaged()
    with pytest.warns(DamagedImageWarning, match=r"of the full-size image \(decoded at 1/4 scale\)") as said:
        small.compute(scheduler="sync")
    (box,) = re.findall(r"\((\d+), (\d+), (\d+), (\d+)\) of the", str(said[0].message))
    assert tuple(map(int, box))[2:] == (right, bottom) == (501, 403)
    assert abs(int(box[1]) - top) <= 16  # the rows of a strip at each scale


@pytest.mark.parametrize("full_size", [False, True])
@pytest.mark.usefixtures("usual_options")
def test_damage_in_a_copy_is_told_and_listed_as_such(full_size: bool, tmp_path: Path) -> None:
    imgrs.fromarray(picture(3, SIZE)).save(tmp_path / "a.tif", pyramid=True, tile=32)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        page = file.pages[0 if full_size else 1]
        offset, length = page.dataoffsets[1], page.databytecounts[1]
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[offset : offset + length] = bytes(length)
    (tmp_path / "a.tif").write_bytes(content)
    img = imgrs.open(tmp_path / "a.tif", on_error="fill")
    box, copy = ((32, 0, 64, 32), "") if full_size else ((64, 0, 128, 64), " (in its copy at 1/2 scale)")
    told = f"{copy}; {box} of the full-size image and whatever else cannot be decoded is 0: damaged() lists what is damaged"
    with pytest.warns(DamagedImageWarning, match=re.escape(told) + "$"):
        (img if full_size else img.preview(75)).compute(scheduler="sync")
    ((found, reason),) = img.damaged()
    assert found == box
    assert "cannot be decoded" in reason
    assert reason.endswith("(in its copy at 1/2 scale)") is not full_size


def test_a_progressive_jpeg_that_was_cut_short_has_no_final_row() -> None:
    data = saved(picture(3, (100, 80)), "JPEG", progressive=True)
    img = imgrs.open(data[: len(data) * 4 // 5], on_error="fill")
    assert [box for box, _ in img.damaged()] == [(0, 0, 100, 80)]
    assert not img.compute().any()


def test_a_png_that_lacks_only_its_end_loses_no_pixel() -> None:
    good = sample("PNG rgb")
    end = next(start + length for kind, start, length in png_chunks(good) if kind == b"IDAT")
    cut = split_chunks(good, 300)
    last = [start + length for kind, start, length in png_chunks(cut) if kind == b"IDAT"][-1]
    assert end
    with pytest.raises(TruncatedImageError):
        imgrs.open(cut[: last - 2]).compute()
    img = imgrs.open(cut[: last - 2], on_error="fill")
    ((box, _),) = img.damaged()
    np.testing.assert_array_equal(img.compute()[: box[1]], imgrs.open(good).compute()[: box[1]])


@pytest.mark.parametrize("name", [name for name in SAMPLES if not name.endswith(("pages", "frames"))])
def test_every_kind_is_filled_alike_by_regions_and_strips(name: str) -> None:
    """Half a file: whatever can be opened gives the same pixels from any region, and damaged() says where they are 0."""
    good = sample(name)
    try:
        expected = imgrs.open(good).compute()
        img = imgrs.open(good[: len(good) * 2 // 3], on_error="fill")
    except ImgrsError:
        pytest.skip("the header is in the part that is missing, or is not supported")
    pixels = img.compute(scheduler="sync")
    np.testing.assert_array_equal(img.compute(chunks=(19, 27)), pixels)
    boxes = [box for box, _ in img.damaged()]
    assert boxes
    np.testing.assert_array_equal(pixels, filled(expected, boxes))


def test_a_file_that_changed_or_shrank_is_not_damaged(tmp_path: Path, monkeypatch: Any) -> None:
    data = damaged_tiff(tmp_path / "a.tif", (2,))
    assert data.any()
    img = imgrs.open(tmp_path / "a.tif", on_error="fill")
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:5_000])
    with pytest.raises(SourceChangedError):
        img.compute()
    with pytest.raises(SourceChangedError):
        img.damaged()

    path = tmp_path / "b.tif"
    damaged_tiff(path, ())
    img = imgrs.open(path, on_error="fill")
    reader: Any = img._node.op
    real = type(reader.reader.reader).read

    def read_while_it_is_written(self: Any, *args: Any) -> Any:
        content = path.read_bytes()
        path.write_bytes(b"x" * len(content))
        raise CorruptImageError("half old, half new")

    monkeypatch.setattr(type(reader.reader.reader), "read", read_while_it_is_written)
    with pytest.raises(SourceChangedError):
        img.compute()
    monkeypatch.setattr(type(reader.reader.reader), "read", real)


def test_a_short_read_says_that_the_file_shrank(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture(3, SIZE), photometric="rgb", tile=(32, 32))
    img = imgrs.open(path, on_error="fill")
    monkeypatch.setattr(os, "pread", lambda descriptor, length, offset: b"")
    with pytest.raises(SourceChangedError, match="shorter"):
        img.compute()


def test_files_that_shrank_leave_the_others_readable(tmp_path: Path, monkeypatch: Any) -> None:
    """A descriptor that fails while it is out is closed, and whoever closes the oldest later finds nothing of it."""
    monkeypatch.setattr(resource, "_handles", resource._Handles(4))
    files = [resource.FileResource.stat(small_file(tmp_path / f"{i}")) for i in range(12)]
    files[0].read(0, 1)
    with monkeypatch.context() as during:
        during.setattr(os, "pread", lambda descriptor, length, offset: b"")
        with pytest.raises(SourceChangedError):
            files[0].read(0, 1)
    for file in files * 2:
        assert file.read(0, 3) == b"abc"


def small_file(path: Path) -> Path:
    path.write_bytes(b"abc")
    return path


def test_large_damaged_images_are_listed_in_bounded_memory() -> None:
    """The list is made from one tile or strip at a time."""
    data = np.zeros((4_000, 4_000, 3), np.uint8)
    file = io.BytesIO()
    tifffile.imwrite(file, data, tile=(64, 64), photometric="rgb", compression="zlib")
    reader: Any = imgrs.open(file.getvalue(), on_error="fill")._node.op
    sizes = [part.area for part, _, _ in fill.decoded(reader.reader.reader, reader.reader.spec.region)]
    assert max(sizes) == 64 * 64
    assert sum(sizes) == 4_000 * 4_000


def test_damage_of_every_file_is_listed_and_rows_as_one_part(tmp_path: Path) -> None:
    imgrs.fromarray(picture(3, SIZE)).save(tmp_path / "whole.ppm")
    whole = (tmp_path / "whole.ppm").read_bytes()
    (tmp_path / "cut.ppm").write_bytes(whole[: len(whole) // 2])
    good, bad = imgrs.open(tmp_path / "whole.ppm"), imgrs.open(tmp_path / "cut.ppm", on_error="fill")
    ((left, top, right, bottom), reason) = bad.damaged()[0]
    assert len(bad.damaged()) == 1
    assert (left, right, bottom) == (0, *SIZE)
    assert abs(top - SIZE[1] // 2) <= 1
    assert "cut.ppm" in reason
    for img in (good.blend("normal", bad), imgrs.new("RGB", SIZE).blend("normal", bad), good + bad):
        assert img.damaged() == bad.damaged()
