"""Random graphs: optimized == unoptimized == the oracle, on every scheduler, with tasks shuffled and run twice.

``IMGRS_RANDOM_GRAPHS=100000 pytest tests/test_random.py`` tries more than the 300 of an ordinary run.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import dask
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import imgrs
from imgrs.image import Image
from imgrs.ops.geometry import ELEMENTS
from tests.oracle import evaluate

Array = npt.NDArray[Any]
GRAPHS = int(os.environ.get("IMGRS_RANDOM_GRAPHS", "300"))
SIDES = st.integers(1, 40)

# Each step takes an image and two numbers from 0 to 1.
STEPS: list[Callable[[Image, float, float], Image]] = [
    lambda img, a, b: img.brightness(round(a * 100 - 50)),
    lambda img, a, b: img.contrast(a * 2),
    lambda img, a, b: img.gamma(0.5 + a),
    lambda img, a, b: img.invert(a),
    lambda img, a, b: img.posterize(1 + int(a * 7)),
    lambda img, a, b: img.saturate(a * 2),
    lambda img, a, b: img.hue_rotate(a * 360),
    lambda img, a, b: img.blur(a * 3),
    lambda img, a, b: img.box_blur(int(a * 4)),
    lambda img, a, b: img.sharpen(a),
    lambda img, a, b: img.emboss(),
    lambda img, a, b: img.transpose(list(ELEMENTS)[int(a * 6.99)]),
    lambda img, a, b: img.crop((int(a * img.width / 2), int(b * img.height / 2), img.width, img.height)),
    lambda img, a, b: img.pad((int(a * 5), int(b * 5), 2, 0), "edge" if a > 0.5 else "constant"),
    lambda img, a, b: img.resize(
        (1 + int(a * 60), 1 + int(b * 60)), ["nearest", "box", "bicubic", "lanczos"][int(a * 3.99)]
    ),
    lambda img, a, b: img.rotate(a * 360, expand=b > 0.5, resample=["nearest", "bilinear", "bicubic"][int(b * 2.99)]),
    lambda img, a, b: img.auto_contrast(a * 10),
    lambda img, a, b: img.blend("normal", img.rotate180().brightness(9), position=(int(a * 9), int(b * 9))),
    lambda img, a, b: img + img.flip_left_right(),
    lambda img, a, b: img * a,
    lambda img, a, b: img.astype(["uint8", "uint16", "float32"][int(a * 2.99)]),
    lambda img, a, b: img.convert(["L", "RGB", "RGBA", "LA"][int(a * 3.99)]),
    lambda img, a, b: imgrs.merge("RGB", [img.split()[0].invert(), img.split()[-1], img.split()[0]]),
    lambda img, a, b: img.edge_detect(),
]
UNIT = st.floats(0, 1, width=16)


@st.composite
def graphs(draw: st.DrawFn) -> Image:
    """A graph of up to eight steps on a small image whose pixels all differ."""
    width, height, bands = draw(SIDES), draw(SIDES), draw(st.sampled_from([1, 3, 4]))
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    img = imgrs.fromarray(rng.integers(0, 256, (height, width, bands), np.uint8).squeeze(2) if bands == 1 else
                          rng.integers(0, 256, (height, width, bands), np.uint8))  # fmt: skip
    for step in draw(st.lists(st.integers(0, len(STEPS) - 1), max_size=8)):
        img = STEPS[step](img, draw(UNIT), draw(UNIT))
    return img


def public(img: Image) -> Array:
    return evaluate(img._node).reshape(img.shape)


def shuffled_twice(graph: Any, keys: Any, **options: Any) -> Any:
    """A scheduler that runs what is ready in random order, and every task twice."""
    from dask.core import flatten, get_dependencies

    tasks = dict(graph)
    waits = {key: set(get_dependencies(tasks, key)) for key in tasks}
    values: dict[Any, Any] = {}
    order = random.Random(len(tasks))
    while waits:
        ready = sorted((key for key, needs in waits.items() if needs <= values.keys()), key=str)
        key = order.choice(ready)
        for _ in range(2):
            values[key] = dask.get({**values, key: tasks[key]}, key)
        del waits[key]
    assert set(flatten(keys)) <= values.keys()

    def nested(wanted: Any) -> Any:
        return [nested(one) for one in wanted] if isinstance(wanted, list) else values[wanted]

    return nested(keys)


quiet = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@settings(quiet, max_examples=GRAPHS)
@given(graphs(), SIDES, SIDES)
def test_random_graphs_equal_the_oracle(img: Image, width: int, height: int) -> None:
    note(img.explain())
    expected = public(img)
    for options in (
        {"optimizer": "exact", "scheduler": "sync", "chunks": (width, height)},
        {"optimizer": "off", "scheduler": "threads", "chunks": (height, width)},
        {"optimizer": "exact", "chunks": (1000, 1000)},
    ):
        np.testing.assert_array_equal(img.compute(**options), expected, str(options))


@settings(quiet, max_examples=max(20, GRAPHS // 10))
@given(graphs(), SIDES)
def test_the_order_of_tasks_and_running_them_twice_change_nothing(img: Image, side: int) -> None:
    side = max(side, 1 + max(img.size) // 5)
    got = img.compute(scheduler=shuffled_twice, chunks=(side, side))
    np.testing.assert_array_equal(got, public(img))


@pytest.fixture(scope="module")
def pool() -> Iterator[Any]:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        yield executor


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    import distributed

    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as workers,
        distributed.Client(workers, set_as_default=False) as connected,
    ):
        yield connected


@settings(quiet, max_examples=max(20, GRAPHS // 15))
@given(img=graphs(), side=SIDES)
def test_random_graphs_on_a_pool_of_processes(img: Image, side: int, pool: Any) -> None:
    side = max(side, 1 + max(img.size) // 3)
    with dask.config.set(pool=pool):
        got = img.compute(scheduler="processes", chunks=(side, side))
    np.testing.assert_array_equal(got, public(img))


@settings(quiet, max_examples=max(20, GRAPHS // 15))
@given(img=graphs(), side=SIDES)
def test_random_graphs_on_a_cluster(img: Image, side: int, client: Any) -> None:
    side = max(side, 1 + max(img.size) // 3)
    np.testing.assert_array_equal(img.compute(scheduler=client, chunks=(side, side)), public(img))
