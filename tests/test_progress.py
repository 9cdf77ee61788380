"""Bars: what they say is right over the whole call, they end complete, and stay quiet where nobody looks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imgrs
from imgrs.config import settings
from imgrs.plan.choose import plan
from imgrs.run import progress
from imgrs.run.graph import Builder
from imgrs.run.progress import Bar, Progress, Text
from imgrs.types import Pixels

ROOT = str(Path(__file__).parent.parent)
LAST = re.compile(r"(\w+): ([\d,]+) of ([\d,]+) tiles, (\d+)%, ([\d.]+) megapixels/s, (0:00:00) left\n")


def image() -> imgrs.Image:
    return imgrs.fromarray(np.arange(500 * 400, dtype=np.uint32).astype(np.uint8).reshape(400, 500)).blur(2)


def test_rates_are_of_the_whole_call() -> None:
    half = Progress("save", 5, 10, 0.5, 100_000_000, 20.0)
    assert half.megapixels_per_second == 2.5
    assert half.seconds_left == 20.0
    assert str(half) == "save: 5 of 10 tiles, 50%, 2.5 megapixels/s, 0:00:20 left"
    assert Progress("save", 0, 10, 0.0, 100, 20.0).seconds_left is None
    assert progress.clock(3725.4) == "1:02:05"


@pytest.mark.parametrize("scheduler", ["threads", "sync", "processes"])
def test_a_bar_counts_every_tile_and_leaves_standard_output_alone(
    scheduler: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {"scheduler": scheduler, "workers": 2, "chunks": (128, 128), "optimizer": "exact"}
    with imgrs.options(progress=True, **options):
        image().compute()
        image().save(tmp_path / "a.tif", tile=128)
        imgrs.save_all({tmp_path / "b.tif": image(), tmp_path / "c.png": image().invert()}, statistics=[image().mean()])
    out, err = capfd.readouterr()
    assert out == ""
    lines = [found.groups() for found in LAST.finditer(err)]
    assert [line[0] for line in lines] == ["compute", "save", "save"], err
    assert all(line[1] == line[2] and line[3] == "100" and float(line[4]) > 0 for line in lines), err
    assert [line[1] for line in lines[:2]] == ["16", "16"]


def test_a_bar_of_a_cluster_counts_what_is_asked_for(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from distributed import Client

    with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None) as client:
        capfd.readouterr()
        options: dict[str, Any] = {"scheduler": client, "chunks": (128, 128), "optimizer": "exact"}
        array = image().compute(progress=True, **options)
        image().save(tmp_path / "a.tif", tile=128, progress=True, **options)
    lines = [found.groups() for found in LAST.finditer(capfd.readouterr().err)]
    assert [(line[0], line[1], line[2], line[3]) for line in lines] == [
        ("compute", "16", "16", "100"), ("save", "16", "16", "100")
    ]  # fmt: skip
    np.testing.assert_array_equal(array, image().compute())
    np.testing.assert_array_equal(imgrs.open(tmp_path / "a.tif").compute(), array)


def test_a_bar_and_a_monitor_agree(capfd: pytest.CaptureFixture[str]) -> None:
    with imgrs.monitor() as m:
        image().auto_contrast().compute(progress=True, chunks=(128, 128), scheduler="threads")
    (line,) = (found.groups() for found in LAST.finditer(capfd.readouterr().err))
    assert int(line[1]) == m.runs[0].tiles == m.runs[0].tiles_planned


def test_it_is_quiet_where_standard_error_is_no_terminal(capfd: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(progress, "DELAY", 0.0)
    image().compute(chunks=(128, 128))
    image().compute(chunks=(128, 128), progress=False)
    assert capfd.readouterr() == ("", "")


def test_the_shares_of_all_tiles_are_one_and_grow_with_what_is_done() -> None:
    made = plan([image().auto_contrast()._node], settings(chunks=(128, 128), scheduler="threads"))
    builder = Builder(made, lambda node: node.key, None)
    keys = builder.outputs(made.stages[-1], None, lambda row, column: ("tile", row, column), lambda i: ())
    bar = Bar("compute")
    bar.expect(builder, builder.graph)
    assert bar.progress.total == made.forecast.tasks
    assert bar.progress.pixels == 500 * 400
    for key in keys[:8]:
        bar.finished(key)
        bar.finished(key)  # nothing counts twice
    half = bar.progress
    assert (half.done, 0 < half.share < 1) == (8, True)
    for key in builder.graph:
        bar.finished(key)
    assert bar.progress.done == made.forecast.tasks
    assert bar.progress.share == pytest.approx(1)


def test_a_save_that_is_gone_on_with_counts_what_is_left(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    calls: list[int] = []

    def slow(tile: Pixels) -> Pixels:
        calls.append(1)
        if len(calls) == 7:
            raise ZeroDivisionError
        return tile

    slow.__dask_tokenize__ = lambda: "slow"  # type: ignore[attr-defined]  # the same function both times
    img = image().map_tiles(slow)
    options: dict[str, Any] = {"tile": 128, "chunks": (128, 128), "scheduler": "sync", "resume": True}
    with pytest.raises(imgrs.ComputeError):
        img.save(tmp_path / "a.tif", **options)
    capfd.readouterr()
    img.save(tmp_path / "a.tif", progress=True, **options)
    (line,) = (found.groups() for found in LAST.finditer(capfd.readouterr().err))
    assert line[1] == line[2] == str(16 - 6)
    assert line[3] == "100"


def test_a_call_within_a_call_shows_no_second_bar(capfd: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.001)
    shown = threading.Event()
    monkeypatch.setattr(Text, "show", lambda self, state: shown.set())

    def nested(tile: Pixels) -> Pixels:
        shown.wait(20)
        return image().crop((0, 0, tile.shape[1], tile.shape[0])).compute(progress=True)

    image().map_tiles(nested).compute(progress=True, scheduler="sync", chunks=(500, 400))
    assert len(LAST.findall(capfd.readouterr().err)) == 1


def test_lines_of_text_are_few(monkeypatch: Any) -> None:
    written: list[str] = []
    text = Text(written.append)
    for second in range(1, 1001):
        text.show(Progress("save", second, 1000, second / 1000, 10**9, float(second)))
    text.close(Progress("save", 1000, 1000, 1.0, 10**9, 1000.0))
    assert 10 <= len(written) <= 20
    assert all(line.endswith("\n") and "\r" not in line and "\x1b" not in line for line in written)
    assert written[-1] == "save: 1,000 of 1,000 tiles, 100%, 1.0 megapixels/s, 0:00:00 left\n"


TERMINAL = """\
import sys, time
import imgrs
from imgrs.run import progress
progress.DELAY = {delay}
img = imgrs.new("L", (200, 200)).map_tiles(lambda tile: (time.sleep({sleep}), tile)[1])
{call}
"""


def in_terminal(call: str, delay: float = 0.0, sleep: float = 0.05) -> str:
    """What a script writes to a terminal that is its standard error."""
    import pty

    ours, theirs = pty.openpty()
    script = TERMINAL.format(call=call, delay=delay, sleep=sleep)
    environment = {**os.environ, "PYTHONPATH": ROOT, "TERM": "xterm", "COLUMNS": "150", "LINES": "50"}
    run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    parts: list[bytes] = list(_read(ours))
    out, _ = run.communicate(timeout=60)
    os.close(ours)
    assert run.returncode == 0, parts
    assert out == b""
    return b"".join(parts).decode()


def _read(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            part = os.read(descriptor, 1 << 16)
        except OSError:  # what Linux says when the other end is closed
            return
        if not part:
            return
        yield part


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")
def test_a_terminal_shows_a_bar_which_goes_away() -> None:
    told = in_terminal('img.compute(chunks=(50, 50), scheduler="sync")')
    assert re.search(r"compute.*\d+/16 tiles.*[\d.]+ megapixels/s.*\d:\d\d:\d\d left", told), told
    assert told.rstrip("\r\n").endswith("\x1b[2K"), repr(told[-80:])  # the line is erased
    assert in_terminal('img.compute(chunks=(50, 50), progress=False, scheduler="sync")') == ""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")
def test_a_short_call_shows_no_bar_and_dasks_own_is_enough() -> None:
    assert in_terminal("img.compute(chunks=(50, 50))", delay=60.0, sleep=0.0) == ""
    call = 'from dask.callbacks import Callback\nwith Callback():\n    img.compute(chunks=(50, 50), scheduler="sync")'
    assert in_terminal(call) == ""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")
def test_a_live_monitor_draws_its_table_in_a_terminal() -> None:
    call = 'with imgrs.monitor(live=True):\n    img.compute(chunks=(50, 50), scheduler="sync")'
    told = in_terminal(call)
    assert "stage 1: map_tiles (output)" in told
    assert "16 of 16 tiles" in told
    assert " left" not in told  # nor does a bar draw over it


def test_dasks_callbacks_are_called_beside_a_bar(capfd: pytest.CaptureFixture[str]) -> None:
    from dask.callbacks import Callback

    done: list[Any] = []
    with Callback(posttask=lambda key, *more: done.append(key)):
        image().compute(progress=True, chunks=(128, 128), scheduler="threads")
    assert len(done) >= 16


def test_a_notebook_shows_a_widget(monkeypatch: Any, capfd: pytest.CaptureFixture[str]) -> None:
    ipywidgets = pytest.importorskip("ipywidgets")
    made: list[Any] = []
    real = ipywidgets.FloatProgress

    def bar(**given: Any) -> Any:
        made.append(real(**given))
        return made[-1]

    def slow(tile: Any) -> Any:
        time.sleep(0.005)  # longer than the bar waits between two looks
        return tile

    monkeypatch.setattr(progress, "_notebook", lambda: True)
    monkeypatch.setattr(progress, "INTERVAL", 0.001)
    monkeypatch.setattr(ipywidgets, "FloatProgress", bar)
    image().map_tiles(slow).compute(progress=True, chunks=(64, 64), scheduler="sync")
    assert len(made) == 1
    assert 0 < made[0].value <= 1
    assert "megapixels/s" not in capfd.readouterr().err


def test_a_batch_shows_one_bar_that_counts_images(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    for name in "abc":
        image().save(tmp_path / f"{name}.png")
    asked: list[bool | None] = []

    def shown(ask: bool | None, what: str) -> Any:
        asked.append(ask)
        return progress.shown(ask, what)

    monkeypatch.setattr("imgrs.run.save.shown", shown)
    imgrs.batch(str(tmp_path / "*.png"), imgrs.Image.invert, str(tmp_path / "{stem}.tif"), progress=True, workers=2)
    told = capfd.readouterr().err
    assert re.fullmatch(r"batch: 3 of 3 images, 100%, [\d.]+ megapixels/s, 0:00:00 left\n", told), told
    assert asked == [False] * 3


def test_images_that_are_done_tell_how_large_the_others_are() -> None:
    bar = Bar("batch")
    bar.images(4)
    bar.image(100)
    bar.image(300)
    half = bar.progress
    assert (half.done, half.total, half.share, half.pixels, half.unit) == (2, 4, 0.5, 800, "images")


def test_progress_is_true_or_false() -> None:
    with pytest.raises(imgrs.ArgumentError, match="progress must be True or False, got 'yes'"):
        image().compute(progress="yes")
