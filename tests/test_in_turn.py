"""Files that are decoded from the top down, by several tasks in turn."""

from __future__ import annotations

import struct
import threading
import time
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import imgrs
from imgrs.config import settings
from imgrs.demo import photograph
from imgrs.graph.op import Source
from imgrs.io.ahead import one_ahead
from imgrs.io.jpeg import write as jpeg_write
from imgrs.io.png import chunks as png_chunks
from imgrs.io.png import read as png_read
from imgrs.io.png import write as png_write
from imgrs.plan import layout
from imgrs.plan.choose import plan
from imgrs.run import tasks
from imgrs.types import Pixels, Region

WIDTH, HEIGHT, ROWS = 130, 603, 16
PIPELINES = {
    "as it is": lambda img: img,
    "tone": lambda img: img.brightness(10),
    "blur": lambda img: img.blur(3.0),
    "resize": lambda img: img.resize((77, 201)),
    "enlarge": lambda img: img.resize((200, 1500)),
    "crop": lambda img: img.crop((10, 200, 90, 330)),
    "flip": lambda img: img.flip_top_bottom(),
    "turn": lambda img: img.rotate(90),
    "rotate": lambda img: img.rotate(7),
    "statistics first": lambda img: img.auto_contrast(),
    "with itself": lambda img: img.blend("normal", img.flip_top_bottom(), img.convert("L")),
}  # fmt: skip


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PNG that is decoded in pieces of 16 rows."""
    monkeypatch.setattr(layout, "DECODED_BYTES", WIDTH * 3 * ROWS)
    photograph(HEIGHT).crop((0, 0, WIDTH, HEIGHT)).save(tmp_path / "source.png")
    return tmp_path / "source.png"


def pieces(img: imgrs.Image, **options: Any) -> int:
    made = plan([img._node], settings(**options))
    return max(stage.grid.rows for stage in made.stages if stage.kind == "decode")


@pytest.mark.parametrize("options", [{}, {"scheduler": "sync"}, {"chunks": (64, 48)}, {"chunks": (50, 1000)}])
@pytest.mark.parametrize("name", PIPELINES)
def test_the_pixels_are_those_of_a_file_decoded_whole(path: Path, name: str, options: dict[str, Any]) -> None:
    img = PIPELINES[name](imgrs.open(path))
    assert pieces(img, **options) == -(-HEIGHT // ROWS)
    assert pieces(img, scheduler="processes") == 1
    with PIL.Image.open(path) as image:
        whole = PIPELINES[name](imgrs.fromarray(np.array(image)))
    assert np.array_equal(img.compute(**options), whole.compute())


@pytest.mark.parametrize("target", ["out.png", "out.jpg", "out.tif", "out.webp"])
def test_saving_gives_the_bytes_of_a_file_decoded_whole(path: Path, tmp_path: Path, target: str) -> None:
    img = imgrs.open(path).brightness(10)
    img.save(tmp_path / target)
    img.save(tmp_path / f"whole-{target}", scheduler="processes")
    assert (tmp_path / target).read_bytes() == (tmp_path / f"whole-{target}").read_bytes()


@pytest.mark.parametrize("scheduler", ["threads", "sync"])
@pytest.mark.parametrize("target", [None, "out.png", "out.jpg"])
def test_few_pieces_are_in_memory_at_a_time(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: str, target: str | None
) -> None:
    monkeypatch.setattr(png_write, "STRIP", WIDTH * 3 * ROWS)
    monkeypatch.setattr(jpeg_write, "STRIP", WIDTH * 3 * ROWS)
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = []
    decode = tasks.Decoding.__call__

    class Piece(np.ndarray[Any, Any]):
        """An array that can be counted."""

        __hash__ = object.__hash__  # type: ignore[assignment]

    def counted(self: tasks.Decoding, region: Region, *after: Any) -> Pixels:
        most.append(sum(piece.base is None for piece in alive))
        piece = np.ndarray.__new__(Piece, (region.height, region.width, 3), np.uint8)
        piece[:] = decode(self, region)
        alive.add(piece)
        return piece

    monkeypatch.setattr(tasks.Decoding, "__call__", counted)
    img = imgrs.open(path).brightness(10)
    options: dict[str, Any] = {"scheduler": scheduler, "chunks": (WIDTH, ROWS), "workers": 2}
    if target is None:
        img.compute(**options)
    else:
        img.save(tmp_path / target, **options)
    assert len(most) == -(-HEIGHT // ROWS)
    assert max(most) <= 5


def test_the_forecast_does_not_grow_with_the_height(path: Path, tmp_path: Path) -> None:
    kept = []
    for times in (1, 3):
        tall = tmp_path / f"{times}.png"
        PIL.Image.fromarray(np.tile(np.array(PIL.Image.open(path)), (times, 1, 1))).save(tall)
        made = plan([imgrs.open(tall).brightness(10)._node], settings(chunks=(64, 32)))
        kept.append(made.forecast.kept_bytes)
    row = WIDTH * 3
    assert kept[0] == kept[1]
    assert 32 * row + 4 * ROWS * row <= kept[0] < HEIGHT * row / 4  # a row of tiles, and the pieces that are under way


def test_what_a_second_stage_needs_again_is_kept_whole(path: Path) -> None:
    img = imgrs.open(path)
    assert plan([img.auto_contrast()._node], settings()).forecast.kept_bytes >= img._node.spec.nbytes


def test_the_forecast_counts_the_decoder_and_the_time_that_it_alone_takes(path: Path) -> None:
    reader = imgrs.open(path)._node
    made = plan([reader], settings(chunks=(64, 32)))
    alone = plan([imgrs.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8))._node], settings(chunks=(64, 32)))
    assert isinstance(reader.op, Source)
    assert made.forecast.peak_bytes >= alone.forecast.peak_bytes + reader.op.decoding_bytes > 0
    many = plan([reader], settings(chunks=(64, 32), workers=64))
    few = plan([reader], settings(chunks=(64, 32), workers=2))
    assert many.forecast.seconds > few.forecast.seconds / 8  # one thread decodes, however many there are


def test_a_plan_with_scratch_files_decodes_whole(path: Path) -> None:
    img = imgrs.open(path)
    assert isinstance(img._node.op, Source)
    made = plan([img.auto_contrast().rotate(90)._node], settings(memory_limit=img._node.op.decoding_bytes + 150_000))
    assert made.scratch
    assert [stage.grid.count for stage in made.stages if stage.kind == "decode"] == [1]
    limit = made.settings.memory_limit
    assert np.array_equal(img.auto_contrast().rotate(90).compute(memory_limit=limit), img.auto_contrast().rotate(90))


def test_a_run_that_failed_leaves_no_threads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_read, "STRIP", WIDTH * 3 * ROWS)  # so that a thread inflates ahead

    def fail(pixels: Pixels) -> Pixels:
        raise ValueError("on purpose")

    imgrs.open(path).brightness(1).compute(workers=2)  # Dask keeps its threads
    errors, before = [], threading.active_count()
    for _ in range(5):
        with pytest.raises(imgrs.ComputeError) as error:
            imgrs.open(path).map_tiles(fail).compute(workers=2, chunks=(WIDTH, ROWS))  # long before the last row
        errors.append(error)  # and with it the frames that hold the run
    monkeypatch.setattr(png_chunks, "PIECE", 64)  # so that another one waits when inflating fails
    damaged = bytearray(path.read_bytes())
    at = max(damaged.index(b"IDAT", start) for start in range(0, len(damaged) // 2, 500))
    (length,) = struct.unpack_from(">I", damaged, at - 4)
    damaged[at + 4 + length // 3 : at + 4 + length // 2] = bytes(length // 2 - length // 3)
    struct.pack_into(">I", damaged, at + 4 + length, zlib.crc32(damaged[at : at + 4 + length]))
    with pytest.raises(imgrs.CorruptImageError) as damage:
        imgrs.open(bytes(damaged)).compute(workers=2, chunks=(WIDTH, ROWS))
    end = time.monotonic() + 20
    while threading.active_count() > before and time.monotonic() < end:  # they end by themselves
        time.sleep(0.01)
    assert threading.active_count() <= before, (errors, damage)


def test_damage_behind_the_last_row_is_seen(path: Path) -> None:
    data = bytearray(path.read_bytes())
    at = data.rindex(b"IEND") - 12  # in the checksum of all rows, whose chunk gets a right checksum again
    data[at + 3] ^= 1
    start = data.rindex(b"IDAT", 0, at + 4)
    data[at + 4 : at + 8] = zlib.crc32(data[start : at + 4]).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(imgrs.errors.CorruptImageError):
        imgrs.open(path).brightness(10).compute()


def test_closing_early_does_not_wait_for_the_item_in_the_making() -> None:
    """The garbage collector closes what a failed run leaves, also in a thread that holds what ending a thread takes."""
    asked, goes_on = threading.Event(), threading.Event()

    def made() -> Iterator[int]:
        yield 1
        asked.set()
        assert goes_on.wait(60)
        yield 2

    items = one_ahead(made())
    assert next(items) == 1
    assert asked.wait(60)
    closing = threading.Thread(target=items.close, daemon=True)
    closing.start()
    closing.join(20)
    waited = closing.is_alive()
    goes_on.set()
    assert not waited


def test_items_come_one_ahead_and_with_their_error() -> None:
    made: list[int] = []

    def counted() -> Iterator[int]:
        for i in range(3):
            made.append(i)
            yield i
        raise ValueError("the end")

    found: list[int] = []
    with pytest.raises(ValueError, match="the end"):
        found.extend(one_ahead(counted()))
    assert (found, made) == ([0, 1, 2], [0, 1, 2])
