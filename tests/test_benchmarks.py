"""The benchmarks measure what they say: every peer does the same work, and results reach the table. Nothing is timed."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import imgrs
from benchmarks import compare, drawn, images, instrument, measure, peers, report, steps, targets, workloads
from benchmarks.job import Job, Sample
from benchmarks.peers import OURS, ours, pypi
from benchmarks.targets import Measured, Target
from benchmarks.workloads import WORKLOADS, Workload
from imgrs import demo

Array = npt.NDArray[Any]
SIZE = (451, 300)
FOLDER = images.folder()
UNIT = {"uint8": 1.0, "uint16": 1 / 257, "float32": 255.0}
COMPARED = [p.name for p in (*peers.PEERS.values(), *peers.FURTHER.values()) if p.module not in ("ours", "control")]
MEASURED_BY_NO_TARGET = 4.0
"""The mean difference that forms beside the others may have: ``libvips defaults`` is less accurate, and says so."""


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benchmarks")


@functools.cache
def ours_of(row: str, place: Path) -> Array:
    return result(job(WORKLOADS[row], OURS, place))


@pytest.fixture(scope="session")
def stranger() -> Path:
    """The environment of the package from PyPI."""
    try:
        found: Path = pypi.interpreter(FOLDER)
    except RuntimeError as error:
        pytest.skip(str(error))  # no package index is reached from here
    return found


def job(row: Workload, name: str, place: Path) -> Job:
    """A workload at a small size, for a peer."""
    width, height = row.size if row.kind == "memory" and row.size else SIZE
    source = images.made(place, row.source, width, height, row.dtype)
    made = measure.job_of(row, name, 10_000, threads=2)
    chain = row.chain(width, height)
    target = place / f"{name}.{row.target}"
    return replace(made, source=str(source), target=str(target), width=width, height=height, chain=chain)


def result(given: Job) -> Array:
    """The pixels that a peer makes."""
    code = importlib.import_module(f"benchmarks.peers.{given.peer}")
    if given.kind == "memory":
        if given.peer == "pypi":
            asked = replace(given, kind="result", target=f"{given.target}.npy")
            measure.run(asked, FOLDER)
            return np.asarray(np.load(asked.target))
        code.prepare(given.settings)
        return np.asarray(code.in_memory(np.load(given.source), given.chain, given.settings))
    if given.kind == "window":
        code.prepare(given.settings)
        box = steps.window(given.width, given.height, 1)
        return np.asarray(code.from_file(given.source, (*given.chain, ("crop", box)), given.settings))
    if given.peer == "pypi":
        measure.run(given, FOLDER)
    else:
        code.prepare(given.settings)
        code.to_file(given.source, given.chain, given.target, given.options, given.settings)
    return imgrs.open(given.target).compute()


@pytest.mark.parametrize("name", COMPARED)
def test_every_peer_does_the_same_work(name: str, place: Path, request: pytest.FixtureRequest) -> None:
    if peers.peer(name).module == "pypi":
        request.getfixturevalue("stranger")
    seen = 0
    for row in WORKLOADS.values():
        given = job(row, name, place) if name in row.peers and row.kind != "batch" else None
        if given is None or peers.peer(name).code.cannot(given):
            continue
        expected, got = ours_of(row.name, place), result(given)
        assert got.shape == expected.shape, row.name
        assert got.dtype == expected.dtype, row.name
        difference = np.abs(got.astype(np.float64) - expected.astype(np.float64)).mean() * UNIT[row.dtype]
        allowed = row.looser.get(name, (row.tolerance,))[0]
        assert difference <= (MEASURED_BY_NO_TARGET if name in peers.FURTHER else allowed), row.name
        seen += 1
    assert seen


def test_chains_are_the_guides() -> None:
    img = imgrs.new("RGB", (10_000, 10_000), (1, 2, 3))
    assert ours.applied(img, workloads.GRADE) == demo.grade(img)
    assert ours.applied(img, workloads.heavy(10_000, 10_000)) == demo.heavy_processing(img)


def test_the_arithmetic_by_hand_is_the_ops() -> None:
    values = np.arange(256, dtype=np.uint8)[None]
    run = [step for step in workloads.SAMPLES_20 if step[0] in steps.CURVES]
    np.testing.assert_array_equal(
        steps.table(run, "uint8")[values], ours.applied(imgrs.fromarray(values), run).compute()
    )
    for name, value in (("saturate", 1.3), ("sepia", 0.4), ("hue_rotate", 25)):
        op = getattr(imgrs.ops.color, {"hue_rotate": "HueRotate"}.get(name, name.capitalize()))(value)
        np.testing.assert_allclose(steps.matrix((name, value)), op.weights(), atol=1e-12)
    whole, scale = steps.whole_mask(("sharpen", 1.5))
    np.testing.assert_array_equal(np.array(whole) / scale, steps.mask(("sharpen", 1.5))[0])


def test_the_package_of_our_name_is_never_ours() -> None:
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("imgrs")
    assert "PYTHONPATH" not in measure.environment("pypi")
    source = str(measure.ROOT / "imgrs" / "image.py")
    compiled = Path(importlib.util.cache_from_source(source))
    compiled.unlink(missing_ok=True)
    measure._compile.cache_clear()
    assert measure.environment("ours")["PYTHONPATH"] == str(measure.ROOT)
    assert compiled.exists()


def test_the_package_of_our_name_runs_in_its_own_environment(stranger: Path, place: Path) -> None:
    source = images.made(place, "npy", *SIZE)
    sample = measure.run(
        Job("pypi", "memory", str(source), settings={"threads": 2}, chain=(("brightness", 5),)), FOLDER
    )
    assert sample.versions == {"imgrs from PyPI": pypi.VERSION}
    assert "imgrs.plan" not in sample.modules


def test_jobs_and_samples_travel_as_text() -> None:
    given = Job("vips", "memory", chain=(("resize", [3, 4], "lanczos"), ("blur", 2.0)), options={"level": 1})
    assert Job.of(given.text()) == given
    found = Sample(0.5, peak=7, modules=("a", "b"), versions={"x": "1"})
    assert Sample.of(found.text()) == found


def test_a_job_that_fails_says_whose_it_was(place: Path) -> None:
    with pytest.raises(measure.FailedError, match="vips"):
        measure.run(Job("vips", "memory", str(place / "missing.npy"), settings={"threads": 1}), FOLDER)


def test_a_job_that_takes_too_long_is_stopped_and_shown(place: Path) -> None:
    given = Job(
        "ours", "memory", str(images.made(place, "npy", *SIZE)), settings={"threads": 1}, chain=(("blur", 1.0),)
    )
    with pytest.raises(measure.FailedError, match="stopped after 0 s"):
        measure.run(given, FOLDER, limit=0.01)
    row = compare.Row("half", {OURS: Measured(1.0, 1.0, 1.0)}, {"libvips": "stopped after 300 s", "Pillow": "no time"})
    other = compare.Row("tone", {OURS: Measured(1.0, 1.0, 1.0), "libvips": Measured(1.0, 1.0, 1.0)}, {})
    text = report.table([WORKLOADS["half"], WORKLOADS["tone"]], {"half": row, "tone": other})
    assert "| half | 1 s | stopped after 300 s |" in text


def test_targets_compare_with_a_peer_the_best_other_or_our_other_rows() -> None:
    def row(seconds: float) -> Measured:
        return Measured(seconds, seconds * 2, seconds * 100)

    results = {
        "a": {OURS: row(1.0), "libvips": row(4.0), "Pillow": row(8.0), "scikit-image": row(2.0)},
        "b": {OURS: row(6.0)},
    }
    assert Target(0.5, "libvips").ratio("a", results) == 0.25
    assert Target(0.5, "others").ratio("a", results) == 0.5
    assert Target(1.0, ("a", "a")).ratio("b", results) == 3.0
    assert Target(1.5, "libvips", "memory").ratio("a", results) == 0.25
    assert Target(1.0, "libvips").ratio("b", results) is None
    assert Target(1.0, ("a", "not measured")).ratio("b", results) is None


def test_a_miss_is_shown_with_what_limits_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "LIMITS", tmp_path / "limits.md")
    monkeypatch.setattr(report, "PAGE", tmp_path / "performance.md")
    report.LIMITS.write_text("# Limits\n\n## blur 2\n\nThe taps.\n", encoding="utf-8")
    report.PAGE.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", encoding="utf-8")
    fast, slow = Measured(1.0, 1.0, 1e6, predicted=2.0), Measured(3.0, 3.0, 1e6)
    rows = {
        "tone": compare.Row("tone", {OURS: fast, "libvips": Measured(10.0, 10.0, 1e6)}, {}),
        "blur 2": compare.Row("blur 2", {OURS: slow, "libvips": fast}, {}),
        "half": compare.Row("half", {OURS: slow, "libvips": fast}, {}),
    }
    report.write(report.page(rows, 10_000, compare.machine({"libvips": "8"})))
    text = report.PAGE.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "0.15 of libvips: 0.10, met" in text
    assert "0.75 of libvips: 3.00, **not met**" in text
    assert "**blur 2**: The taps." in text
    assert "**half**: not looked into yet." in text
    assert "**tone**:" not in text
    report.plot(rows, tmp_path / "plot.svg")
    assert "libvips" in (tmp_path / "plot.svg").read_text(encoding="utf-8")


def test_results_are_kept_for_the_table(tmp_path: Path) -> None:
    row = compare.Row("tone", {OURS: Measured(1.0, 1.0, 1.0)}, {"OpenCV": "why"}, {"numpy": "2"}, (1.0, 1.1))
    compare.keep(row, 77, tmp_path)
    assert compare.kept(77, tmp_path) == {"tone": row}
    assert compare.kept(78, tmp_path) == {}


def test_drawn_workloads_follow_their_seed() -> None:
    def shape(rows: list[Workload]) -> list[Any]:
        return [(row.name, row.size, row.chain(100, 90), dict(row.settings), row.tile) for row in rows]

    assert shape(drawn.workloads(5, 1_000)) == shape(drawn.workloads(5, 1_000))
    assert shape(drawn.workloads(5, 1_000)) != shape(drawn.workloads(6, 1_000))
    for row in drawn.workloads(5, 1_000):
        assert row.size is not None
        assert all(side % 2 for side in row.size)
        assert row.targets


def test_a_clock_gives_each_function_its_own_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(instrument.time, "perf_counter", lambda: now[0])
    clock = instrument.Clock()

    def inner() -> None:
        now[0] += 2.0

    counted = clock.counted("inner", inner)

    def outer() -> None:
        now[0] += 1.0
        counted()
        counted()

    clock.counted("outer", outer)()
    assert dict(clock.seconds) == {"inner": 4.0, "outer": 1.0}
    assert dict(clock.calls) == {"inner": 2, "outer": 1}


def run(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    done = subprocess.run(command, cwd=measure.ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_workloads_end_to_end(tmp_path: Path) -> None:
    common = ("--quick", "--side", "300", "--peer", "libvips", "--peer", "copy", "--folder", str(tmp_path))
    said = run("compare", "tone", "tone, TIFF", *common)
    (tone,) = [line for line in said.splitlines() if line.startswith("| tone |") and "of libvips" in line]
    assert "0.15 of libvips" in tone
    assert "3.5 of copy" in tone
    assert any(line.startswith("| tone, TIFF |") and "memory 1.5 of libvips" in line for line in said.splitlines())
    assert not list(tmp_path.glob("out-*"))


def test_a_profile_names_kernels_and_codecs(tmp_path: Path) -> None:
    said = run("profile", "grade, TIFF", "--side", "400", "--folder", str(tmp_path))
    for name in ("kernels: blur", "codecs: decode TIFF", "codecs: encode, TiffEncoder", "planning: optimize and plan"):
        assert f"| {name} |" in said
    assert "| kernels |" in said


def test_other_commands_are_told_apart() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "nothing"], cwd=measure.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    for name in ("compare", "profile", "calibrate", "figures", "files", "shards"):
        assert f"  {name} " in done.stderr


def test_tables_say_what_is_asked() -> None:
    assert str(Target(0.5, "others")) == "0.5 of the best other"
    assert str(targets.Target(1.0, ("tone", "half"), "memory")) == "memory 1 of our tone + our half"
    assert report.seconds(0.0123) == "12.3 ms"
    assert report.size(3 << 20) == "3 MiB"
