"""What a monitor says agrees with itself, with the plan, with the file, and with the system; unwatched runs pay nothing."""

from __future__ import annotations

import contextvars
import json
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import dask
import numpy as np
import numpy.typing as npt
import psutil
import pytest
import tifffile
from distributed.protocol import pickle

import imgrs
from imgrs.graph.op import Point, op
from imgrs.run.watch import Run
from imgrs.run.watched import Watched, resident
from imgrs.types import Pixels, Spec

HERE = ("threads", "sync")
ALL = (*HERE, "processes")


@pytest.fixture
def noise_tiff(tmp_path: Path) -> Path:
    path = tmp_path / "noise.tif"
    noise: npt.NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (600, 700, 3), np.uint8)
    imgrs.fromarray(noise).save(path, tile=128)
    return path


def graphs(img: imgrs.Image) -> tuple[dict[Any, Any], Any]:
    """The graph that a run hands to a scheduler."""
    seen: list[dict[Any, Any]] = []

    def get(graph: Any, keys: Any, **options: Any) -> Any:
        seen.append(dict(graph))
        return dask.get(graph, keys)

    array = img.compute(scheduler=get, chunks=(128, 128), optimizer="exact")
    return seen[0], array


def test_nothing_is_wrapped_where_nothing_watches(noise_tiff: Path) -> None:
    img = imgrs.open(noise_tiff).blur(2).auto_contrast()
    plain, expected = graphs(img)
    with imgrs.monitor():
        watched, got = graphs(img)
    again, _ = graphs(img)
    assert list(plain) == list(watched) == list(again)
    assert not any(isinstance(task[0], Watched) for task in plain.values() if isinstance(task, tuple))
    functions = {key: named(task[0]) for key, task in plain.items() if isinstance(task, tuple)}
    assert functions == {key: named(task[0]) for key, task in again.items() if isinstance(task, tuple)}
    assert functions == {key: named(task[0].function) for key, task in watched.items() if isinstance(task, tuple)}
    np.testing.assert_array_equal(got, expected)


def named(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def check(run: Run) -> None:
    """The sums agree: parts with stages, stages with the run, the run with its plan."""
    assert run.error is None
    assert run.lost == 0
    assert run.tasks == run.tasks_planned > 0
    assert run.tiles == run.tiles_planned == run.plan.forecast.tasks
    assert run.pixels == run.plan.forecast.pixels
    assert sum(stage.tasks for stage in run.stages) == run.tasks
    for stage in run.stages:
        parts = stage.parts.values()
        assert stage.pixels == stage.image[0] * stage.image[1]
        assert 0 < sum(part.seconds for part in parts) <= stage.seconds
        assert stage.between_seconds == pytest.approx(stage.seconds - sum(part.seconds for part in parts))
        assert sum(part.cpu_seconds for part in parts) <= stage.cpu_seconds
        assert stage.seconds <= run.seconds * run.workers
        assert stage.span_seconds <= run.seconds + 0.02  # by another clock
        assert max(part.peak_bytes for part in parts) <= stage.peak_bytes
    assert sum(stage.seconds for stage in run.stages) <= run.seconds * run.workers
    assert sum(stage.cpu_seconds for stage in run.stages) <= run.cpu_seconds + 0.02  # ticks of the clock
    assert run.start_bytes <= run.peak_bytes
    assert run.share == pytest.approx(1)
    assert run.megapixels_per_second == pytest.approx(run.image_pixels / 1e6 / run.seconds)


@pytest.mark.parametrize("scheduler", ALL)
def test_the_parts_agree_with_the_whole_and_with_the_plan(scheduler: str, noise_tiff: Path, tmp_path: Path) -> None:
    with imgrs.monitor() as m, imgrs.options(chunks=(256, 256), scheduler=scheduler, workers=2, optimizer="exact"):
        img = imgrs.open(noise_tiff).blur(2).brightness(3).auto_contrast()
        img.save(tmp_path / "a.tif", tile=128)
        img.compute()
    assert [run.what for run in m.runs] == ["save", "compute"]
    for run in m.runs:
        check(run)
        assert (run.scheduler, run.workers) == (scheduler, 1 if scheduler == "sync" else 2)
        assert run.image_pixels == 600 * 700
    stages = {stage.kind: stage for stage in m.runs[0].stages}
    labels = {part.label: part for stage in m.runs[0].stages for part in stage.in_order}
    assert labels["decode open(noise.tif)"].calls == labels["blur()"].calls == labels["brightness(3)"].calls == 9
    assert labels["brightness(3)"].bytes == 600 * 700 * 3
    assert [part.label for part in stages["fold"].in_order][-1] == "gather"
    assert [part.label for part in stages["output"].in_order][-2:] == ["encode", "write"]
    if scheduler == "processes":
        assert m.runs[0].worker_peak_bytes > 1 << 20


def test_bytes_read_are_those_of_the_files_tiles(noise_tiff: Path) -> None:
    with tifffile.TiffFile(noise_tiff) as tiff:
        counts = np.array(tiff.pages[0].databytecounts).reshape(5, 6)
    img = imgrs.open(noise_tiff)
    with imgrs.monitor() as m:
        img.crop((130, 130, 300, 200)).compute(scheduler="sync", optimizer="exact")
        img.compute(scheduler="sync", optimizer="exact")
    part, rest = (run.read_bytes for run in m.runs)
    assert part == counts[1, 1:3].sum()
    assert counts.sum() - part <= rest <= counts.sum()  # decoded tiles may be kept for a while


def test_a_monitor_is_a_table_and_json_in_a_fixed_order(noise_tiff: Path, tmp_path: Path) -> None:
    with imgrs.monitor() as m:
        img = imgrs.open(noise_tiff).blur(2)
        img.save(tmp_path / "a.png", scheduler="threads", workers=2, chunks=(256, 256), optimizer="exact")
        img.save(tmp_path / "a.webp", scheduler="sync", chunks=(256, 256), optimizer="exact")
    first, second = m.table().split("\n\n")
    names = [re.split(r"  +\d|   +", line.strip())[0] for line in first.splitlines()]
    assert names[0] == "1. save, threads x2: done"
    assert re.fullmatch(r"[\d.]+ s, .* of processors, .*planning; 3 of 3 tiles; [\d.]+ megapixels/s", names[1])
    assert re.fullmatch(r"peak memory [\d.]+ MiB resident, [\d.]+ of it before", names[2])
    assert names[4].startswith("stage 1: blur (output), ")
    assert names[5:] == ["decode open(noise.tif)", "blur()", "encode", "write", "between", "write in the end"]
    assert "encode in the end" in second
    found = json.loads(m.to_json())
    assert json.loads(m.to_json(indent=2)) == found
    assert [run["what"] for run in found["runs"]] == ["save", "save"]
    parts = found["runs"][0]["stages"][0]["parts"]
    assert [part["name"] for part in parts] == ["open(noise.tif)", "blur()", "encode", "write"]
    assert parts[1]["seconds"] == m.runs[0].stages[0].in_order[1].seconds
    assert str(m) == m.table()
    assert repr(m) == "<imgrs.Monitor of 2 runs>"


def test_monitors_are_nested_and_several_runs_are_kept() -> None:
    img = imgrs.new("L", (64, 64)).blur(1)
    with imgrs.monitor() as outer:
        img.compute()
        with imgrs.monitor() as inner:
            img.compute()
            img.compute()
        img.compute()
    img.compute()
    assert len(outer.runs) == 4
    assert inner.runs == outer.runs[1:3]
    for run in outer.runs:
        check(run)


def test_a_monitor_sees_its_own_thread_and_those_with_its_context() -> None:
    img = imgrs.new("L", (64, 64)).blur(1)
    with imgrs.monitor() as m:
        stranger = threading.Thread(target=img.compute)
        threads = [threading.Thread(target=contextvars.copy_context().run, args=(img.compute,)) for _ in range(6)]
        for thread in (stranger, *threads):
            thread.start()
        for thread in (stranger, *threads):
            thread.join()
    assert len(m.runs) == 6
    for run in m.runs:
        check(run)


@pytest.mark.parametrize("scheduler", ALL)
def test_an_exception_leaves_what_was_measured(scheduler: str, noise_tiff: Path) -> None:
    img = imgrs.open(noise_tiff).map_tiles(fails_below)
    with pytest.raises(imgrs.ComputeError), imgrs.monitor() as m:
        img.compute(scheduler=scheduler, workers=1, chunks=(700, 100))
    (run,) = m.runs
    assert run.ended
    assert run.error is not None
    assert "ComputeError" in run.error
    assert "ComputeError" in m.table()
    assert run.stages[0].in_order[0].calls >= 1
    assert run.tiles < run.tiles_planned


def fails_below(tile: Pixels) -> Pixels:
    if os.environ.get("IMGRS_NEVER") or int(tile[0, 0, 0]) >= 0:
        raise ZeroDivisionError
    return tile


BLOCK = 200 << 20


@op
class Hungry(Point):
    """Takes 200 MiB for a while."""

    def apply(self, *pixels: Pixels, spec: Spec, prepared: object) -> Pixels:
        taken = np.ones(BLOCK, np.uint8)
        time.sleep(0.2)
        return np.asarray(pixels[0] + taken[0])


@pytest.mark.usefixtures("usual_options")
def test_memory_at_the_peak_is_that_of_the_op_that_took_it() -> None:
    img = imgrs.new("L", (64, 64)).brightness(1).apply(Hungry()).invert()
    with imgrs.monitor() as m:
        img.compute(optimizer="off", scheduler="threads")
    (run,) = m.runs
    new, brightness, hungry, _ = run.stages[0].in_order
    assert run.peak_bytes - run.start_bytes > 0.9 * BLOCK
    assert hungry.peak_bytes - run.start_bytes > 0.9 * BLOCK
    assert max(new.peak_bytes, brightness.peak_bytes) - run.start_bytes < 0.5 * BLOCK


def test_resident_memory_is_what_the_system_says() -> None:
    assert resident() == pytest.approx(psutil.Process().memory_info().rss, rel=0.05)


def test_a_cluster_sends_measurements_as_events(noise_tiff: Path) -> None:
    from distributed import Client

    img = imgrs.open(noise_tiff).blur(2)
    with Client(processes=True, n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        with imgrs.monitor() as m:
            img.compute(scheduler=client, workers=2, chunks=(256, 256), optimizer="exact")
        (run,) = m.runs
        assert run.scheduler == "distributed"
        check(run)
        assert run.worker_peak_bytes > 1 << 20
        assert not [topic for topic in client.get_events() if topic.startswith("imgrs")]


def test_a_scheduler_that_takes_tasks_away_is_said_to_send_nothing(noise_tiff: Path) -> None:
    def get(graph: Any, keys: Any, **options: Any) -> Any:
        return dask.get(pickle.loads(pickle.dumps(dict(graph))), keys)

    with imgrs.monitor() as m:
        imgrs.open(noise_tiff).blur(2).compute(scheduler=get, chunks=(128, 128))
    (run,) = m.runs
    assert (run.tasks, run.scheduler) == (0, "custom")
    assert run.lost == run.tasks_planned == 5 * 6
    assert "30 tasks sent no measurements" in m.table()


def test_files_that_are_decoded_in_turn_are_decoded_once(noise_tiff: Path, tmp_path: Path) -> None:
    imgrs.open(noise_tiff).save(tmp_path / "a.png")
    with imgrs.monitor() as m:
        imgrs.open(tmp_path / "a.png").blur(1).compute(scheduler="threads", workers=2, chunks=(256, 256))
    (run,) = m.runs
    check(run)
    decode = run.stages[0]
    assert decode.kind == "decode"
    assert decode.in_order[0].pixels == 600 * 700
    assert run.read_bytes >= 0.99 * (tmp_path / "a.png").stat().st_size


def test_a_live_view_is_quiet_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with imgrs.monitor(live=True) as m:
        imgrs.new("L", (64, 64)).blur(1).compute()
    assert len(m.runs) == 1
    assert capfd.readouterr() == ("", "")
