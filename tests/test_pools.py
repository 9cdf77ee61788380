"""Runs that are started from pools of threads and of processes: they share processors, and none waits for itself."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
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
    both = threading.Event()

    def watched(pixels: Array) -> Array:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            names.add(threading.current_thread().name.partition("_")[0])
            if inside == 2:
                both.set()
        assert both.wait(60)
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
