"""Files that lie: refused by their header, before anything is allocated, with an error that says what to do."""

from __future__ import annotations

import pickle
from pathlib import Path

import dask.config
import numpy as np
import pytest
import tifffile

import imgrs
from imgrs.errors import LimitError
from imgrs.io import limits
from tests.test_files import pixels


@pytest.mark.parametrize("key", ["imgrs.max-decode-bytes", "imgrs.max-decode-pixels"])
def test_a_limit_is_named_and_can_be_raised(key: str, tmp_path: Path) -> None:
    data = pixels("uint8", 3, (70, 50))
    path = tmp_path / "a.webp"
    imgrs.fromarray(data).save(path, lossless=True)
    with dask.config.set({key: 3_000}), pytest.raises(LimitError, match=rf"limit of 3,000; raise it.*{key}.*\d+\}}"):
        imgrs.open(path)
    with dask.config.set({key: 30_000}):
        np.testing.assert_array_equal(imgrs.open(path).compute(), data)


def test_the_ratio_is_the_codecs_own_unless_one_is_set() -> None:
    claimed = 64 << 20
    limits.check_ratio("a", "a tile", claimed, claimed // 1_000, "deflate")
    limits.check_ratio("a", "a tile", limits.FREE, 1, "raw")
    with pytest.raises(LimitError, match=r"1 for each 1,118,482; the limit is 1,032 for deflate; raise it"):
        limits.check_ratio("a", "a tile", claimed, 60, "deflate")
    limits.check_ratio("a", "a tile", claimed, 60, "jpeg2000")
    with dask.config.set({"imgrs.max-decode-ratio": 500}), pytest.raises(LimitError, match="the limit is 500"):
        limits.check_ratio("a", "a tile", claimed, claimed // 1_000, "jpeg2000")


def test_what_was_let_in_is_read_where_the_limits_are_lower(tmp_path: Path) -> None:
    """The check belongs to ``open``: a worker does not know what was configured there."""
    data = pixels("uint8", 3, (70, 50))
    tifffile.imwrite(tmp_path / "a.tif", data, tile=(32, 32))
    imgrs.fromarray(data).save(tmp_path / "a.png")
    for name in ("a.tif", "a.png"):
        img = imgrs.open(tmp_path / name)
        with dask.config.set({"imgrs.max-decode-bytes": 10}):
            with pytest.raises(LimitError):
                imgrs.open((tmp_path / name).read_bytes())
            arrived = pickle.loads(pickle.dumps(img._node.op))
            np.testing.assert_array_equal(arrived.read(img._node.spec.region), data)
