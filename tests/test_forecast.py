"""What a run will take, told before: no less than is measured, and at most twice as much."""

from __future__ import annotations

import dataclasses
import re
import shutil
import sys
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import imgrs
from imgrs.ops.source import Open
from imgrs.plan.explain import explain
from tests import peaks
from tests.peaks import JOBS, SMALL_JOBS

MEANT = 16 << 20
"""Bytes from which a peak means something: less is lost in what the allocator does."""
TRIES = 3
"""Runs of which the highest peak counts: on a busy machine one in a hundred took half, as tasks hardly met each other."""
linux = pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")


@linux
@pytest.mark.parametrize("name", JOBS | SMALL_JOBS)
def test_the_forecast_is_no_less_than_the_peak_and_at_most_twice(name: str, pictures: Path) -> None:
    most = 0
    for _ in range(TRIES):
        peak = peaks.measured(name, pictures)
        assert peak.forecast >= peak.measured
        most = max(most, peak.measured)
        if peak.forecast <= 2 * max(most, MEANT):
            break
    assert peak.forecast <= 2 * max(most, MEANT)


@pytest.fixture
def photo_png(photo: Any, tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    imgrs.fromarray(photo).save(path)
    return path


def test_an_estimate_reads_nothing_beyond_the_header(
    photo: Any, photo_png: Path, photo_tiff: Path, tmp_path: Path
) -> None:
    imgrs.fromarray(photo).save(tmp_path / "photo.jpg")
    imgrs.fromarray(photo).save(tmp_path / "photo.zarr")
    images = [imgrs.open(path) for path in (photo_png, photo_tiff, tmp_path / "photo.jpg", tmp_path / "photo.zarr")]
    for path in (photo_png, photo_tiff, tmp_path / "photo.jpg"):
        path.unlink()
    shutil.rmtree(tmp_path / "photo.zarr")
    for img in images:
        found = imgrs.estimate(img.blur(2).auto_contrast(), sink="tiff")
        assert min(found.peak_bytes, found.read_bytes, found.tasks) > 0
        assert found.seconds > 0


def test_an_estimate_says_what_the_tables_of_a_file_say(photo_tiff: Path) -> None:
    img = imgrs.open(photo_tiff)
    with tifffile.TiffFile(photo_tiff) as file:
        lengths = np.reshape(file.pages[0].databytecounts, (5, 8))
    assert imgrs.estimate(img.brightness(3)).read_bytes == lengths.sum()
    assert imgrs.estimate(img.crop((0, 0, 100, 100)), img.crop((0, 0, 30, 40))).read_bytes == lengths[:2, :2].sum()


_SIDE = 900
_NOISE: Any = np.random.default_rng(3).integers(0, 256, (_SIDE, _SIDE, 4), np.uint8)
CONVERTED: dict[str, tuple[Any, dict[str, Any]]] = {
    "as stored": (_NOISE[..., :3], {"photometric": "rgb"}),
    "palette": (_NOISE[..., 0], {"photometric": "palette", "colormap": _NOISE[:3, :256, 0].astype(np.uint16) * 257}),
    "bits": (_NOISE[..., 0] > 99, {"photometric": "minisblack"}),
    "inverted": (_NOISE[..., 0], {"photometric": "miniswhite"}),
    "halves": (_NOISE[..., 0].astype(np.float16), {"photometric": "minisblack"}),
    "weighted by alpha": (_NOISE, {"photometric": "rgb", "extrasamples": ["assocalpha"]}),
    "weighted at 16 bits": (_NOISE.astype(np.uint16), {"photometric": "rgb", "extrasamples": ["assocalpha"]}),
    "brightness and color": (_NOISE[..., :3], {"photometric": "ycbcr", "subsampling": (1, 1)}),
}
"""Pixels that are stored otherwise than they are given out."""


@pytest.mark.parametrize("name", CONVERTED)
def test_no_conversion_takes_more_memory_than_it_says(name: str, tmp_path: Path) -> None:
    stored, options = CONVERTED[name]
    tifffile.imwrite(tmp_path / "a.tif", stored, tile=(256, 256), **options)
    source = imgrs.open(tmp_path / "a.tif")._node.op
    assert isinstance(source, Open)
    reader = source.reader
    region = reader.spec.region
    reader.read(region)
    tracemalloc.start()
    try:
        reader.read(region)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= reader.spec.nbytes + reader.converting_bytes(region.area) + reader.decoding_bytes() + (1 << 20)


def test_an_estimate_is_a_frozen_record_of_numbers(photo_tiff: Path) -> None:
    found = imgrs.estimate(imgrs.open(photo_tiff).blur(2), chunks=(64, 64))
    assert [field.name for field in dataclasses.fields(found)] == [
        "peak_bytes", "read_bytes", "seconds", "tasks", "scratch_bytes",
    ]  # fmt: skip
    assert found.tasks == 40
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.tasks = 1  # type: ignore[misc]  # which is what is tried


@pytest.mark.usefixtures("usual_options")
@pytest.mark.parametrize(("workers", "machinery"), [(1, 7), (2, 10), (4, 16), (32, 16)])
def test_an_estimate_counts_the_machinery_beside_what_explain_shows(workers: int, machinery: int) -> None:
    img = imgrs.new("RGB", (8000, 6000), (1, 2, 3)).blur(2)
    options: dict[str, Any] = {"memory_limit": "1GiB", "workers": workers}
    told = re.search(r"memory +([\d.]+) MiB at the peak", img.explain(sink="tiff", **options))
    assert told is not None
    files, arrays = (imgrs.estimate(img, sink=sink, **options).peak_bytes / 2**20 for sink in ("tiff", None))
    assert files == pytest.approx(float(told[1]) + machinery, abs=0.06)
    told = re.search(r"memory +([\d.]+) MiB at the peak", img.explain(**options))
    assert told is not None
    assert arrays == pytest.approx(float(told[1]) + machinery + img.nbytes / 2**20, abs=0.06)


def test_arrays_that_are_handed_out_are_part_of_the_estimate() -> None:
    img = imgrs.new("RGB", (8000, 6000), (1, 2, 3)).blur(2)
    alone = imgrs.estimate(img, sink="tiff").peak_bytes
    assert imgrs.estimate(img, memory_limit="64MiB").peak_bytes > img.nbytes
    assert alone < imgrs.estimate(img, img.blur(1), sink=["tiff", None]).peak_bytes - img.nbytes


def test_what_is_kept_in_files_is_told(photo: Any, tmp_path: Path) -> None:
    imgrs.fromarray(np.tile(photo, (10, 10, 1))).save(tmp_path / "large.png")
    img = imgrs.open(tmp_path / "large.png")
    options: dict[str, Any] = {"workers": 1, "chunks": (256, 256), "scheduler": "threads"}
    assert imgrs.estimate(img.auto_contrast(), memory_limit="1GiB", **options).scratch_bytes == 0
    assert imgrs.estimate(img.rotate(33), memory_limit="48MiB", **options).scratch_bytes == img.nbytes


def test_the_least_limit_that_would_do_is_told_and_does(photo_tiff: Path) -> None:
    img = imgrs.open(photo_tiff).blur(20)
    with pytest.raises(imgrs.MemoryBudgetError) as caught:
        imgrs.estimate(img, memory_limit="1KiB", workers=1)
    told = re.search(r'set memory_limit="(\w+)"', str(caught.value))
    assert told is not None
    assert imgrs.estimate(img, memory_limit=told[1], workers=1).tasks > 0


def test_estimate_names_what_is_wrong() -> None:
    img = imgrs.new("RGB", (40, 30), (1, 2, 3))
    broken: Any = np.zeros((3, 4))
    with pytest.raises(imgrs.ArgumentTypeError, match=r"^estimate: needs imgrs images"):
        imgrs.estimate(broken)
    with pytest.raises(imgrs.ArgumentTypeError, match=r"^estimate: needs imgrs images"):
        imgrs.estimate()
    with pytest.raises(imgrs.ArgumentError, match=r"^estimate: sink must be one format for all images or 2, got 1"):
        imgrs.estimate(img, img, sink=["tiff"])
    with pytest.raises(imgrs.ArgumentError, match=r"^estimate: sink must"):
        imgrs.estimate(img, sink="nonsense")
    number: Any = 64
    with pytest.raises(imgrs.ArgumentTypeError, match=r"^estimate: sink must be a name, got int"):
        imgrs.estimate(img, sink=number)
    beside: Any = [("tiff", 64)]
    with pytest.raises(
        imgrs.ArgumentTypeError, match=r"^estimate: sink must be a format and a dict of options, got a tu"
    ):
        imgrs.estimate(img, sink=beside)


SAVES: list[tuple[str, dict[str, Any]]] = [
    ("tiff", {"tile": 128, "compression": "zstd"}),
    ("tiff", {"pyramid": True, "metadata": False}),
    ("tiff", {"tile": 64, "resume": True}),
    ("jpeg", {"quality": 50, "subsampling": 0, "recipe": True}),
    ("png", {"compress_level": 9, "optimizer": "off"}),
]


@pytest.mark.parametrize(("format", "options"), SAVES)
def test_explain_and_estimate_with_the_options_of_a_save_are_about_its_plan(
    format: str, options: dict[str, Any], photo_tiff: Path, tmp_path: Path
) -> None:
    img = imgrs.open(photo_tiff).blur(2)
    engine: dict[str, Any] = {"workers": 2, "scheduler": "threads", "memory_limit": "1GiB"}
    with imgrs.monitor() as watched:
        img.save(tmp_path / "saved", format, **options, **engine)
    (run,) = watched.runs
    assert img.explain(format, **options, **engine) == explain(run.plan)
    assert imgrs.estimate(img, sink=format, **options, **engine).tasks == run.plan.forecast.tasks
    assert str(img.profile(format, **options, **engine)).startswith(explain(run.plan))


def test_estimates_of_several_saves_have_options_for_all_and_for_one() -> None:
    img = imgrs.new("RGB", (4000, 3000), (1, 2, 3)).blur(2)
    small = img.resize(width=1000)
    one = imgrs.estimate(img, small, sink=[("tiff", {"tile": 64}), ("tiff", {"tile": 2048})])
    assert one == imgrs.estimate(img, small, sink=["tiff", ("tiff", {"tile": 2048})], tile=64)
    assert one != imgrs.estimate(img, small, sink="tiff", tile=64)
    assert imgrs.estimate(img, small, sink=["tiff", None], tile=64).tasks > 0
    for_all = imgrs.estimate(img, small, sink=("tiff", {"tile": 64}))
    assert for_all == imgrs.estimate(img, small, sink="tiff", tile=64)
    assert imgrs.estimate(img, sink=("tiff", {"tile": 64})) == imgrs.estimate(img, sink="tiff", tile=64)
    assert imgrs.estimate(img, small, sink=("tiff", "jpeg")) == imgrs.estimate(img, small, sink=["tiff", "jpeg"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"sink": "jpeg", "quality": 200}, "JPEG quality must be a whole number"),
        ({"sink": "jpeg", "pyramid": True}, "JPEG has no option 'pyramid'"),
        ({"sink": "jpeg", "recipe": 3}, "recipe must be True or False"),
        ({"sink": "webp", "resume": True}, "resume=True needs a format that is written tile by tile"),
        ({"sink": "bmp", "recipe": True}, "BMP keeps no XMP"),
        ({"quality": 80}, "'quality' is not an option of the engine, which has chunks, .* need sink"),
    ],
)
def test_options_of_a_save_that_is_foreseen_are_checked_as_those_of_one_that_is_made(
    options: dict[str, Any], told: str, tmp_path: Path
) -> None:
    img = imgrs.new("RGB", (40, 30), (1, 2, 3))
    for name, call in (("explain", img.explain), ("profile", img.profile), ("estimate", partial(imgrs.estimate, img))):
        with pytest.raises(imgrs.ArgumentError, match=f"^{name}: {told}"):
            call(**options)
    if "sink" in options:
        with pytest.raises(imgrs.ArgumentError, match=f"^save: {told}"):
            img.save(tmp_path / "saved", options.pop("sink"), **options)
