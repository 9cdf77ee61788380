"""Options: where they come from, which one wins, and what Dask's own settings do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import dask
import dask.callbacks
import numpy as np
import numpy.typing as npt
import pytest

import imgrs
from imgrs import config


def test_the_nearest_option_wins() -> None:
    with dask.config.set({"imgrs.workers": 3, "imgrs.chunks": (99, 99)}), imgrs.options(workers=4):
        assert config.settings().workers == 4
        assert config.settings().chunks == (99, 99)
        assert config.settings(workers=5).workers == 5
        with imgrs.options(workers=6):
            assert config.settings().workers == 6
    assert config.settings(memory_limit="1MiB").memory_limit == 1 << 20


def test_set_options_write_dasks_configuration() -> None:
    with dask.config.set({"imgrs.workers": 1}):
        imgrs.set_options(workers=7)
        assert dask.config.get("imgrs.workers") == 7
        assert config.settings().workers == 7


def test_options_hold_in_their_thread_only() -> None:
    seen = []
    with imgrs.options(workers=5):
        other = threading.Thread(target=lambda: seen.append(config.settings().workers))
        other.start()
        other.join()
    assert seen == [config.settings().workers]


def test_environment_variables_are_read_as_dask_reads_them() -> None:
    script = "from imgrs import config; s = config.settings(); print(s.workers, s.memory_limit, s.optimizer)"
    environment = {**os.environ, "DASK_IMGRS__WORKERS": "3", "DASK_IMGRS__MEMORY_LIMIT": "512MiB"}
    environment["DASK_IMGRS__OPTIMIZER"] = "fast"
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["3", str(512 << 20), "fast"]


@pytest.mark.parametrize(
    "wrong",
    [{"chunks": (0, 1)}, {"workers": 0}, {"memory_limit": "many"}, {"optimizer": "best"}, {"scheduler": "fast"}],
)
def test_wrong_options_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(imgrs.ArgumentError, match=next(iter(wrong))), imgrs.options(**wrong):
        pass


def test_the_options_that_are_listed_are_those_of_the_help() -> None:
    with pytest.raises(imgrs.ArgumentTypeError, match="the options are") as told:
        imgrs.new("L", (4, 4)).compute(caches="all")
    listed = str(told.value).rpartition("the options are ")[2].split(", ")
    text = (imgrs.options.__doc__ or "").partition("Raises")[0]
    assert listed == list(dict.fromkeys(re.findall(rf"``({'|'.join(config.NAMES)})\b", text)))


def test_the_distributed_scheduler_asks_for_a_client(tmp_path: Path) -> None:
    img = imgrs.new("L", (4, 4))
    with pytest.raises(imgrs.ArgumentError, match=r"scheduler=.distributed. .* start a distributed\.Client first"):
        img.compute(scheduler="distributed")
    with pytest.raises(imgrs.ArgumentError, match=r"start a distributed\.Client first"):
        img.save(tmp_path / "a.png", scheduler="distributed")
    assert not list(tmp_path.iterdir())


def test_a_budget_that_is_too_small_is_told_as_it_was_given(tmp_path: Path) -> None:
    imgrs.new("RGB", (300, 300)).save(tmp_path / "a.tif")
    img = imgrs.open(tmp_path / "a.tif").blur(2)
    with pytest.raises(imgrs.MemoryBudgetError, match=r"memory_limit=1KiB.*or fewer workers than 2$"):
        img.compute(memory_limit="1KiB", workers=2)
    with pytest.raises(imgrs.MemoryBudgetError, match=r'set memory_limit="\w+"$'):
        img.compute(memory_limit="1KiB", workers=1)


def test_other_processes_do_not_see_what_is_in_memory() -> None:
    import fsspec

    img = imgrs.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    try:
        img.save("memory://options.tif")
        with pytest.raises(imgrs.ArgumentError, match=r"memory://options\.tif .* this process"):
            imgrs.open("memory://options.tif").compute(scheduler="processes")
        with pytest.raises(imgrs.ArgumentError, match=r"memory://options\.dzi .* this process"):
            img.save("memory://options.dzi", scheduler="processes")
        img.save("memory://options.png", scheduler="processes")  # which this process writes
        np.testing.assert_array_equal(imgrs.open("memory://options.png").compute(), img.compute())
    finally:
        fsspec.filesystem("memory").store.clear()


def test_dasks_callbacks_see_one_task_for_each_tile(photo: npt.NDArray[Any]) -> None:
    started: list[Any] = []
    with dask.callbacks.Callback(pretask=lambda key, graph, state: started.append(key)):
        imgrs.fromarray(photo).blur(1).brightness(3).compute(chunks=(100, 100), scheduler="threads")
    tiles = 3 * 5
    assert tiles <= len(started) <= tiles + 2  # the program is a key, and so is the array


def test_dasks_scheduler_setting_is_used(photo: npt.NDArray[Any]) -> None:
    calls = []

    def get(graph: Any, keys: Any, **options: Any) -> Any:
        calls.append(len(graph))
        return dask.get(graph, keys)

    with dask.config.set(scheduler=get):
        got = imgrs.fromarray(photo).invert().compute()
    assert calls
    np.testing.assert_array_equal(got, 255 - photo)


def test_annotations_reach_the_graph(photo: npt.NDArray[Any]) -> None:
    with dask.annotate(priority=7):
        graph = imgrs.fromarray(photo).blur(1).__dask_graph__()
    assert [layer.annotations for layer in graph.layers.values()] == [{"priority": 7}]


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("color", ["white", "#c87828", "hsl(30, 50%, 40%)", "rebeccapurple"])
def test_colors_have_pillows_names(mode: str, color: str) -> None:
    from PIL import Image as Pillow
    from PIL import ImageColor, ImageOps

    np.testing.assert_array_equal(imgrs.new(mode, (2, 1), color), Pillow.new(mode, (2, 1), color))
    img, pillow = imgrs.new(mode, (9, 7), 50), Pillow.new(mode, (9, 7), tuple([50] * (len(mode) - mode.endswith("A"))))
    if mode.endswith("A"):
        pillow.putalpha(255)
    np.testing.assert_array_equal(img.pad(3, color=color), ImageOps.expand(pillow, 3, ImageColor.getcolor(color, mode)))
    turned = img.rotate(30, resample="nearest", fillcolor=color)
    np.testing.assert_array_equal(turned, pillow.rotate(30, fillcolor=color))
    if mode.endswith("A"):
        clear = imgrs.merge(mode, [*img.split()[:-1], imgrs.new("L", img.size, 0)])
        np.testing.assert_array_equal(clear.remove_transparency(color), Pillow.new(mode[:-1], img.size, color))


def test_colors_that_are_none_are_refused() -> None:
    with pytest.raises(imgrs.ArgumentError, match="the name of a color, got 'whiter'"):
        imgrs.new("RGB", (2, 1), "whiter")
    with pytest.raises(imgrs.ArgumentError, match=r"^pad: color .* or the name of a color, got 'whiter'"):
        imgrs.new("RGB", (2, 1)).pad(1, color="whiter")
    with pytest.raises(imgrs.ArgumentError, match="give numbers for CMYK"):
        imgrs.new("CMYK", (2, 1), "white")
    with pytest.raises(imgrs.ArgumentError, match=r"^affine: color 'white' .* give numbers for multiband"):
        imgrs.fromarray(np.zeros((4, 4, 7), "uint8")).rotate(30, fillcolor="white")


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_the_names_of_colors_mean_the_same_at_every_depth(mode: str, dtype: str) -> None:
    color = imgrs.new(mode, (8, 8), "#c87828").astype(dtype).compute()
    deep = imgrs.new(mode, (6, 6)).astype(dtype)
    np.testing.assert_array_equal(deep.pad(1, color="#c87828").compute()[0], color[0])
    white = imgrs.new("RGBA", (2, 2), (0, 0, 0, 0)).astype(dtype).remove_transparency().compute()
    np.testing.assert_array_equal(white, imgrs.new("RGB", (2, 2), "white").astype(dtype))
    assert imgrs.new("I;16", (1, 1), "white").compute().item() == 65_535


def test_a_place_that_is_given_as_a_mask_is_told() -> None:
    img = imgrs.new("L", (4, 4))
    with pytest.raises(imgrs.ArgumentError, match=r"write position=\(1, 2\)"):
        img.blend("normal", img, (1, 2))  # type: ignore[arg-type]  # wrong on purpose
