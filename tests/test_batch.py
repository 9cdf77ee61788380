"""Batches: which files, named how, made when, and what is told of them."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

import imgrs
import imgrs.run.save as run_save
from imgrs.batches import work
from imgrs.batches.crew import Budget
from imgrs.batches.done import Done
from imgrs.batches.sources import found, targets, template_of

SIDE = 48


def picture(seed: int, side: int = SIDE) -> imgrs.Image:
    return imgrs.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pictures in ``in``, one of them in a folder of its own."""
    (tmp_path / "in" / "more").mkdir(parents=True)
    for i, name in enumerate(["a.png", "b.png", "c.tif", "d.jpg", "more/e.png", "more/f.png"]):
        picture(i).save(tmp_path / "in" / name)
    return tmp_path


def half(img: imgrs.Image) -> imgrs.Image:
    return img.resize((SIDE // 2, SIDE // 2)).brightness(10)


# Which files


def test_sources_are_paths_patterns_and_folders_each_once(folder: Path) -> None:
    inside = folder / "in"
    (inside / "notes.txt").write_text("no image")
    expected = [str(inside / name) for name in ("a.png", "b.png", "c.tif", "d.jpg")]
    assert found(inside) == expected
    assert found([inside / "b.png", inside / "*.png", str(inside)]) == [expected[1], expected[0], *expected[2:]]
    assert found(str(inside / "**" / "*.png")) == [
        *expected[:2],
        *(str(inside / "more" / n) for n in ("e.png", "f.png")),
    ]
    assert found("https://host/a.jpg?size=[1]") == ["https://host/a.jpg?size=[1]"]


def test_a_name_with_brackets_is_a_name_if_it_is_there(folder: Path) -> None:
    path = folder / "a[1].png"
    picture(1).save(path)
    assert found(path) == [str(path)]


def test_a_folder_that_is_an_image_is_one_source(folder: Path) -> None:
    pytest.importorskip("zarr")
    picture(1).save(folder / "a.ome.zarr")
    assert found(folder / "a.ome.zarr") == [str(folder / "a.ome.zarr")]
    assert targets([str(folder / "a.ome.zarr")], "x/{stem}.{ext}") == ["x/a.ome.zarr"]
    assert found(folder / "*.zarr") == [str(folder / "a.ome.zarr")]


def test_urls_are_matched_by_their_file_system(folder: Path) -> None:
    import fsspec

    for i in range(2):
        picture(i).save(f"memory://batch/{i}.png")
    try:
        assert found("memory://batch/*.png") == ["memory:///batch/0.png", "memory:///batch/1.png"]
        report = imgrs.batch("memory://batch/*.png", half, "memory://batch/small/{name}")
        assert [row["status"] for row in report.rows] == ["saved", "saved"]
        np.testing.assert_array_equal(imgrs.open("memory://batch/small/1.png"), half(picture(1)))
    finally:
        fsspec.filesystem("memory").rm("/batch", recursive=True)


@pytest.mark.parametrize(
    ("sources", "match"),
    [
        ("nothing/*.png", "nothing matches"),
        ([], "no sources"),
        ([3], "got int"),
        (3, "got int"),
        ("tests", "holds no images"),
    ],
)
def test_what_is_not_there_is_said_before_anything_is_made(sources: Any, match: str) -> None:
    with pytest.raises(imgrs.ArgumentError, match=match):
        imgrs.batch(sources, half)


# Named how


def test_templates_name_results() -> None:
    names = ["in/a.b.jpg", "in/sub/c.ome.tif"]
    assert targets(names, "out/{parent}/{stem}_web.{ext}") == ["out/a.b_web.jpg", "out/sub/c_web.ome.tif"]
    assert targets(names, "{index:03d}-{name}") == ["000-a.b.jpg", "001-c.ome.tif"]
    assert targets(names[:1], "memory://x/{parent}/{name}") == ["memory://x/a.b.jpg"]
    urls = ["https://host/in/d.png?x=1", "https://host/in/more/e.png"]
    assert targets(urls, "out/{parent}/{name}") == ["out/d.png", "out/more/e.png"]


def test_parents_are_folders_below_the_one_that_all_are_in() -> None:
    here = os.getcwd()
    assert targets(["../a.jpg", "in/b.jpg"], "out/{parent}/{stem}.png") == [
        "out/a.png", f"out/{os.path.basename(here)}/in/b.png",
    ]  # fmt: skip
    assert targets([f"{here}/in/a.jpg", "in/b.jpg"], "out/{parent}/{name}") == ["out/a.jpg", "out/b.jpg"]
    for other in ("s3://bucket/a.jpg", "https://host/a.jpg"):
        with pytest.raises(imgrs.ArgumentError, match="on different systems"):
            targets(["in/b.jpg", other], "out/{parent}/{name}")


def test_a_folder_may_stand_for_the_names_in_it(tmp_path: Path) -> None:
    assert template_of("out/") == "out/{name}"
    assert template_of(tmp_path) == f"{tmp_path}/{{name}}"
    assert template_of("out") == "out"


@pytest.mark.parametrize(
    ("out", "match"),
    [
        ("{stem}.{kind}", "may name stem, name"),
        ("{stem", "not a template"),
        ("{stem:04d}.png", "cannot be filled in"),
        ("one.png", r"would both be saved as one.png; use \{stem\}, with \{parent\}"),
        ("in/{name}", "would replace the source"),
        (7, "got int"),
    ],
)
def test_templates_that_cannot_be_are_refused(out: Any, match: str) -> None:
    with pytest.raises(imgrs.ArgumentError, match=match):
        targets(["in/a.jpg", "in/b.jpg"], template_of(out))


# Made, by every scheduler


@pytest.fixture(params=["threads", "sync", "processes", "distributed"])
def scheduler(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param != "distributed":
        yield request.param
        return
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_every_scheduler_makes_the_same_files(folder: Path, scheduler: Any) -> None:
    report = imgrs.batch(
        folder / "in" / "**" / "*.*",
        half,
        folder / "out" / "{parent}" / "{stem}_small.png",
        scheduler=scheduler,
        workers=2,
    )
    assert [row["status"] for row in report.rows] == ["saved"] * 6
    for row in report.rows:
        with Pillow.open(row["output"]) as made:
            np.testing.assert_array_equal(made, half(imgrs.open(row["source"])))
        assert (row["width"], row["height"]) == (SIDE // 2, SIDE // 2)
        assert row["bytes"] == Path(row["output"]).stat().st_size
    assert (folder / "out" / "more" / "f_small.png").exists()


def test_one_bad_file_is_told_and_stops_nothing(folder: Path, scheduler: Any) -> None:
    good = (folder / "in" / "c.tif").read_bytes()
    (folder / "in" / "c.tif").write_bytes(good[:200] + bytes(60) + good[260:])
    (folder / "in" / "a.png").write_bytes(b"no image")
    names = [*(folder / "in").glob("?.*"), folder / "in" / "missing.png"]
    report = imgrs.batch(sorted(names), half, folder / "out" / "{stem}.png", scheduler=scheduler, workers=2)
    told = {Path(result.source).name: result for result in report.results}
    assert {name: result.status for name, result in told.items()} == {
        "a.png": "failed", "b.png": "saved", "c.tif": "failed", "d.jpg": "saved", "missing.png": "failed",
    }  # fmt: skip
    assert told["a.png"].error == "UnsupportedFormatError"
    assert told["missing.png"].error == "ImageNotFoundError"
    assert (told["c.tif"].error, told["c.tif"].op) == ("CorruptImageError", "open")
    assert told["c.tif"].tile is not None
    assert told["c.tif"].tile[2:] <= (SIDE, SIDE)
    assert sorted(path.name for path in (folder / "out").glob("[!.]*")) == ["b.png", "d.png"]


def fails(img: imgrs.Image) -> imgrs.Image:
    if img.format == "TIFF":
        raise ZeroDivisionError("of the user")
    return img


def test_errors_can_be_raised(folder: Path, scheduler: Any) -> None:
    with pytest.raises(ZeroDivisionError, match="of the user") as error:
        imgrs.batch(folder / "in", fails, folder / "out" / "{name}", scheduler=scheduler, workers=2, on_error="raise")
    assert any("c.tif" in note for note in error.value.__notes__)
    report = imgrs.batch(folder / "in", fails, folder / "out" / "{name}", scheduler=scheduler, workers=2)
    assert [result.error for result in report.failed] == ["ZeroDivisionError"]


def test_options_go_to_the_format_and_the_engine(folder: Path) -> None:
    imgrs.batch(folder / "in" / "?.png", half, folder / "out" / "{stem}.jpg", quality=10, chunks=(16, 16))
    imgrs.batch(folder / "in" / "?.png", half, folder / "out" / "{stem}.jpeg", quality=95)
    assert (folder / "out" / "a.jpg").stat().st_size < (folder / "out" / "a.jpeg").stat().st_size


def varied(img: imgrs.Image) -> Any:
    """A function of a pipeline by which each image has options of its own."""
    small = half(img)
    return small if float(img.mean()) < 50 else (small, {"quality": 95})


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_an_image_has_options_of_its_own_beside_those_of_all(scheduler: str, folder: Path) -> None:
    for name, level in (("dark", 50), ("light", 200)):
        imgrs.fromarray(np.random.default_rng(0).integers(0, level, (64, 64), np.uint8)).save(folder / f"{name}.png")
    sources, out = [folder / "dark.png", folder / "light.png"], folder / "out" / "{stem}.jpg"
    imgrs.batch(sources, varied, out, quality=30, scheduler=scheduler, workers=2)
    for name, quality in (("dark", 30), ("light", 95)):
        half(imgrs.open(folder / f"{name}.png")).save(folder / "alone.jpg", quality=quality)
        assert (folder / "out" / f"{name}.jpg").read_bytes() == (folder / "alone.jpg").read_bytes()
    states = [result.status for result in imgrs.batch(sources, varied, out, quality=30, resume=True)]
    assert states == ["kept", "kept"]
    states = [result.status for result in imgrs.batch(sources, varied, out, quality=31, resume=True)]
    assert states == ["saved", "kept"]  # whose own quality did not change


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"qualty": 3}, "JPEG has no option 'qualty'"),
        ("x", "must return an image and a dict of options, got a tuple with str"),
    ],
)
def test_options_of_one_image_are_checked_when_it_is_made(own: Any, told: str, folder: Path) -> None:
    def pipeline(img: imgrs.Image) -> Any:
        return img, own

    report = imgrs.batch(folder / "in" / "a.png", pipeline, folder / "out" / "{stem}.jpg")
    assert told in (report.failed[0].message or "")


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"qualty": 80}, "no option 'qualty' .*; JPEG has .*quality.*, and the engine chunks"),
        ({"quality": 500}, "quality must be a whole number from"),
        ({"wrokers": 3}, "and the engine .*workers"),
        ({"out": "{stem}.xyz"}, r"no format has the extension '\.xyz'"),
        ({"format": "nothing"}, "format must be one of"),
        ({"pipeline": imgrs.pipeline().blend("normal", imgrs.pipeline("logo"))}, r"more images than one \(logo\)"),
    ],
)
def test_what_is_wrong_for_all_images_is_said_at_the_call(
    wrong: dict[str, Any], match: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(imgrs.ArgumentError, match=match):
        imgrs.batch(**{"sources": "in/*.*", "pipeline": half, "out": "out/{stem}.jpg", **wrong})
    assert not (folder / "out").exists()


def test_wrong_calls_are_refused(folder: Path) -> None:
    for wrong in (
        {"pipeline": 3},
        {"on_error": "ignore"},
        {"workers": 0},
        {"out": "memory://x/{name}", "resume": True},
    ):
        with pytest.raises(imgrs.ArgumentError):
            imgrs.batch(folder / "in", **wrong)
    report = imgrs.batch(folder / "in" / "?.png", np.asarray, folder / "out" / "{name}")  # type: ignore[arg-type]  # wrong on purpose
    assert {result.error for result in report.failed} == {"ArgumentTypeError"}


# The report


def test_the_report_reads(folder: Path) -> None:
    (folder / "in" / "b.png").write_bytes(b"")
    report = imgrs.batch(folder / "in" / "?.png", half, folder / "out" / "{name}")
    assert json.loads(report.to_json())["results"] == json.loads(json.dumps(report.rows))
    first, second, last = str(report).splitlines()
    assert "saved" in first
    assert "24x24" in first
    assert "failed  UnsupportedFormatError: " in second
    assert last.startswith("1 saved, 1 failed in ")


# Again


def test_resume_makes_only_what_is_missing(folder: Path) -> None:
    again = functools.partial(imgrs.batch, folder / "in" / "?.png", out=folder / "out" / "{name}", resume=True)
    assert [r.status for r in again(half).results] == ["saved", "saved"]
    assert [r.status for r in again(half).results] == ["kept", "kept"]
    (folder / "out" / "a.png").unlink()
    assert [r.status for r in again(half).results] == ["saved", "kept"]
    (folder / "out" / "b.png").write_bytes(b"touched")
    assert [r.status for r in again(half).results] == ["kept", "saved"]
    picture(9).save(folder / "in" / "a.png")
    assert [r.status for r in again(half).results] == ["saved", "kept"]
    assert [r.status for r in again(lambda img: half(img).invert()).results] == ["saved", "saved"]
    assert [r.status for r in again(half).results] == ["saved", "saved"]
    assert [r.status for r in again(half, compress_level=9).results] == ["saved", "saved"]
    assert [r.status for r in again(half, compress_level=9).results] == ["kept", "kept"]


def test_what_was_made_without_resume_is_kept_with_it_unless_rules_differ(folder: Path) -> None:
    call = functools.partial(imgrs.batch, folder / "in" / "?.png", half, folder / "out" / "{name}")
    assert [r.status for r in call()] == ["saved", "saved"]
    assert [r.status for r in call(resume=True, workers=1, optimizer="off")] == ["kept", "kept"]
    assert [r.status for r in call(resume=True, optimizer="fast")] == ["saved", "saved"]  # whose pixels may differ


def test_a_journal_that_is_no_text_is_passed_over(folder: Path) -> None:
    call = functools.partial(imgrs.batch, folder / "in" / "?.png", half, folder / "out" / "{name}", resume=True)
    call()
    (journal,) = (folder / "out").glob(".imgrs-batch-*")
    journal.write_bytes(b"\xff\xfe\n" + journal.read_bytes() + b"\xff")
    assert [r.status for r in call()] == ["kept", "kept"]


def test_photographs_can_be_set_upright(folder: Path) -> None:
    exif = Pillow.Exif()
    exif[0x112] = 6
    Pillow.new("RGB", (40, 20)).save(folder / "turned.jpg", exif=exif)
    sizes = [
        [
            (r.width, r.height)
            for r in imgrs.batch(folder / "turned.jpg", out=folder / "o" / "{stem}.png", orient=orient)
        ]
        for orient in (False, True)
    ]
    assert sizes == [[(40, 20)], [(20, 40)]]


def test_a_monitor_sees_a_batch(folder: Path) -> None:
    with imgrs.monitor() as monitor:
        imgrs.batch(folder / "in" / "?.png", half, folder / "out" / "{name}", scheduler="threads", workers=2)
    assert len(monitor.runs) == 2


def test_a_pipeline_that_does_not_pickle_is_refused(folder: Path) -> None:
    with pytest.raises(imgrs.ArgumentError, match=r"cannot be sent to processes .* use an imgrs.pipeline\(\)"):
        imgrs.batch(folder / "in", lambda img: img, folder / "out" / "{name}", scheduler="processes", workers=2)


def dies(img: imgrs.Image) -> imgrs.Image:
    if img.format == "TIFF":
        os._exit(3)
    return img


def test_a_file_that_ends_its_process_is_told_and_stops_nothing(folder: Path) -> None:
    report = imgrs.batch(folder / "in" / "?.*", dies, folder / "out" / "{name}", scheduler="processes", workers=2)
    assert [Path(r.source).name for r in report.failed] == ["c.tif"]
    assert report.failed[0].error == "BrokenProcessPool"
    assert len(report.saved) == 3


def test_a_journal_with_half_a_line_is_read(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    template = str(tmp_path / "{name}")
    done = Done.of(template)
    done.add(str(tmp_path / "a"), "1")
    (path,) = tmp_path.glob(".imgrs-batch-*")
    path.write_text(path.read_text() + '["half')
    done = Done.of(template)
    done.add(str(tmp_path / "b"), "2")
    done.add(str(tmp_path / "c"), "3")
    done = Done.of(template)
    assert [done.key(str(tmp_path / name)) for name in ("a", "b", "c", "d")] == ["1", "2", "3", None]


SLOW = """
import sys, time, imgrs
def slow(img):
    time.sleep(0.3)
    return img.invert()
print("begun", flush=True)
imgrs.batch(sys.argv[1] + "/in/*.*", slow, sys.argv[1] + "/out/{name}", workers=1, resume=True)
"""


def test_a_killed_batch_goes_on(folder: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(folder)], stdout=subprocess.PIPE)
    while not any(journal.read_bytes() for journal in folder.glob("out/.imgrs-batch-*")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    made = {path: path.stat().st_mtime_ns for path in folder.glob("out/?.*")}
    assert 1 <= len(made) < 4
    report = imgrs.batch(f"{folder}/in/*.*", imgrs.Image.invert, f"{folder}/out/{{name}}", resume=True)
    states = [result.status for result in report.results]
    assert states.count("kept") in (len(made), len(made) - 1)  # one may have been killed before it was noted
    assert set(states) == {"kept", "saved"}
    assert sum(path.stat().st_mtime_ns == time_ for path, time_ in made.items()) == states.count("kept")
    for result in report.results:
        np.testing.assert_array_equal(
            imgrs.open(result.source).invert(), imgrs.open(result.output)
        ) if not result.output.endswith("jpg") else None


# Memory


def test_a_budget_is_never_overdrawn_and_serves_in_order() -> None:
    budget, lock, held, most, order = Budget(10), threading.Lock(), 0, 0, []

    def take(size: int) -> None:
        nonlocal held, most
        with budget.share(size):
            with lock:
                order.append(size)
                held += min(size, 10)
                most = max(most, held)
            time.sleep(0.01)
            with lock:
                held -= min(size, 10)

    with budget.share(8):
        threads = []
        for size in (9, 1, 2, 30, 3):
            threads.append(threading.Thread(target=take, args=(size,)))
            threads[-1].start()
            while len(budget._line) + len(order) < len(threads):
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert most <= 10
    assert order[0] == 9
    assert sorted(order[1:3]) == [1, 2]
    assert order[3:] == [30, 3]


def test_images_are_made_side_by_side_only_where_memory_holds_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[tuple[str | None, int]] = []
    taken: list[int] = []
    save, share = run_save.save, Budget.share

    def watched(outputs: Any, settings: Any) -> Any:
        chosen.append((settings.scheduler, settings.workers))
        return save(outputs, settings)

    def counted(self: Budget, wanted: int) -> Any:
        taken.append(wanted)
        return share(self, wanted)

    monkeypatch.setattr(work, "save", watched)
    monkeypatch.setattr(Budget, "share", counted)
    options: dict[str, Any] = {"workers": 2, "scheduler": "threads", "memory_limit": "1GiB"}
    imgrs.batch(folder / "in" / "**" / "*.png", half, folder / "out" / "{name}", **options)
    assert chosen.count(("sync", 1)) >= 3  # while as many are left as workers; the last may come after the others
    chosen.clear()
    imgrs.batch(folder / "in" / "a.png", half, folder / "out" / "{name}", **options)
    assert chosen == [("threads", 2)]
    assert all(0 < size < 1 << 30 for size in taken)
    chosen.clear()
    monkeypatch.setattr(work, "forecast", lambda outputs, settings: SimpleNamespace(peak_bytes=600 << 20))
    imgrs.batch(folder / "in" / "**" / "*.png", half, folder / "out" / "{name}", **options)
    assert chosen == [("threads", 2)] * 4  # memory holds one at a time


def large_or_small(img: imgrs.Image) -> imgrs.Image:
    return img.blur(100) if img.format == "TIFF" else img


def test_what_needs_more_than_a_part_of_the_memory_is_made_last_in_another_process(folder: Path) -> None:
    picture(1, 900).save(folder / "in" / "c.tif")
    for limit, status in (("30MiB", "saved"), ("1MiB", "failed")):
        report = imgrs.batch(
            folder / "in",
            large_or_small,
            folder / "out" / "{name}",
            scheduler="processes",
            workers=2,
            memory_limit=limit,
        )
        assert [r.status for r in report.results if r.source.endswith("tif")] == [status], str(report)
