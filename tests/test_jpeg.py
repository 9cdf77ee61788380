"""JPEG files read by strips and whole: every kind has Pillow's pixels, only what is needed is read, and damage is told."""

from __future__ import annotations

import base64
import io
import itertools
import pickle
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask.config
import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as Pillow

import imgrs
from imgrs import config
from imgrs.errors import CorruptImageError, LimitError, TruncatedImageError, UnsupportedFormatError
from imgrs.io.jpeg import read as jpeg_read
from imgrs.io.jpeg.markers import Header, read_header
from imgrs.io.jpeg.read import JpegReader
from imgrs.io.resource import BytesResource, FileResource, resource_of
from imgrs.plan.choose import plan
from imgrs.run.scratch import Scratch
from imgrs.types import Region

Array = npt.NDArray[Any]
MODES = ("L", "RGB", "CMYK")
SIZES = [(83, 61), (160, 131), (17, 200), (301, 97)]

ARITHMETIC = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYVpQYEpR"
    "Uk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT0//yQARCAAUABgDASIAAhEB"
    "AxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD+GwwLom8ge3GFB4XpCOJ22BsSIB4wr9x6DE5R9hsJJnbPCdiejuFny5m8LXQmhgV67bWn4ZYW94SK"
    "Hl3+oLNGQy7IGEdBkbP6a2EY2qsCH9jif42omzz881yenFrbcSJzrjDF48cQ/9k="
)
SCANS = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYVpQYEpR"
    "Uk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT0//wAARCAAUABgDASIAAhEB"
    "AxEB/8QAFwAAAwEAAAAAAAAAAAAAAAAAAwQFBv/EAB8QAAEEAgIDAAAAAAAAAAAAAAEAAgMEBRITISIxMv/aAAgBAQAAPwCfQ7mC0DLDYANin4L0bm+1"
    "ncbUJnRs1A9oGpQaYkEY7Ko4wDlCJm/kJGsPBf/EABUBAQEAAAAAAAAAAAAAAAAAAAUB/8QAHxEAAQQABwAAAAAAAAAAAAAAAQACAwQFFBUhIjJB/9oA"
    "CAECEQA/ALZbkozEPUPpNeTm525TmNdgggv/xAAWAQEBAQAAAAAAAAAAAAAAAAACAwX/xAAdEQACAgEFAAAAAAAAAAAAAAABBAACAwUREiEy/9oACAED"
    "EQA/ADqipyPVyY+xJ2caoeIpNlbzGQN5/9k="
)
"""Small files by libjpeg-turbo's ``cjpeg``, of kinds that no encoder here makes: coded arithmetically; a scan for each band."""


@pytest.fixture
def small_strips(monkeypatch: Any) -> None:
    """Several strips in a small image."""
    monkeypatch.setattr(jpeg_read, "STRIP", 2_000)
    monkeypatch.setattr(jpeg_read, "ROUNDS", 0)


def picture(mode: str, size: tuple[int, int] = (160, 131), seed: int = 0) -> Pillow.Image:
    """Smooth shapes and noise, no two rows alike."""
    rng = np.random.default_rng(seed)
    shapes = rng.integers(0, 256, (1 + size[1] // 7, 1 + size[0] // 7, 4), np.uint8)
    smooth = np.asarray(Pillow.fromarray(shapes).resize(size, Pillow.Resampling.BICUBIC)).astype(int)
    noisy = np.clip(smooth + rng.integers(-20, 20, smooth.shape), 0, 255).astype(np.uint8)
    if mode == "CMYK":
        return Pillow.frombytes("CMYK", size, noisy.tobytes())
    return Pillow.fromarray(noisy[..., :3]).convert(mode)


def coded(image: Pillow.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **{"quality": 85, **options})
    return file.getvalue()


def joined(image: Pillow.Image, sampling: str, block: int) -> bytes:
    """A JPEG of any subsampling with a restart after each row of blocks, which are ``block`` rows of pixels."""
    pixels = np.asarray(image)
    made = bytearray()
    for number, top in enumerate(range(0, len(pixels), block)):
        part = bytes(imagecodecs.jpeg8_encode(pixels[top : top + block], level=85, subsampling=sampling))
        header = read_header(io.BytesIO(part), "a strip")
        if not number:
            made += (
                part[: header.scan] + struct.pack(">HHH", 0xFFDD, 4, header.across) + part[header.scan : header.coded]
            )
            struct.pack_into(">H", made, header.frame + 5, len(pixels))
        else:
            made += bytes((0xFF, 0xD0 + (number - 1) % 8))
        made += part[header.coded : -2]
    return bytes(made) + b"\xff\xd9"


def by_pillow(data: bytes, shrink: int = 1) -> Array:
    image = Pillow.open(io.BytesIO(data))
    if shrink > 1:
        image.draft(None, (image.width // shrink, image.height // shrink))
    pixels = np.asarray(image)
    return pixels.reshape(*pixels.shape[:2], -1)


def regions(width: int, height: int, count: int) -> Iterator[Region]:
    rng = np.random.default_rng(width * height)
    for _ in range(count):
        left, right = sorted(rng.choice(width + 1, 2, replace=False).tolist())
        top, bottom = sorted(rng.choice(height + 1, 2, replace=False).tolist())
        yield Region(left, top, right, bottom)
    yield Region(0, height // 3, width, height)  # whole rows


def check(data: bytes, strips: bool) -> None:
    """Every reduction and random regions have Pillow's pixels."""
    reader = JpegReader(BytesResource(data))
    assert reader.reads_regions is strips
    for shrink in reader.shrinks:
        expected, spec = by_pillow(data, shrink), reader.shrunk(shrink)
        assert expected.shape == (spec.height, spec.width, spec.bands)
        np.testing.assert_array_equal(reader.read(spec.region, shrink), expected)
        for region in regions(*spec.size, 4 if strips else 1):
            np.testing.assert_array_equal(reader.read(region, shrink), expected[region.slices_in(spec.region)])


RESTARTS: list[dict[str, int]] = [
    {"restart_marker_rows": 1}, {"restart_marker_rows": 2}, {"restart_marker_blocks": 1}, {"restart_marker_blocks": 3},
]  # fmt: skip


@pytest.mark.parametrize("restarts", RESTARTS)
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("mode", MODES)
def test_strips_have_the_pixels_of_the_whole(
    mode: str, subsampling: int, restarts: dict[str, int], small_strips: None
) -> None:
    strips = 0
    for size in SIZES:
        data = coded(picture(mode, size), subsampling=subsampling, **restarts)
        reader = JpegReader(BytesResource(data))
        strips += reader.reads_regions
        if reader.reads_regions:
            assert reader.unit[0] == size[0]
            assert reader.unit[1] < size[1]
        check(data, reader.reads_regions)
    assert strips >= 2


@pytest.mark.parametrize(("sampling", "block"), [("444", 8), ("422", 8), ("420", 16), ("440", 16), ("411", 8)])
def test_every_subsampling(sampling: str, block: int, small_strips: None) -> None:
    for size in SIZES:
        check(joined(picture("RGB", size), sampling, block), strips=True)
        check(bytes(imagecodecs.jpeg8_encode(np.asarray(picture("RGB", size)), subsampling=sampling)), strips=False)


def test_neighbors_are_decoded_with_a_strip_because_its_chroma_depends_on_them(
    small_strips: None, monkeypatch: Any
) -> None:
    data = joined(picture("RGB", seed=1), "420", 16)
    monkeypatch.setattr(Header, "subsampled_down", False)
    reader = JpegReader(BytesResource(data))
    part = Region(1, 0, *reader.spec.size)
    assert (reader.read(part) != by_pillow(data)[:, 1:]).any()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}])
def test_others_are_decoded_whole(mode: str, options: dict[str, Any]) -> None:
    for size in [(1, 1), (7, 9), *SIZES]:
        data = coded(picture(mode, size), **options)
        if min(size) > 8:
            check(data, strips=False)
        np.testing.assert_array_equal(imgrs.open(data).compute().reshape(*size[::-1], -1), by_pillow(data))


@pytest.mark.parametrize("stored", ["YCCK", "CMYK"])
def test_inks(stored: str) -> None:
    inks = np.asarray(picture("CMYK"))
    data = bytes(imagecodecs.jpeg8_encode(inks, colorspace="CMYK", outcolorspace=stored))
    check(data, strips=False)
    assert imgrs.open(data).mode == "CMYK"


@pytest.mark.parametrize("text", [ARITHMETIC, SCANS])
def test_rare_codings(text: str) -> None:
    check(base64.b64decode(text), strips=False)


def test_lossless_files_have_their_own_pixels() -> None:
    for image in (picture("RGB"), picture("L")):
        data = bytes(imagecodecs.jpeg8_encode(np.asarray(image), lossless=True))
        img = imgrs.open(data)
        np.testing.assert_array_equal(img.compute(), np.asarray(image))
        img.thumbnail((20, 20))
        assert max(img.compute().shape[:2]) == 20


def test_what_is_not_supported_says_so() -> None:
    deep = imagecodecs.jpeg8_encode(np.zeros((20, 20, 3), np.uint16), bitspersample=12)
    with pytest.raises(UnsupportedFormatError, match="of 12 bits"):
        imgrs.open(bytes(deep))
    data = bytearray(coded(picture("RGB")))
    data[read_header(io.BytesIO(data), "").frame + 1] = 0xC5
    with pytest.raises(UnsupportedFormatError, match="hierarchical"):
        imgrs.open(bytes(data))


@pytest.mark.parametrize("mode", MODES)
def test_our_own_files_are_read_by_strips(mode: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(jpeg_read, "STRIP", 1 << 18)
    monkeypatch.setattr("imgrs.io.jpeg.write.STRIP", 1 << 18)
    large = picture(mode, (1_000, 1_101))
    imgrs.frombytes(mode, large.size, large.tobytes()).save(tmp_path / "a.jpg", chunks=(1_000, 300))
    reader = JpegReader(resource_of(tmp_path / "a.jpg"))
    assert reader.reads_regions
    assert 1 << 17 < reader.unit[0] * reader.unit[1] * reader.spec.bands < 1 << 21
    check((tmp_path / "a.jpg").read_bytes(), strips=True)


def test_tiles_and_schedulers_do_not_matter(small_strips: None, tmp_path: Path) -> None:
    for name, options in {"strips": {"restart_marker_rows": 1}, "whole": {}}.items():
        path = tmp_path / f"{name}.jpg"
        path.write_bytes(coded(picture("RGB"), **options))
        img = imgrs.open(path).brightness(10)
        expected = np.minimum(by_pillow(path.read_bytes()).astype(int) + 10, 255)
        ways: list[dict[str, Any]] = [
            {"chunks": (16, 16), "scheduler": "threads", "workers": 3}, {"chunks": (50, 33), "scheduler": "processes"},
            {"chunks": (160, 16), "scheduler": "sync"}, {"chunks": (7, 200), "optimizer": "off"},
        ]  # fmt: skip
        for way in ways:
            np.testing.assert_array_equal(img.compute(**way), expected)


def test_readers_pickle(small_strips: None) -> None:
    data = coded(picture("RGB"), restart_marker_rows=1)
    reader = pickle.loads(pickle.dumps(JpegReader(BytesResource(data))))
    np.testing.assert_array_equal(reader.read(Region(3, 20, 40, 50)), by_pillow(data)[20:50, 3:40])


def test_images_in_one_file(tmp_path: Path) -> None:
    frames = [picture("RGB", seed=seed) for seed in range(3)]
    frames[0].save(tmp_path / "a.mpo", save_all=True, append_images=frames[1:])
    seen = Pillow.open(tmp_path / "a.mpo")
    for page in range(3):
        seen.seek(page)
        np.testing.assert_array_equal(imgrs.open(tmp_path / "a.mpo", page=page).compute(), np.asarray(seen))


# What is read


@pytest.fixture
def counted(monkeypatch: Any) -> list[int]:
    """The bytes of each read of a file."""
    found: list[int] = []
    real = FileResource.read

    def read(self: FileResource, offset: int = 0, length: int | None = None) -> bytes:
        data = real(self, offset, length)
        found.append(len(data))
        return data

    monkeypatch.setattr(FileResource, "read", read)
    return found


def test_a_crop_reads_a_part_of_the_file(tmp_path: Path, counted: list[int], monkeypatch: Any) -> None:
    monkeypatch.setattr(jpeg_read, "STRIP", 100_000)
    monkeypatch.setattr("imgrs.io.jpeg.markers.CHUNK", 4_096)
    noise = Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (1800, 900, 3), np.uint8))
    path = tmp_path / "a.jpg"
    path.write_bytes(coded(noise, restart_marker_rows=1))
    img = imgrs.open(path)
    counted.clear()
    np.testing.assert_array_equal(
        img.crop((10, 100, 300, 160)).compute(), by_pillow(path.read_bytes())[100:160, 10:300]
    )
    assert 0 < sum(counted) < path.stat().st_size / 2
    low = img.crop((10, 1720, 300, 1780))
    low.compute()
    counted.clear()
    imgrs.open(path).crop((10, 1400, 300, 1460)).compute()  # where its restarts are is known by now
    assert sum(counted) < path.stat().st_size / 2


def test_a_thumbnail_reads_the_file_once(tmp_path: Path, counted: list[int]) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(coded(Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8))))
    img = imgrs.open(path)
    img.thumbnail((90, 90))
    assert "shrink=8" in img.explain()
    counted.clear()
    img.compute()
    assert sum(counted) < path.stat().st_size + 300_000  # the header and the end are looked at again


# Memory


def test_a_scratch_file_has_the_pixels_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg_read, "LAG", 1 << 16)  # else all of a small image is in memory with the file, too
    for mode, options in itertools.product(MODES, ({}, {"progressive": True})):
        data = coded(picture(mode, (1_000, 700)), **options)
        img = imgrs.open(data)
        roomy = config.settings(memory_limit="1GiB", workers=1, chunks=(256, 200))
        limit = plan([img._node], roomy).forecast.peak_bytes - 1
        tight: dict[str, Any] = {"memory_limit": limit, "workers": 1, "chunks": (256, 200)}
        assert "decoded once in scratch files" in img.explain(**tight)
        np.testing.assert_array_equal(img.compute(**tight).reshape(700, 1_000, -1), by_pillow(data))


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="asks Linux what is in memory")
def test_pages_of_a_mapped_file_are_dropped_while_they_are_written(tmp_path: Path) -> None:
    scratch = Scratch.create(str(tmp_path), (4_000, 4_000, 3), "uint8")
    with scratch.mapped() as pixels:
        pixels[:] = np.arange(4_000, dtype=np.uint16).astype(np.uint8)[:, None, None]
        for _ in range(1_000):
            if resident(scratch.path) < 1 << 20:
                break
            time.sleep(0.01)
        assert resident(scratch.path) < 1 << 20
        del pixels
    part = scratch.read(slice(1_000, 1_300), slice(5, 900))
    assert part.shape == (300, 895, 3)
    assert (part == np.arange(1_000, 1_300).astype(np.uint8)[:, None, None]).all()
    assert (scratch.read(slice(255, 257), slice(0, 4_000))[:, :, 0] == [[255], [0]]).all()


def resident(path: str) -> int:
    """Bytes of a mapped file that are this process's own, as Linux counts them."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    total = 0
    for line in lines:
        if line.endswith(path):
            total += next(int(found.split()[1]) << 10 for found in lines if found.startswith("Rss:"))
    return total


def of_size(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header claims another size."""
    made = bytearray(data)
    struct.pack_into(">HH", made, read_header(io.BytesIO(data), "").frame + 5, height, width)
    return bytes(made)


def test_the_forecast_counts_what_a_decoder_holds() -> None:
    with dask.config.set({"imgrs.max-decode-bytes": 1 << 34, "imgrs.max-decode-ratio": 1 << 30}):
        peaks = {}
        for progressive in (False, True):
            img = imgrs.open(of_size(coded(picture("RGB"), progressive=progressive), 20_000, 20_000))
            settings = config.settings(memory_limit="8GiB", workers=2, chunks=(512, 512))
            made = plan([img._node], settings)
            assert not made.scratch
            peaks[progressive] = made.forecast.peak_bytes
        image = 20_000 * 20_000 * 3
        coefficients = 2 * image // 2
        assert peaks[False] < 200 << 20
        assert peaks[True] == pytest.approx(coefficients + image, rel=0.1)


def test_limits_are_those_of_what_is_decoded_at_a_time() -> None:
    small = picture("RGB")
    with dask.config.set({"imgrs.max-decode-ratio": 1 << 30}):
        assert imgrs.open(of_size(coded(small), 30_000, 30_000)).size == (30_000, 30_000)
        with pytest.raises(LimitError, match=r"coefficients .*max-decode-bytes"):
            imgrs.open(of_size(coded(small, progressive=True), 30_000, 30_000))


# Damage


def cuts(data: bytes, start: int, step: int) -> Iterator[bytes]:
    return (data[:length] for length in range(start, len(data), step))


@pytest.mark.parametrize("options", [{"restart_marker_rows": 1}, {}, {"progressive": True}])
def test_files_that_end_early_are_refused(options: dict[str, int], small_strips: None) -> None:
    data = coded(picture("RGB"), **options)
    start = read_header(io.BytesIO(data), "").coded
    for short in cuts(data, start, 41):
        for work in (_all, _tiled, _smaller):
            with pytest.raises(TruncatedImageError):
                work(short)
    with pytest.raises(TruncatedImageError):
        _all(data[:-1])


def _all(data: bytes) -> None:
    imgrs.open(data).compute()


def _tiled(data: bytes) -> None:
    imgrs.open(data).compute(chunks=(64, 48), scheduler="sync")


def _smaller(data: bytes) -> None:
    imgrs.open(data).thumbnail((20, 16)).compute()


def test_strips_before_the_end_of_a_short_file_are_read(small_strips: None) -> None:
    data = coded(picture("RGB"), restart_marker_rows=1)
    img = imgrs.open(data[: len(data) * 3 // 4])
    np.testing.assert_array_equal(img.crop((0, 0, 160, 60)).compute(), by_pillow(data)[:60])
    with pytest.raises(TruncatedImageError, match="ends before its image does"):
        img.crop((0, 100, 160, 131)).compute()


def test_a_preview_in_the_header_is_not_the_end_of_the_image() -> None:
    """The end of a thumbnail in the metadata stands before the coded data of a file that is cut off behind it."""
    data = coded(picture("RGB"))
    start = read_header(io.BytesIO(data), "").scan
    preview = coded(picture("RGB", (40, 30)))
    said = data[:2] + b"\xff\xe1" + struct.pack(">H", len(preview) + 2) + preview + data[2:]
    np.testing.assert_array_equal(imgrs.open(said).compute(), by_pillow(data))
    with pytest.raises(TruncatedImageError):
        imgrs.open(said[: len(preview) + 4 + start + 500]).compute()


def test_what_follows_an_image_is_ignored(monkeypatch: Any) -> None:
    monkeypatch.setattr(jpeg_read, "TAIL", 1_000)
    monkeypatch.setattr("imgrs.io.jpeg.markers.CHUNK", 999)
    for options in ({}, {"restart_marker_rows": 1}):
        data = coded(picture("RGB"), **options)
        np.testing.assert_array_equal(imgrs.open(data + b"film" * 5_000).compute(), by_pillow(data))


def _renumbered(data: bytearray, at: int) -> None:
    data[at + 1] ^= 2


def _removed(data: bytearray, at: int) -> None:
    del data[at : at + 2]


def _repeated(data: bytearray, at: int) -> None:
    data[at:at] = data[at : at + 2]


@pytest.mark.parametrize("change", [_renumbered, _removed, _repeated])
def test_restarts_that_are_not_what_the_header_says(
    change: Callable[[bytearray, int], None], small_strips: None
) -> None:
    good = coded(picture("RGB"), restart_marker_rows=1)
    places = [at for at in range(read_header(io.BytesIO(good), "").coded, len(good) - 1) if _restart(good, at)]
    assert len(places) == -(-131 // 16) - 1
    for at in places:
        data = bytearray(good)
        change(data, at)
        for work in (_all, _tiled):
            with pytest.raises(CorruptImageError):
                work(bytes(data))


def _restart(data: bytes, at: int) -> bool:
    return data[at] == 0xFF and 0xD0 <= data[at + 1] <= 0xD7


def test_a_header_that_claims_more_restarts_than_there_are(small_strips: None) -> None:
    data = coded(picture("RGB"), restart_marker_rows=1)
    with pytest.raises(CorruptImageError, match="restarts"):
        imgrs.open(of_size(data, 160, 200)).compute()
    with pytest.raises(CorruptImageError, match="restarts"):
        imgrs.open(of_size(data, 160, 100)).compute()


def test_headers_without_end_are_refused() -> None:
    with pytest.raises(CorruptImageError, match="segments"):
        imgrs.open(b"\xff\xd8" + b"\xff\xfe\0\2" * 20_000)
    with pytest.raises(CorruptImageError, match="tables"):
        imgrs.open(b"\xff\xd8" + (b"\xff\xdb\xff\xff" + bytes(65_533)) * 20)
    with pytest.raises(CorruptImageError, match="at byte 2"):
        imgrs.open(b"\xff\xd8\xff\xd9" + bytes(50))
    with pytest.raises(TruncatedImageError, match="header"):
        imgrs.open(b"\xff\xd8\xff\xe0\0\x10JFIF")
