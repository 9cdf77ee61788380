"""``profile()``: the plan with measured against predicted, and a map of where the time went."""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imgrs
from imgrs.config import settings
from imgrs.plan.choose import plan
from imgrs.plan.measure import Measured
from imgrs.plan.predict import extent, predict
from imgrs.profile import COLORS, FIRST, NEVER, color_of
from imgrs.run.landing import resumable
from imgrs.run.tasks import Into
from imgrs.run.watched import resident
from imgrs.types import Pixels


@pytest.fixture
def img(photo_tiff: Path) -> imgrs.Image:
    return imgrs.open(photo_tiff).blur(2).auto_contrast()


OPTIONS: dict[str, Any] = {"chunks": (128, 128), "scheduler": "threads", "workers": 2, "optimizer": "exact"}


def test_a_profile_is_the_plan_with_measured_against_predicted(img: imgrs.Image) -> None:
    found = img.profile(**OPTIONS)
    found.loaded = False
    text = str(found)
    assert text.startswith(img.explain(**OPTIONS).partition("\nforecast")[0])
    assert text.endswith("\n".join(f"  {line}".rstrip() for line in found.table().splitlines()))
    lines = found.table().splitlines()
    assert re.split(r"  +", lines[0].strip())[:4] == ["predicted s", "measured s", "predicted MP", "measured MP"]
    names = [re.split(r"  +\d|  +", line.strip())[0] for line in lines[1:]]
    assert names[:5] == [
        "stage 1: blur (keep)",
        "decode open(photo.tif)",
        "blur()",
        "between",
        "stage 2: histogram (fold)",
    ]
    assert names[-5:] == ["time", "pixels", "tasks", "reads", "memory"]
    pixels = next(line.split() for line in lines if line.startswith("pixels"))
    assert pixels[1] == pixels[2] == f"{found.run.plan.forecast.pixels:,}"
    tasks = next(line.split() for line in lines if line.startswith("tasks"))
    assert tasks == ["tasks", f"{found.run.plan.forecast.tasks}", f"{found.run.tasks}"]
    assert found.run.tasks > found.run.tiles  # those that gather the histogram
    assert repr(found).startswith("<imgrs.Profile 36 tiles in")
    assert found.as_dict()["tiles"] == 36


def test_a_profile_as_a_dict_has_the_plan_and_what_it_was_taken_to_cost(img: imgrs.Image) -> None:
    found = img.profile(**OPTIONS)
    said = json.loads(json.dumps(found.as_dict()))
    assert said["plan"]["graph"] == json.loads(img.explain(as_json=True, **OPTIONS))["graph"]
    assert said["loaded"] is found.loaded
    assert len(said["plan"]["stages"]) == len(said["predicted"]) == len(said["stages"])
    for predicted, stage, cost in zip(said["predicted"], said["stages"], found.predicted, strict=True):
        assert predicted["seconds"] == list(cost.seconds)
        ops = [part for part in stage["parts"] if part["kind"] in ("op", "decode", "join")]
        assert len(predicted["pixels"]) == len(ops)


def test_a_profile_of_a_save_with_resume_keeps_a_journal(img: imgrs.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Any] = []

    def counted(*given: Any) -> Any:
        begun.append(given)
        return resumable(*given)

    monkeypatch.setattr("imgrs.run.save.resumable", counted)
    tiles = img.profile("tiff", **OPTIONS).run.tiles
    assert not begun
    assert img.profile("tiff", resume=True, **OPTIONS).run.tiles == tiles
    assert len(begun) == 1


def test_predictions_of_parts_add_up_to_the_planners(img: imgrs.Image) -> None:
    made = plan([img._node], settings(**OPTIONS))
    predicted = predict(made)
    counted = sum(
        pixels
        for stage, prediction in zip(made.stages, predicted, strict=True)
        for node, pixels in zip(stage.order, prediction.pixels, strict=True)
        if node not in made.slots or (stage.kind != "output" and node in stage.nodes)
    )
    folds = sum(node.spec.region.area for stage in made.stages if stage.kind == "fold" for node in stage.nodes)
    assert counted + folds == made.forecast.pixels
    kept = dict.fromkeys(made.slots, "")
    again = Measured(made.after, [], kept, (128, 128), [stage.sink for stage in made.stages[-1:]], made.settings, {})
    ops = sum(sum(prediction.seconds) + prediction.gathering_seconds for prediction in predicted)
    joined = sum(  # which the planner counts by itself
        seconds
        for stage, prediction in zip(made.stages, predicted, strict=True)
        for node, seconds in zip(stage.order, prediction.seconds, strict=True)
        if node in made.slots and (stage.kind == "output" or node not in stage.nodes)
    )
    assert ops - joined == pytest.approx(sum(again.costs.values()) / 1e9, rel=0.01)


def test_a_statistic_is_gathered_once(photo_tiff: Path) -> None:
    made = plan([imgrs.open(photo_tiff).mean()._node], settings(**OPTIONS))
    fold, output = predict(made)
    assert [stage.kind for stage in made.stages] == ["fold", "output"]
    assert fold.gathering_seconds > 0
    assert output.gathering_seconds == 0


def test_the_extent_is_that_of_what_is_made_or_read(photo_tiff: Path) -> None:
    img = imgrs.open(photo_tiff)
    for pipeline, pixels in (
        (img, 451 * 300),
        (img.resize((45, 30)), 451 * 300),
        (img.crop((0, 0, 100, 50)), 5_000),
        (img.resize((902, 600)), 902 * 600),
        (img.auto_contrast(), 451 * 300),
        (img.mean(), 451 * 300),
        (imgrs.fromarray(img.compute()).blur(1), 451 * 300),
    ):
        assert extent(plan([pipeline._node], settings(**OPTIONS))) == pixels


def test_a_profile_tells_where_libraries_were_loaded(photo_tiff: Path) -> None:
    script = f"""
import imgrs
img = imgrs.open({str(photo_tiff)!r}).resize((100, 100)).blur(2)
for _ in range(2):
    print(img.profile(scheduler="sync").table().splitlines()[-1])
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    first, second = run.stdout.splitlines()
    assert first == FIRST
    assert second.startswith("memory")


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="is of glibc")
def test_freed_memory_is_given_back_before_a_profile_begins(img: imgrs.Image) -> None:
    size = 100_000  # taken from the heap, not mapped
    blocks = [b"\1" * size for _ in range(1000)]
    above = b"\1" * size  # or the heap would shrink by itself
    del blocks
    before = resident()
    assert img.profile(**OPTIONS).run.start_bytes < before - 80_000_000
    assert len(above) == size


def test_the_array_is_not_kept(img: imgrs.Image, monkeypatch: Any) -> None:
    monkeypatch.setattr(Into, "__init__", None)  # what writes tiles into arrays cannot be made
    assert img.profile(**OPTIONS).run.what == "profile"


def test_a_sink_is_written_and_removed(img: imgrs.Image, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    before = {path.name for path in tmp_path.iterdir()}
    found = img.profile(sink="tiff", **OPTIONS)
    assert found.run.what == "save"
    parts = found.run.stages[-1].parts
    assert parts["encode"].seconds > 0
    assert parts["write"].calls > 0
    assert found.predicted[-1].encoding_seconds > 0
    assert {path.name for path in tmp_path.iterdir()} == before
    assert not list((tmp_path / "temporary").iterdir())
    with pytest.raises(imgrs.ArgumentError, match=r"^profile: sink must be one of"):
        img.profile(sink="foo")


def slow_at_the_lower_right(tile: Pixels) -> Pixels:
    if tile[0, 0] == 7:
        time.sleep(0.3)
    return tile


@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes"])
def test_the_heat_map_shows_which_tile_took_long(scheduler: str) -> None:
    pixels = np.zeros((200, 400), np.uint8)
    pixels[100:, 300:] = 7
    img = imgrs.fromarray(pixels).map_tiles(slow_at_the_lower_right)
    found = img.profile(chunks=(100, 100), scheduler=scheduler, workers=2)
    assert len(found.tiles) == 8
    values = found.heat_values()
    assert values.shape == (2, 4)
    assert np.argmax(values) == 7
    assert found.heat_scale() == (0.0, values[1, 3])
    map_ = found.heat_map(side=64)
    assert (map_.size, map_.mode) == ((64, 32), "RGB")
    colors = map_.compute()
    assert tuple(colors[20, 60]) == COLORS[-1]
    for row in range(2):
        for column in range(4):
            box = colors[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16].reshape(-1, 3)
            assert set(map(tuple, box.tolist())) == {color_of(values[row, column] / values.max())}


def test_colors_go_evenly_from_first_to_last() -> None:
    assert color_of(0.0) == COLORS[0]
    assert color_of(1.0) == COLORS[-1]
    assert color_of(0.5) == COLORS[2]
    assert color_of(0.125) == (64, 42, 112)


def test_tiles_that_were_not_made_are_gray(img: imgrs.Image) -> None:
    found = img.profile(**OPTIONS)
    del found.run.tile_times[-1]
    last = len(found.run.stages)
    assert np.isnan(found.heat_values(last)).sum() == 1
    assert (found.heat_map(last).compute().reshape(-1, 3) == NEVER).all(axis=1).any()


def test_wrong_stages_are_named(img: imgrs.Image) -> None:
    found = img.profile(**OPTIONS)
    for wrong in (0, 9, True, "a"):
        with pytest.raises(imgrs.ArgumentError, match="stage must be 1 to 3"):
            found.heat_map(wrong)  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(imgrs.ArgumentError, match="side must be"):
        found.heat_map(side=0)


def test_rows_that_a_task_makes_are_one_column(img: imgrs.Image) -> None:
    found = img.profile(sink="png", **OPTIONS)
    assert found.heat_values(len(found.run.stages)).shape[1] == 1


def test_of_what_is_stored_those_tiles_are_predicted_that_are_made() -> None:
    img = imgrs.new("RGB", (5_000, 5_000), (9, 8, 7)).rotate(3).crop((100, 100, 400, 400))
    made = img.profile(cache=imgrs.Cache("100MiB"), chunks=(1024, 1024))
    (stored, _), (predicted, _) = made.run.stages, made.predicted
    assert (stored.kind, stored.tiles, stored.tiles_planned) == ("keep", 1, 1)
    assert predicted.pixels[-1] == stored.pixels == 1024 * 1024
    assert made.run.image_pixels < 2 * 1024 * 1024
    assert made.run.share == pytest.approx(1.0)
