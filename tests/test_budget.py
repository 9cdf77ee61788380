"""``memory_limit`` holds in fact: runs that get no more memory than it and the machinery's share end well."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import imgrs
from imgrs.forecast import MACHINERY
from imgrs.io.segments import Shared
from imgrs.types import Pixels
from tests import peaks
from tests.peaks import JOBS, SIDE

HELD = [
    "in 64 MiB",
    "in 128 MiB",
    "wide in 128 MiB",
    "JPEG in 128 MiB",
    "PNG in 128 MiB",
    "scratch",
    "several in 256 MiB",
]
"""Jobs with small budgets."""


def check_saved(name: str, folder: Path) -> None:
    """What a limited run saved is what a run with other tiles makes."""
    job = JOBS[name]
    images = job.images(folder, SIDE)
    for image, target in zip(images, job.targets(folder, len(images)), strict=True):
        if job.sink != "jpg":
            wanted = image.crop((0, 0, image.width, 700)).compute(chunks=(2000, 700), memory_limit="2GiB")
            np.testing.assert_array_equal(imgrs.open(target).crop((0, 0, image.width, 700)).compute(), wanted)
        else:
            image.save(folder / "wanted.jpg", memory_limit="2GiB")
            assert target.read_bytes() == (folder / "wanted.jpg").read_bytes()


def limit_of(name: str) -> int:
    """The memory limit of a job, in bytes."""
    text = JOBS[name].options["memory_limit"]
    assert text.endswith("MiB")
    return int(text.removesuffix("MiB")) << 20


@pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux's")
@pytest.mark.parametrize("name", HELD)
def test_a_run_needs_no_more_data_than_its_limit_and_the_machinery(name: str, pictures: Path) -> None:
    peaks.limited(name, pictures, limit_of(name) + MACHINERY)
    check_saved(name, pictures)


@pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux's")
def test_the_limits_of_these_tests_are_limits(pictures: Path) -> None:
    with pytest.raises(RuntimeError, match=r"MemoryError|Unable to allocate|can't start new thread|Cannot allocate"):
        peaks.limited("in 128 MiB", pictures, 16 << 20)


def tile(number: int) -> Pixels:
    """An array of 10 bytes."""
    return np.full((1, 10, 1), number, np.uint8)


def test_a_store_keeps_no_more_than_the_runs_of_the_moment_have_room_for() -> None:
    store = Shared(50, 50)
    for number in range(9):
        store.get(number, functools.partial(tile, number))

    def kept() -> list[int]:
        return [number for number in range(20) if store.kept(number) is not None]

    assert kept() == [4, 5, 6, 7, 8]
    with store.room(20):
        assert kept() == [7, 8]
        store.get(9, lambda: tile(9))
        assert kept() == [8, 9]
        with store.room(10):
            store.get(10, lambda: tile(10))
            assert kept() == [8, 9, 10]
        assert kept() == [9, 10]
    store.get(11, lambda: tile(11))
    assert kept() == [9, 10, 11]


def group_of_ours() -> Path | None:
    """A new control group with a memory limit below this process's own; None where it may not make one."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        base = Path("/sys/fs/cgroup/memory" if controllers else "/sys/fs/cgroup") / path.lstrip("/")
        if controllers not in ("", "memory"):
            continue
        group = base / f"imgrs-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        if limit_file(group) is not None and os.access(group / "cgroup.procs", os.W_OK):
            return group
        group.rmdir()
    return None


def limit_file(group: Path) -> Path | None:
    """Where the limit of a group is written, of either version."""
    return next((group / name for name in ("memory.limit_in_bytes", "memory.max") if (group / name).exists()), None)


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group, removed in the end."""
    found = group_of_ours() if sys.platform == "linux" else None
    if found is None:
        pytest.skip("no control group can be made here")
    yield found
    found.rmdir()


@pytest.mark.parametrize("name", ["in 64 MiB", "JPEG in 128 MiB", "scratch"])
def test_a_control_group_with_the_limit_and_the_machinery_kills_nothing(name: str, pictures: Path, group: Path) -> None:
    where = limit_file(group)
    assert where is not None
    where.write_text(str(limit_of(name) + MACHINERY))
    peaks.limited(name, pictures, 0, str(group))
    check_saved(name, pictures)
