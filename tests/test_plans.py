"""Golden plans: what is cut where, and what it will take, as text that a person can review."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.config
import numpy as np
import pytest
import tifffile

import imgrs
from imgrs.config import settings
from imgrs.demo import grade
from imgrs.image import Image
from imgrs.plan import cost
from imgrs.plan.choose import plan

MACHINE: dict[str, Any] = {"workers": 2, "memory_limit": "4GiB", "optimizer": "exact", "scheduler": "threads"}


@pytest.fixture(autouse=True)
def tiles_are_chosen(tiny_tiles: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Also where the suite's defaults are tiny tiles; by fixed costs, so that measuring them anew changes no golden."""
    monkeypatch.setattr(cost, "measured", lambda: {"ops": {}, "decode": {}, "encode": {}})
    with dask.config.set({"imgrs.chunks": None}):
        yield


def stages(img: Image) -> str:
    text = img.explain(costs=False, **MACHINE)
    return text[text.index("stages") :]


def blank(side: int) -> Image:
    return imgrs.new("RGB", (side, side), (10, 20, 30))


def test_a_plan_as_json_is_the_one_that_the_text_tells() -> None:
    base = imgrs.new("RGB", (900, 3000), (10, 20, 30)).blur(1.5).brightness(2).contrast(1.2)
    img = base.blend("normal", base.rotate180())
    found = json.loads(img.explain(as_json=True, costs=False, **MACHINE))
    text = img.explain(costs=False, **MACHINE)
    assert list(found) == ["graph", "rules", "optimized", "stages", "forecast"]
    assert found["graph"][1] == {
        "number": 2, "op": "blur", "inputs": [1], "arguments": ["radius=1.5"],
        "size": [900, 3000], "mode": "RGB", "dtype": "uint8",
    }  # fmt: skip
    for rule in found["rules"]:
        assert f"  {rule['rule']} ({rule['promise']})" in text
    for number, stage in enumerate(found["stages"], start=1):
        (width, height), tiles = stage["tile"], stage["tiles"]
        told = f"{number}. {', '.join(stage['makes'])}: {tiles} tiles of {width}x{height}, margin {stage['margin']}, "
        assert told in text
    assert f"tasks     {found['forecast']['tasks']:,}\n" in text
    assert "seconds" not in found["forecast"]
    assert json.loads(img.explain(as_json=True, **MACHINE))["forecast"]["workers"] == 2
    for _ in range(100):
        img = img.blur(1)
    assert len(json.loads(img.explain(as_json=True, **MACHINE))["graph"]) == len(found["graph"]) + 100


def test_a_diamond_keeps_what_both_sides_need() -> None:
    base = blank(10_000).blur(1.5)
    assert stages(base.blend("normal", base.rotate180())).splitlines()[:3] == [
        "stages",
        "  1. blur: 100 tiles of 1024x1024, margin 6, kept (computed 2.00 times otherwise)",
        "  2. blend: 100 tiles of 1024x1024, margin 0, handed out",
    ]


def test_wide_blurs_in_a_row_are_kept_between() -> None:
    img = blank(10_000)
    for _ in range(5):
        img = img.blur(50)
    lines = stages(img).splitlines()
    assert sum(", kept (computed" in line for line in lines) == 4
    assert "handed out" in lines[5]


def test_a_chain_of_small_margins_is_one_stage() -> None:
    assert stages(grade(blank(10_000))).splitlines()[:2] == [
        "stages",
        "  1. blur: 100 tiles of 1024x1024, margin 11, handed out",
    ]


def test_a_rotation_of_a_large_image_is_square_tiles() -> None:
    (line,) = stages(blank(30_000).rotate(33)).splitlines()[1:2]
    assert line.startswith("  1. affine: 900 tiles of 1024x1024")


def test_a_thumbnail_of_a_rotation_keeps_the_rotation_out_of_memory() -> None:
    text = stages(blank(30_000).rotate(33).resize((256, 256)))
    assert "resize: " in text
    (memory,) = [line for line in text.splitlines() if line.strip().startswith("memory")]
    assert "MiB at the peak" in memory  # less than a gigabyte, for an image of 2.7


def test_a_thumbnail_is_made_in_tasks_of_a_bounded_footprint() -> None:
    line = stages(blank(30_000).resize((256, 256))).splitlines()[1]
    assert line == "  1. resize: 256 tiles of 16x16, margin 0, handed out"


def test_tiles_of_a_file_in_strips_are_low_so_that_a_row_of_them_shares_what_is_decoded(tmp_path: Path) -> None:
    rows = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", "uint8", (20_000, 20_000, 3))  # a hole: no disk is used
    del rows
    img = imgrs.open(tmp_path / "a.npy")
    assert "1. brightness: 720 tiles of 1024x559, " in stages(img.brightness(9))
    turned = stages(img.rotate(33)).splitlines()
    assert turned[1].startswith("  1. open: 96 tiles of 20000x209, margin 0, kept")
    assert turned[2].startswith("  2. affine: 400 tiles of 1024x1024")


def test_a_statistic_and_its_use_share_the_image() -> None:
    img = blank(5_000).blur(1)
    first, second = img.auto_contrast(), img.mean()
    lines = stages(first).splitlines()
    assert lines[1].endswith("kept (computed 2.00 times otherwise)")
    assert lines[2].endswith("gathered (a statistic of the whole image)")
    assert stages(second).splitlines()[1].startswith("  1. mean: 25 tiles of 1024x1024")


def test_less_memory_means_smaller_tiles() -> None:
    img = grade(blank(10_000))
    small = img.explain(**{**MACHINE, "memory_limit": "16MiB"})
    assert "tiles of 1024x1024" not in small
    with pytest.raises(imgrs.MemoryBudgetError, match="memory_limit=1MiB"):
        img.blur(200).explain(**{**MACHINE, "memory_limit": "1MiB"})


def test_costs_can_be_left_out() -> None:
    img = blank(500)
    assert "time" in img.explain(**MACHINE)
    assert "time" not in img.explain(costs=False, **MACHINE)


def test_the_whole_text_of_a_plan() -> None:
    img = blank(6_000).blur(2).brightness(20).crop((10, 10, 5_010, 4_010)).contrast(1.2).blur(0.5)
    assert img.explain(costs=False, **MACHINE) == GOLDEN.strip()


GOLDEN = """
graph
  %1 = new((10, 20, 30))               6000x6000 RGB uint8
  %2 = blur(%1)                        6000x6000 RGB uint8
  %3 = brightness(%2, 20)              6000x6000 RGB uint8
  %4 = crop(%3, (10, 10, 5010, 4010))  5000x4000 RGB uint8
  %5 = contrast(%4, 1.2)               5000x4000 RGB uint8
  %6 = blur(%5, radius=0.5)            5000x4000 RGB uint8

rules
  maps_before_points (exact)
  merge_tones (exact)

optimized
  %1 = new((10, 20, 30))                               6000x6000 RGB uint8
  %2 = blur(%1)                                        6000x6000 RGB uint8
  %3 = crop(%2, (10, 10, 5010, 4010))                  5000x4000 RGB uint8
  %4 = table(%3, 'uint8', ('brightness', 'contrast'))  5000x4000 RGB uint8
  %5 = blur(%4, radius=0.5)                            5000x4000 RGB uint8

stages
  1. blur: 20 tiles of 1024x1024, margin 2, handed out

forecast
  tasks     20
  pixels    101,143,872 computed
  reads     0 B of 0 B
  memory    24.1 MiB at the peak, 0 B of it kept
"""


def test_what_does_not_fit_in_memory_is_kept_in_files_and_removed(tmp_path: Path, monkeypatch: Any) -> None:
    rows = np.random.default_rng(3).integers(0, 256, (2_000, 3_000, 3), np.uint8)
    imgrs.fromarray(rows).save(tmp_path / "noise.png")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    img = imgrs.open(tmp_path / "noise.png").brightness(9)
    tight = {**MACHINE, "memory_limit": "40MiB", "workers": 1}
    assert "decoded once in scratch files" in img.explain(**tight)
    np.testing.assert_array_equal(img.compute(**tight), img.compute(**MACHINE))
    assert [path.name for path in tmp_path.iterdir()] == ["noise.png"]


def test_reads_are_whole_tiles_of_the_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    imgrs.fromarray(rng.integers(0, 256, (1_500, 2_000, 3), np.uint8)).save(tmp_path / "a.tif")
    img = imgrs.open(tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        lengths = np.reshape(file.pages.first.databytecounts, (3, 4))
    made = plan([img.crop((500, 500, 600, 600))._node], settings())
    assert made.forecast.read_bytes == lengths[:2, :2].sum()
    assert made.forecast.stored_bytes == lengths.sum()
    assert plan([img.brightness(3)._node], settings()).forecast.read_bytes == lengths.sum()


def test_forecasts_count_the_tiles_that_reading_keeps() -> None:
    script = (
        "from imgrs.io import segments\nsegments.LIMIT = 12_345\n"
        "from imgrs.plan import measure\nprint(measure.SHARED_TILES)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(run.stdout) == 12_345
