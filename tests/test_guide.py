"""The performance guide's blocks (guide.md) run as written, on a folder of photographs, and leave what they promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image as Pillow

import imgrs

ROOT = Path(__file__).parent.parent
GUIDE = Path(__file__).parent / "guide.md"
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
PRELUDE = """\
import sys
import time
import imgrs
sys.modules["puhu"] = imgrs
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
img = imgrs.open("test_image.jpg")
"""
NAMED = ["large_image", "10MP_image", "test_image", "huge_image", "photo", *(f"img{i}" for i in range(1, 5))]
NUMBERED = [*(f"image_{i}" for i in range(1, 21)), *(f"test_image_{i}" for i in range(1, 51))]
LEFT = {
    "batch_process_threaded": ["output/a.jpg", "output/b.jpg"],
    "process_large_image_efficiently": ["processed_huge_image.jpg"],
    "batch_optimize_formats": ["optimized_images/web/a.jpeg", "optimized_images/thumbnail/b.jpeg"],
    "choose_parallelization_strategy": [f"processed_img{i}.jpg" for i in range(1, 5)],
    "ImageMemoryPool": [f"processed_image_{i}.jpg" for i in range(1, 21)],
    "PerformanceMonitor": [f"monitored_test_image_{i}.jpg" for i in range(1, 51)],
    "optimized_image_processing_template": [f"optimized_img{i}.jpg" for i in range(1, 4)],
}
"""What a block leaves, by a name that it defines."""


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import skimage.data

    folder = tmp_path_factory.mktemp("photographs")
    img = imgrs.fromarray(skimage.data.coffee())
    for name in NAMED:
        img.save(folder / f"{name}.jpg")
    small = img.resize((120, 80))
    for name in NUMBERED:
        small.save(folder / f"{name}.jpg")
    for inside in ("input", "source_images"):
        (folder / inside).mkdir()
        for name in "ab":
            small.save(folder / inside / f"{name}.jpg")
    return folder


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_guides_blocks_run_as_written(number: int, photographs: Path) -> None:
    (photographs / f"block_{number}.py").write_text(PRELUDE + BLOCKS[number], encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{photographs}"}
    run = subprocess.run(
        [sys.executable, f"block_{number}.py"],
        cwd=photographs, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "Error" not in run.stdout
    assert "failed" not in run.stdout.lower()
    for name, files in LEFT.items():
        if re.search(rf"^(def|class) {name}\b", BLOCKS[number], re.MULTILINE):
            for file in files:
                with Pillow.open(photographs / file) as image:
                    image.load()


PROCESSES = """\
import dask.config
from concurrent.futures import ProcessPoolExecutor as Processes
from multiprocessing import get_context
pool = Processes(2, get_context("spawn"))
dask.config.set(pool=pool)
imgrs.set_options(scheduler="processes")
"""
"""One pool of processes for all that a block computes; a block is run as text, which spawned processes do not run again."""


@pytest.mark.parametrize(
    "number", [i for i, block in enumerate(BLOCKS) if "ProcessPoolExecutor" not in block], ids=lambda i: f"block {i}"
)
def test_the_guides_blocks_run_in_processes(number: int, photographs: Path) -> None:
    """All but those that fork processes of their own, which a program with a pool must not."""
    run = subprocess.run(
        [sys.executable, "-c", f"{PRELUDE}{PROCESSES}{BLOCKS[number]}\nprint(img.compute().shape, len(pool._processes))"],
        cwd=photographs, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert re.search(r"\) [12]$", run.stdout.strip()), "no process was started"
    assert "Error" not in run.stdout
    assert "failed" not in run.stdout.lower()


def test_the_guide_has_fifteen_blocks() -> None:
    assert len(BLOCKS) == 15
    assert all(block.strip() for block in BLOCKS)
