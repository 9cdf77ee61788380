"""JPEG files without restart markers, cut into strips that are decoded apart."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import pyvips

import imgrs
from imgrs.demo import photograph
from imgrs.errors import CorruptImageError, TruncatedImageError
from imgrs.io import open_source
from imgrs.io.jpeg import read as jpeg_read
from imgrs.io.jpeg import walk as jpeg_walk
from imgrs.io.resource import resource_of
from imgrs.types import Pixels

WIDTH, HEIGHT = 333, 517


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files are cut like large ones, into strips of 8 or more rows of coded units."""
    monkeypatch.setattr(jpeg_read, "STREAMED", 0)
    monkeypatch.setattr(jpeg_read, "STRIP", WIDTH * 3 * 16)
    monkeypatch.setattr(jpeg_walk, "PIECE", 1000)


def pixels(mode: str) -> PIL.Image.Image:
    image = PIL.Image.fromarray(photograph(HEIGHT).crop((0, 0, WIDTH, HEIGHT)).compute())
    return image.convert(mode)


def written(path: Path, mode: str, **options: Any) -> Path:
    pixels(mode).save(path, "JPEG", **options)
    return path


def whole(path: Path) -> Pixels:
    with PIL.Image.open(path) as image:
        found = np.array(image)
    return found.reshape(HEIGHT, WIDTH, -1)


@pytest.mark.parametrize("quality", [5, 75, 100])
@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize(("mode", "subsampling"), [("L", 0), ("RGB", 0), ("RGB", 1), ("RGB", 2), ("CMYK", 0)])
def test_strips_are_the_rows_of_the_whole(
    tmp_path: Path, mode: str, subsampling: int, optimize: bool, quality: int
) -> None:
    path = written(tmp_path / "a.jpg", mode, subsampling=subsampling, quality=quality, optimize=optimize)
    reader = open_source(path)
    assert reader.streams()
    strips = list(reader.strips())
    assert len(strips) > 2
    assert np.array_equal(np.concatenate(strips), whole(path))


@pytest.mark.parametrize("subsample", ["on", "off"])
def test_files_of_another_encoder(tmp_path: Path, subsample: str) -> None:
    path = tmp_path / "a.jpg"
    image = pyvips.Image.new_from_array(np.array(pixels("RGB")))
    image.jpegsave(str(path), Q=90, subsample_mode=subsample, optimize_coding=True, trellis_quant=False)
    assert np.array_equal(np.concatenate(list(open_source(path).strips())), whole(path))


def test_noise_and_extremes(tmp_path: Path) -> None:
    """All sizes of coefficients, and long codes."""
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 2, (HEIGHT, WIDTH, 3), np.uint8) * 255
    noise[100:300, 50:200] = 0
    noise[300:400] = 255
    choices: list[dict[str, Any]] = [
        {"quality": 100, "subsampling": 0},
        {"quality": 100, "optimize": True},
        {"quality": 1},
    ]
    for options in choices:
        path = tmp_path / "a.jpg"
        PIL.Image.fromarray(noise).save(path, **options)
        assert np.array_equal(np.concatenate(list(open_source(path).strips())), whole(path))


@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_rows": 1}])
def test_others_are_not_walked(tmp_path: Path, options: dict[str, Any]) -> None:
    assert not open_source(written(tmp_path / "a.jpg", "RGB", **options)).streams()


def test_pipelines_and_saves_are_those_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.jpg", "RGB", quality=90)
    img = imgrs.open(path).blur(2).brightness(10)
    walked = img.compute(chunks=(100, 64))
    img.save(tmp_path / "walked.tif")
    monkeypatch.setattr(jpeg_read, "STREAMED", 1 << 40)
    img = imgrs.open(path).blur(2).brightness(10)
    assert np.array_equal(walked, img.compute())
    img.save(tmp_path / "whole.tif")
    assert (tmp_path / "walked.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()


def until_error(strips: Iterator[Pixels]) -> tuple[list[Pixels], Exception | None]:
    found: list[Pixels] = []
    try:
        found.extend(strips)
    except CorruptImageError as error:
        return found, error
    return found, None


def test_a_file_cut_short_gives_the_rows_that_are_there(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jpg", "RGB", quality=90)
    good, data = whole(path), path.read_bytes()
    for length in (len(data) - 2 - 40, len(data) * 3 // 4, len(data) // 2):
        path.write_bytes(data[:length])
        strips, error = until_error(open_source(path).strips())
        rows = sum(map(len, strips))
        assert isinstance(error, TruncatedImageError)
        assert rows < HEIGHT
        if rows:
            assert np.array_equal(np.concatenate(strips), good[:rows])
        with pytest.raises(TruncatedImageError):
            imgrs.open(path).brightness(1).compute()


def test_an_end_marker_too_early_is_seen(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jpg", "RGB", quality=90)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"\xff\xd9" + bytes(5000))
    with pytest.raises(TruncatedImageError, match="row"):
        imgrs.open(path).brightness(1).compute()


def test_random_damage_raises_our_errors_or_gives_pixels(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jpg", "RGB", quality=90)
    data, rng, raised = path.read_bytes(), random.Random(4), 0
    for _ in range(150):
        bad = bytearray(data)
        for _ in range(rng.choice((1, 3, 40))):
            bad[rng.randrange(len(data) // 8, len(data))] = rng.randrange(256)
        try:
            reader = open_source(_put(path, bytes(bad)))
            strips, error = until_error(reader.strips())
        except imgrs.errors.ImgrsError:
            continue
        raised += error is not None
        assert error is not None or sum(map(len, strips)) == HEIGHT
    assert raised > 20


# Files made symbol by symbol


def segment(code: int, content: bytes) -> bytes:
    return bytes((0xFF, code)) + struct.pack(">H", len(content) + 2) + content


def table(kind: int, symbols: bytes, counts: bytes = b"") -> bytes:
    """A table whose symbols have codes of 4 bits each, 0000 the first; or as many of each length as ``counts`` says."""
    return segment(0xC4, bytes((kind,)) + (counts or bytes((0, 0, 0, len(symbols)))).ljust(16, b"\0") + symbols)


def made(
    codes: str,
    size: tuple[int, int] = (8, 8),
    differences: bytes = table(0x00, bytes(range(13))),
    others: bytes = table(0x10, bytes((0x00, 0x01, 0xF1, 0xF0, 0x0F))),
    components: bytes = bytes((1,)),
    scanned: bytes = b"",
) -> bytes:
    """A JPEG of some bits; components are not subsampled."""
    bits = codes.replace(" ", "")
    bits += "1" * (-len(bits) % 8)
    coded = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    frame = struct.pack(">BHHB", 8, *size[::-1], len(components)) + b"".join(bytes((c, 0x11, 0)) for c in components)
    scan = bytes((len(components),)) + b"".join(bytes((c, 0)) for c in scanned or components) + bytes((0, 63, 0))
    tables = segment(0xDB, bytes((0, *(1,) * 64))) + segment(0xC0, frame) + differences + others
    return b"\xff\xd8" + tables + segment(0xDA, scan) + coded + b"\xff\xd9"


def walked(data: bytes) -> list[bytes]:
    reader = open_source(io.BytesIO(data))
    assert isinstance(reader, jpeg_read.JpegReader)
    return list(jpeg_walk.Walk(reader._header, reader.resource).rows())


def test_files_made_here_are_sound() -> None:
    data = made("0001 1 0000")
    assert len(walked(data)) == 1
    assert np.array_equal(np.concatenate(list(open_source(io.BytesIO(data)).strips())), decoded_by_pillow(data))


def decoded_by_pillow(data: bytes) -> Pixels:
    with PIL.Image.open(io.BytesIO(data)) as image:
        return np.array(image).reshape(image.height, image.width, -1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (made("1100 000000000000 0000"), "row 0 .* damaged"),  # a difference of 12 bits
        (made("1011 11111111111 0000" * 2, size=(8, 16)), "row 1 .* damaged"),  # a sum of 12 bits
        (made("0000 0011 0011 0011 0010 1 0000"), "row 0 .* damaged"),  # a coefficient behind the last
        (made("1111" + "0" * 32), "row 0 .* damaged"),  # a code that is in no table
        (made("0000", differences=table(0, bytes(9), bytes((9,)))), "more of them than there are"),
        (made("0000 0000", scanned=bytes((2,))), "does not have"),
    ],
)
def test_damage_is_told(data: bytes, message: str) -> None:
    with pytest.raises(CorruptImageError, match=message):
        walked(data)


def test_components_may_share_a_name() -> None:
    data = made("0001 1 0000 0000 0000 0001 0 0000", components=bytes((1, 1, 1)))
    assert len(walked(data)) == 1
    assert np.array_equal(np.concatenate(list(open_source(io.BytesIO(data)).strips())), decoded_by_pillow(data))


@pytest.mark.parametrize("piece", [1 << 10, 1 << 16])
@pytest.mark.parametrize(("across", "down"), [(64, 40), (1, 5000), (500, 3)])
def test_data_may_grow_manifold_when_it_is_written_again(
    monkeypatch: pytest.MonkeyPatch, piece: int, across: int, down: int
) -> None:
    """A code of one bit here takes nine there, a byte of ones a zero more, and a row ends with a byte."""
    monkeypatch.setattr(jpeg_walk, "PIECE", piece)
    differences, others = table(0, bytes((11, 0)), bytes((1, 1))), table(0x10, bytes((0,)), bytes((1,)))
    codes = "".join(f"0{1 - i % 2}{'1' * 10 if i % 2 == 0 else '0' * 10}0" for i in range(across * down))
    data = made(codes, (8 * across, 8 * down), differences=differences, others=others)
    rows = walked(data)
    assert len(rows) == down
    assert sum(map(len, rows)) > 1.2 * (len(data) - data.index(b"\xff\xda"))
    assert np.array_equal(np.concatenate(list(open_source(io.BytesIO(data)).strips())), decoded_by_pillow(data))


def test_a_missing_end_is_told_as_for_small_files(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jpg", "RGB", quality=90)
    path.write_bytes(path.read_bytes()[:-2])
    strips, error = until_error(open_source(path).strips())
    assert sum(map(len, strips)) == HEIGHT
    assert isinstance(error, TruncatedImageError)


def _put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_only_large_files_are_cut(monkeypatch: Any) -> None:
    file = io.BytesIO()
    PIL.Image.new("RGB", (100, 80)).save(file, "JPEG")
    reader = jpeg_read.JpegReader(resource_of(file.getvalue()))
    monkeypatch.setattr(jpeg_read, "STREAMED", 100 * 80 * 3)
    assert not reader.streams()
    monkeypatch.setattr(jpeg_read, "STREAMED", 100 * 80 * 3 - 1)
    assert reader.streams()
