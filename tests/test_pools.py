"""Runs that are started from pools of threads and of processes: they share processors, and none waits for itself."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import imgrs
from imgrs.config import settings

Array = npt.NDArray[Any]

SIDE = 64


def ramp(added: int = 0) -> imgrs.Image:
    y, x = np.mgrid[:SIDE, :SIDE]
    return imgrs.fromarray(((x + y + added) % 256).astype(np.uint8))


def test_runs_of_many_threads_share_their_workers() -> None:
    lock, inside, most, names = threading.Lock(), 0, 0, set()
    both, more = threading.Event(), threading.Event()

    def watched(pixels: Array) -> Array:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            names.add(threading.current_thread().name.partition("_")[0])
            if inside == 2:
                both.set()
            if inside > 2:
                more.set()
        assert both.wait(60)
        more.wait(0.01)  # long enough for another worker to come, if there were one
        with lock:
            inside -= 1
        return pixels

    def work(i: int) -> Array:
        return ramp(i).map_tiles(watched).compute(workers=2, chunks=(16, 16), scheduler="threads")

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(work, range(16)))
    assert most == 2
    assert names == {"imgrs"}
    for i, pixels in enumerate(made):
        np.testing.assert_array_equal(pixels, ramp(i))


def test_runs_of_one_worker_work_in_the_threads_that_start_them() -> None:
    together = threading.Barrier(3)

    def met(pixels: Array) -> Array:
        together.wait(60)  # which fails unless three run at a time
        return pixels

    def work(i: int) -> Array:
        return ramp(i).map_tiles(met).compute(workers=1, chunks=(SIDE, SIDE), scheduler="threads")

    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(work, range(6)))
    for i, pixels in enumerate(made):
        np.testing.assert_array_equal(pixels, ramp(i))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_may_compute_an_image(workers: int) -> None:
    def blurred(pixels: Array) -> Array:
        return imgrs.fromarray(pixels).invert().compute(workers=workers, chunks=(8, 8), scheduler="threads")

    pixels = ramp().map_tiles(blurred).compute(workers=workers, chunks=(16, 16), scheduler="threads")
    np.testing.assert_array_equal(pixels, 255 - ramp().compute())


def in_another_process(img: imgrs.Image) -> tuple[int, Array]:
    return settings().workers, img.invert().compute()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_images_go_to_processes_which_take_one_worker_each(method: str) -> None:
    images = [ramp(i) for i in range(3)]
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        made = list(pool.map(in_another_process, images))
    assert [workers for workers, _ in made] == [1, 1, 1]
    for img, (_, pixels) in zip(images, made, strict=True):
        np.testing.assert_array_equal(pixels, 255 - img.compute())


def test_workers_can_be_given_in_processes() -> None:
    call: Callable[..., Any] = settings
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(call, workers=2).result().workers == 2


def started_by(pixels: Array) -> Array:
    method: Array = np.full_like(pixels, 1 + ["spawn", "forkserver", "fork"].index(multiprocessing.get_start_method()))
    return method


def test_a_run_on_processes_starts_them_by_spawn() -> None:
    img = ramp().map_tiles(started_by)
    np.testing.assert_array_equal(img.compute(scheduler="processes", workers=2, chunks=(32, 32)), 1)


def test_without_a_main_guard_a_run_on_processes_fails_and_does_not_hang(tmp_path: Path) -> None:
    program = tmp_path / "unguarded.py"
    program.write_text('import imgrs\nimgrs.new("L", (9, 9)).blur(1).compute(scheduler="processes", workers=2)\n')
    environment = {**os.environ, "PYTHONPATH": str(Path(imgrs.__file__).parents[1])}
    run = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert run.returncode != 0
    assert "bootstrapping" in run.stderr
