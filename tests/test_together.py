"""Several arrays from one run: what they share is made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imgrs


def test_arrays_are_those_that_each_image_computes(photo_tiff: Path) -> None:
    img = imgrs.open(photo_tiff)
    images = [img.blur(2), img.mean(), img.resize((50, 40)), img.convert("L"), img.blur(2)]
    for array, image in zip(imgrs.compute_all(*images), images, strict=True):
        assert array.shape == image.shape
        np.testing.assert_array_equal(array, image.compute())
    assert imgrs.compute_all() == []


@pytest.mark.parametrize("scheduler", ["threads", "sync", "processes"])
def test_each_tile_of_a_source_is_decoded_once_for_all_arrays(
    scheduler: str, photo_tiff: Path, decoded: list[int]
) -> None:
    img = imgrs.open(photo_tiff).brightness(3)
    images = [img.blur(2), img.edge_detect(), img.resize((100, 80)), img.mean(), img.rotate(20)]
    options: dict[str, Any] = {"chunks": (96, 80), "scheduler": scheduler, "workers": 2}
    arrays = imgrs.compute_all(*images, **options)
    once = sorted(decoded)
    for array, image in zip(arrays, images, strict=True):
        np.testing.assert_array_equal(array, image.compute(chunks=(451, 300)))
    if scheduler != "processes":  # which decode elsewhere
        assert once == list(range(40))


def test_common_work_is_done_once(photo: Any) -> None:
    seen: list[tuple[int, ...]] = []

    def counted(tile: Any) -> Any:
        seen.append(tile.shape)
        return tile

    shared = imgrs.fromarray(photo).map_tiles(counted)
    imgrs.compute_all(shared.brightness(9), shared.blur(1).crop((0, 0, 451, 300)), shared.invert(), chunks=(451, 300))
    assert len(seen) == 1


def test_a_run_reads_and_plans_what_the_images_need_together(photo_tiff: Path) -> None:
    img = imgrs.open(photo_tiff)
    left, right = img.crop((0, 0, 64, 300)), img.crop((64, 0, 128, 300))
    both = imgrs.estimate(left, right, chunks=(64, 64))
    assert both.read_bytes == imgrs.estimate(img.crop((0, 0, 128, 300)), chunks=(64, 64)).read_bytes
    alone = [imgrs.estimate(image, chunks=(64, 64)) for image in (left, right)]
    assert both.read_bytes == sum(one.read_bytes for one in alone)
    assert both.tasks < sum(one.tasks for one in alone)  # tiles of one size are made together
    twice = imgrs.estimate(img.blur(2), img.blur(2).invert(), chunks=(64, 64))
    once = imgrs.estimate(img.blur(2), chunks=(64, 64))
    assert (twice.tasks, twice.read_bytes) == (once.tasks, once.read_bytes)


def test_what_is_no_image_is_refused() -> None:
    broken: Any = np.zeros((3, 4))
    with pytest.raises(imgrs.ArgumentTypeError, match=r"^compute_all: needs imgrs images, got ndarray"):
        imgrs.compute_all(imgrs.new("L", (3, 4)), broken)
