"""``memory_limit`` holds in fact: runs that get no more memory than it and the machinery's share end well."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import imgrs
from imgrs.forecast import MACHINERY
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
    peaks.limited(name, pictures, "data", limit_of(name) + MACHINERY)
    check_saved(name, pictures)


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
    peaks.limited(name, pictures, "group", 0, str(group))
    check_saved(name, pictures)
