"""Saves: several in one run, killed and gone on with, to streams; whole or not at all."""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as Pillow

import imgrs
from imgrs.errors import ArgumentError, ArgumentTypeError, SaveError
from imgrs.io import format_for
from imgrs.io.atomic import temporary_folder
from imgrs.io.format import TileEncoder
from imgrs.run import journal
from imgrs.run.pyramid import Encode, Place
from tests.test_files import pixels

Array = npt.NDArray[Any]


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    path = tmp_path / "noise.tif"
    imgrs.fromarray(np.random.default_rng(5).integers(0, 256, (700, 900, 3), np.uint8)).save(path, tile=64)
    return path


@pytest.mark.parametrize("memory_limit", ["1GiB", "15MiB"])
@pytest.mark.parametrize("scheduler", ["threads", "sync"])
def test_saved_together_each_tile_is_decoded_once(
    scheduler: str, memory_limit: str, noise: Path, tmp_path: Path, decoded: list[int], monkeypatch: Any
) -> None:
    monkeypatch.setattr("imgrs.io.segments._shared._limit", 0)  # nothing is found by luck
    img = imgrs.open(noise)
    small, web = img.resize((90, 70)), img.blur(2).brightness(20)
    (mean, counts) = imgrs.save_all(
        {
            tmp_path / "small.webp": (small, {"lossless": True}),
            tmp_path / "web.png": web,
            tmp_path / "web.tif": (web, {"tile": 32}),
            tmp_path / "small.jpg": small,
        },
        statistics=[img.mean(), img.histogram()],
        scheduler=scheduler,
        memory_limit=memory_limit,
        workers=1,
        chunks=(128, 100),
    )
    assert sorted(decoded) == list(range(15 * 11))
    for name, expected in (("small.webp", small), ("web.png", web), ("web.tif", web)):
        np.testing.assert_array_equal(np.asarray(Pillow.open(tmp_path / name)), expected.compute(), name)
    small.save(tmp_path / "alone.jpg")
    assert (tmp_path / "small.jpg").read_bytes() == (tmp_path / "alone.jpg").read_bytes()
    data = np.asarray(Pillow.open(noise)).reshape(-1, 3)
    np.testing.assert_allclose(mean, data.mean(axis=0))
    np.testing.assert_array_equal(counts, np.stack([np.bincount(band, minlength=256) for band in data.T], axis=1))


def test_saved_together_in_processes(noise: Path, tmp_path: Path) -> None:
    img = imgrs.open(noise)
    imgrs.save_all({tmp_path / "a.tif": img.invert(), tmp_path / "b.webp": img.resize((9, 9))}, scheduler="processes")
    np.testing.assert_array_equal(imgrs.open(tmp_path / "a.tif").compute(), img.invert().compute())
    assert Pillow.open(tmp_path / "b.webp").size == (9, 9)


def test_an_output_that_another_needs_is_computed_once(tmp_path: Path) -> None:
    calls = []

    def counted(tile: Array) -> Array:
        calls.append(tile.size)
        return 255 - tile

    img = imgrs.fromarray(pixels("uint8", 3, (600, 400))).map_tiles(counted).blur(30)
    imgrs.save_all({tmp_path / "a.tif": img, tmp_path / "b.tif": img.blur(40)}, scheduler="sync", chunks=(200, 200))
    single = sum(calls)
    calls.clear()
    img.save(tmp_path / "c.tif", scheduler="sync", chunks=(200, 200))
    assert single <= 1.05 * sum(calls)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "c.tif").read_bytes()


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.dzi"])
def test_tiles_are_made_from_the_top_so_that_neighbors_find_what_was_decoded(
    name: str, noise: Path, tmp_path: Path, decoded: list[int], monkeypatch: Any
) -> None:
    monkeypatch.setattr("imgrs.io.segments._shared._limit", 4 * 15 * 64 * 64 * 3)  # four rows of tiles
    monkeypatch.setattr("imgrs.io.png.write.STRIP", 30_000)
    monkeypatch.setattr("imgrs.io.jpeg.write.STRIP", 30_000)
    imgrs.open(noise).save(tmp_path / name, scheduler="sync", chunks=(100, 20))
    assert sorted(decoded) == list(range(15 * 11))


def test_all_or_none_are_saved(noise: Path, tmp_path: Path) -> None:
    def broken(tile: Array) -> Array:
        raise ZeroDivisionError

    img = imgrs.open(noise)
    (tmp_path / "a.png").write_bytes(b"old")
    with pytest.raises(imgrs.ComputeError):
        imgrs.save_all({tmp_path / "a.png": img, tmp_path / "b.png": img.map_tiles(broken)})
    assert (tmp_path / "a.png").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "noise.tif"]


def test_save_all_refuses_one_file_twice(noise: Path, tmp_path: Path, monkeypatch: Any) -> None:
    img = imgrs.open(noise)
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    for one, other in (
        ("a.png", "./a.png"),
        ("a.png", tmp_path / "a.png"),
        ("a.png", "link.png"),
        ("a.dzi", "./a.dzi"),
    ):
        with pytest.raises(ArgumentError, match=rf"{one}' and .*{Path(other).name}.* are the same file"):
            imgrs.save_all({one: img, other: img.invert()})
    assert not list(tmp_path.glob("a.*"))


def test_save_all_takes_the_format_among_the_options(noise: Path, tmp_path: Path) -> None:
    img = imgrs.open(noise)
    imgrs.save_all(
        {tmp_path / "folder": (img, {"format": "iiif", "tile": 256}), tmp_path / "a.bin": (img, {"format": "png"})}
    )
    assert json.loads((tmp_path / "folder" / "info.json").read_text())["width"] == 900
    np.testing.assert_array_equal(imgrs.open(tmp_path / "a.bin").compute(), img.compute())


def test_save_all_says_that_resume_is_for_one_image(noise: Path, tmp_path: Path) -> None:
    img = imgrs.open(noise)
    with pytest.raises(ArgumentError, match="resume is for one image"):
        imgrs.save_all({tmp_path / "a.tif": (img, {"resume": True})})
    with pytest.raises(ArgumentError, match="resume is for one image"):
        imgrs.save_all({tmp_path / "a.tif": img}, resume=True)


def test_save_all_refuses_at_the_call(noise: Path, tmp_path: Path) -> None:
    img = imgrs.open(noise)
    targets: list[Any] = [{}, {"a.png": 3}, [img], {"a.png": (img, {"resume": True})}, {"a.xyz": img}]
    for target in targets:
        with pytest.raises(ArgumentError):
            imgrs.save_all(target)
    with pytest.raises(ArgumentTypeError):
        imgrs.save_all({tmp_path / "a.png": img}, statistics=[3])  # type: ignore[list-item]  # wrong on purpose
    assert not (tmp_path / "a.png").exists()


# Gone on with

KILLED = """
import os, signal, sys, imgrs
from imgrs.io.png import write as png_write
png_write.STRIP = 100_000
def count(tile):
    with open('calls', 'a') as file:
        file.write('.')
    if os.path.getsize('calls') >= int(sys.argv[3]) > 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return 255 - tile
img = imgrs.open('noise.tif').map_tiles(count).brightness(int(sys.argv[2]))
img.save(sys.argv[1], resume=True, chunks=(128, 128), scheduler=sys.argv[4], workers=2, **eval(sys.argv[5]))
"""


def saved(folder: Path, name: str, options: dict[str, Any], die: int, more: int = 3, way: str = "threads") -> int:
    """Run the pipeline in a process that dies at call ``die``; returns how many tiles it computed."""
    (folder / "calls").write_text("")
    arguments = [name, str(more), str(die), way, repr(options)]
    run = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert run.returncode == (0 if (folder / name).exists() else -signal.SIGKILL if die else 1), run.stderr
    if "SaveError" in run.stderr:
        raise SaveError(run.stderr)
    return (folder / "calls").stat().st_size


TILES = 8 * 6


@pytest.mark.parametrize("way", ["threads", "sync"])
@pytest.mark.parametrize(
    ("name", "options"),
    [("a.tif", {"tile": 32}), ("a.tif", {"tile": 16, "pyramid": True}), ("a.png", {}), ("a.bmp", {})],
)
def test_a_killed_save_goes_on_and_gives_the_same_bytes(
    name: str, options: dict[str, Any], way: str, noise: Path, tmp_path: Path
) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "noise.tif").symlink_to(noise)
    whole = saved(tmp_path / "whole", name, options, 0, way=way)
    calls = [saved(tmp_path, name, options, die, way=way) for die in (9, 36)]
    assert not (tmp_path / name).exists()
    calls.append(saved(tmp_path, name, options, 0, way=way))
    assert (tmp_path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert whole <= sum(calls) <= whole + (80 if name == "a.png" else 24)  # those on their way at each kill; rows of 8
    assert calls[-1] < whole
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "calls", "noise.tif", "whole"])


def test_another_pipeline_or_source_refuses_the_journal(noise: Path, tmp_path: Path) -> None:
    options = {"tile": 32}
    saved(tmp_path, "a.tif", options, 9)
    with pytest.raises(SaveError, match="another save"):
        saved(tmp_path, "a.tif", options, 0, more=4)
    with pytest.raises(SaveError, match="another save"):
        saved(tmp_path, "a.tif", {**options, "compression": "zstd"}, 0)
    os.utime(noise)
    with pytest.raises(SaveError, match="another save"):
        saved(tmp_path, "a.tif", options, 0)
    folder = tmp_path / ".imgrs-resume-a.tif"
    img = imgrs.new("RGB", (9, 9))
    with open(folder / "lock", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        img.save(tmp_path / "a.tif")
        assert folder.exists(), "another process is at it"
    img.save(tmp_path / "a.tif")  # which is the way out that the error names
    assert not folder.exists()
    img.save(tmp_path / "a.tif", resume=True)


def test_a_lock_that_was_removed_with_its_folder_is_taken_anew(tmp_path: Path, monkeypatch: Any) -> None:
    asked = []

    def removed_once(lock: Any, folder: str) -> bool:
        asked.append(folder)
        if len(asked) == 1:
            shutil.rmtree(folder)  # as another process does that forgets it
        return is_at(lock, folder)

    is_at = journal._is_at
    monkeypatch.setattr(journal, "_is_at", removed_once)
    imgrs.new("RGB", (9, 9)).save(tmp_path / "a.tif", resume=True)
    assert len(asked) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_tiles_that_changed_are_made_again(noise: Path, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "noise.tif").symlink_to(noise)
    saved(tmp_path / "whole", "a.tif", {"tile": 32}, 0)
    saved(tmp_path, "a.tif", {"tile": 32}, 30)
    folder = tmp_path / ".imgrs-resume-a.tif"
    lines = (folder / "journal").read_text().splitlines()
    assert len(lines) > 20
    _, _, placed, _ = json.loads(lines[10])
    with open(folder / "image", "r+b") as file:
        file.seek(placed[0][1])
        file.write(b"damage")
    with open(folder / "journal", "a", encoding="ascii") as text:
        text.write('["0-1')  # a line that was cut off
    assert saved(tmp_path, "a.tif", {"tile": 32}, 0) > TILES - 20
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "whole" / "a.tif").read_bytes()


def test_two_processes_do_not_write_one_file(noise: Path, tmp_path: Path) -> None:
    started, going = threading.Event(), threading.Event()

    def slow(tile: Array) -> Array:
        started.set()
        going.wait(60)
        return tile

    img = imgrs.open(noise)
    first = threading.Thread(target=lambda: img.map_tiles(slow).save(tmp_path / "a.tif", resume=True))
    first.start()
    started.wait(60)
    with pytest.raises(SaveError, match="another process"):
        img.save(tmp_path / "a.tif", resume=True)
    going.set()
    first.join()
    assert (tmp_path / "a.tif").exists()


def test_what_cannot_be_gone_on_with_is_refused(noise: Path, tmp_path: Path) -> None:
    img = imgrs.open(noise)
    for target, format in ((tmp_path / "a.webp", None), (io.BytesIO(), "TIFF"), ("memory://a.tif", None)):
        with pytest.raises(ArgumentError, match="resume"):
            img.save(target, format, resume=True)


# To streams, and onto folders


def test_the_standard_output_takes_an_image(noise: Path) -> None:
    script = f"import imgrs; imgrs.open({str(noise)!r}).save('-', 'png')"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    np.testing.assert_array_equal(np.asarray(Pillow.open(io.BytesIO(run.stdout))), np.asarray(Pillow.open(noise)))


def test_a_pipe_is_written_not_replaced(noise: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: imgrs.open(noise).save(pipe))
    writer.start()
    content = pipe.read_bytes()
    writer.join()
    np.testing.assert_array_equal(np.asarray(Pillow.open(io.BytesIO(content))), np.asarray(Pillow.open(noise)))
    assert not pipe.is_file()


def test_a_folder_is_not_replaced_by_a_file(noise: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    (tmp_path / "a.png" / "kept").write_text("kept")
    with pytest.raises(SaveError, match="folder"):
        imgrs.open(noise).save(tmp_path / "a.png")
    assert (tmp_path / "a.png" / "kept").read_text() == "kept"


def test_a_terminated_save_leaves_the_old_file_and_the_next_one_sweeps(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"old")
    script = (
        "import imgrs, time\n"
        "def slow(tile):\n    open('started', 'w').close()\n    time.sleep(0.2)\n    return tile\n"
        "imgrs.new('RGB', (3000, 3000)).map_tiles(slow).save('a.tif', chunks=(512, 512))\n"
    )
    run = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stderr=subprocess.PIPE)
    while not (tmp_path / "started").exists():
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGTERM)
    run.communicate(timeout=60)
    assert run.returncode == -signal.SIGTERM
    assert (tmp_path / "a.tif").read_bytes() == b"old"
    imgrs.new("L", (5, 5)).save(tmp_path / "b.tif")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "b.tif", "started"]


LEFT = """
import os, signal, sys, imgrs
def die(tile):
    os.kill(os.getpid(), signal.SIGKILL)
img = imgrs.open('a.png').flip_top_bottom().map_tiles(die if sys.argv[1] == 'die' else lambda tile: tile)
img.save('memory://a.tif', memory_limit='40MiB', workers=1, chunks=(256, 256))
"""


def test_what_a_killed_process_left_in_the_folder_of_temporary_files_goes_with_the_next_run(tmp_path: Path) -> None:
    imgrs.fromarray(np.random.default_rng(0).integers(0, 256, (3_000, 2_500, 3), np.uint8)).save(
        tmp_path / "a.png", compress_level=1
    )
    for how, code, left in (("die", -signal.SIGKILL, 2), ("die", -signal.SIGKILL, 2), ("live", 0, 0)):
        run = subprocess.run(
            [sys.executable, "-c", LEFT, how],
            cwd=tmp_path,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == code, run.stderr
        assert len(list(tmp_path.glob("imgrs-*"))) == left  # pixels of the PNG, and the TIFF on its way to the URL


def test_work_of_live_processes_and_of_other_hosts_is_not_swept(tmp_path: Path, monkeypatch: Any) -> None:
    with temporary_folder(str(tmp_path), ".imgrs-work") as live, monkeypatch.context() as patch:
        patch.setattr("platform.node", lambda: "other")
        with temporary_folder(str(tmp_path), ".imgrs-work") as distant:
            shutil.copytree(distant, dead := distant.replace(f"-{os.getpid()}-", "-4194305-"))
        patch.undo()
        shutil.copytree(live, ours := live.replace(f"-{os.getpid()}-", "-4194305-"))
        assert os.path.exists(ours)
        imgrs.new("L", (5, 5)).save(tmp_path / "b.tif")
        assert os.path.exists(live)
        assert os.path.exists(dead)
        assert not os.path.exists(ours)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([os.path.basename(dead), "b.tif"])


def test_save_all_takes_options_for_all_targets_and_for_one(noise: Path, tmp_path: Path) -> None:
    img = imgrs.open(noise)
    names = [tmp_path / name for name in ("low.jpg", "high.jpg", "other")]
    given: dict[Any, Any] = {names[0]: img, names[1]: (img, {"quality": 95}), names[2]: (img, {"format": "PNG"})}
    with pytest.raises(ArgumentError, match="PNG has no option 'quality'"):
        imgrs.save_all(given, quality=20)
    imgrs.save_all({**given, names[2]: (img, {"quality": 70})}, quality=20, format="jpeg", workers=2)
    for name, quality in zip(names, (20, 95, 70), strict=True):
        img.save(tmp_path / "alone.jpg", quality=quality)
        assert name.read_bytes() == (tmp_path / "alone.jpg").read_bytes()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_of_pixels_that_do_not_compress_little_stays_in_memory_until_its_turn(suffix: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (1_024, 2_048, 3), np.uint8)
    spec = imgrs.fromarray(noise)._node.spec
    encoder = format_for(f"a.{suffix}", None).encoder(spec, {}, {})
    assert isinstance(encoder, TileEncoder)
    most, whole = 2 << 20, Encode(encoder, False)(spec.region, [noise])
    parted = Encode(encoder, False, most=most, folder=str(tmp_path))(spec.region, [noise])
    assert 0 < sum(len(data) for _, data in parted.tiles) <= most < sum(len(data) for _, data in whole.tiles)
    assert parted.further is not None
    assert parted.tiles == whole.tiles[: len(parted.tiles)]
    for name, made in (("whole", whole), ("parted", parted)):
        start = encoder.begin(str(tmp_path / name))
        end, placed = Place(encoder, str(tmp_path / name), start)(made)
        encoder.finish(str(tmp_path / name), end, placed)
    assert (tmp_path / "parted").read_bytes() == (tmp_path / "whole").read_bytes()
    del parted
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parted", "whole"]
