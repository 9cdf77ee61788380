"""Deep Zoom and IIIF: the files that libvips writes, by name and by pixel; whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import numpy.typing as npt
import pytest
import pyvips
from PIL import Image as Pillow
from PIL import ImageCms

import imgrs
from imgrs.errors import ArgumentError, SaveError, UnsupportedFormatError
from imgrs.io.deepzoom import DeepZoomFormat
from imgrs.io.resource import BytesResource
from tests.test_files import pixels
from tests.test_pages import means
from tests.test_saves import saved

Array = npt.NDArray[Any]


def files(folder: Path) -> dict[str, Path]:
    """The files below a folder, by their names within it."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path for path in found if path.name != "vips-properties.xml"}


@pytest.mark.parametrize("size", [(700, 300), (64, 65), (1, 1), (129, 1000)])
@pytest.mark.parametrize("layout", ["dz", "iiif3"])
def test_the_files_are_those_that_libvips_writes(layout: str, size: tuple[int, int], tmp_path: Path) -> None:
    data = pixels("uint8", 3, size)
    theirs = pyvips.Image.new_from_array(data)
    theirs.dzsave(str(tmp_path / "b"), layout=layout, tile_size=64, overlap=0, suffix=".jpg[Q=85]")
    ours = tmp_path / ("a.dzi" if layout == "dz" else "a")
    imgrs.fromarray(data).save(ours, format="dzi" if layout == "dz" else "iiif", tile=64)
    ending = "_files" if layout == "dz" else ""
    written, expected = files(tmp_path / f"a{ending}"), files(tmp_path / f"b{ending}")
    if layout == "iiif3":
        both = [json.loads(found["info.json"].read_text()) for found in (written, expected)]
        assert [(info["width"], info["height"], info["tiles"][0]["scaleFactors"]) for info in both] == [
            (*size, both[0]["tiles"][0]["scaleFactors"])
        ] * 2
        written.pop("info.json"), expected.pop("info.json")
    assert set(written) == set(expected)
    for name, path in written.items():
        assert Pillow.open(path).size == Pillow.open(expected[name]).size, name


@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes"])
def test_every_level_holds_the_means_of_the_one_below(scheduler: str, tmp_path: Path) -> None:
    data = pixels("uint8", 4, (333, 201))
    imgrs.fromarray(data).save(tmp_path / "a.dzi", tile=32, scheduler=scheduler, chunks=(128, 128))
    level, expected = 9, data.astype(np.float64)
    opaque = data.copy()
    opaque[..., 3] = 255
    imgrs.fromarray(opaque).save(tmp_path / "b.dzi", tile=32, scheduler=scheduler, chunks=(128, 128))
    expected = opaque
    while level >= 0:
        rows, columns = -(-expected.shape[0] // 32), -(-expected.shape[1] // 32)
        tiles = [
            [np.asarray(Pillow.open(tmp_path / f"b_files/{level}/{column}_{row}.png")) for column in range(columns)]
            for row in range(rows)
        ]
        np.testing.assert_array_equal(np.concatenate([np.concatenate(row, axis=1) for row in tiles]), expected)
        level, expected = level - 1, means(expected).astype(np.uint8)
    assert not (tmp_path / "b_files/10").exists()
    np.testing.assert_array_equal(np.asarray(Pillow.open(tmp_path / "a_files/9/0_0.png")), data[:32, :32])


@pytest.mark.parametrize("name", ["a.dzi", "a.iiif"])
def test_an_older_image_is_replaced_and_other_folders_are_not(name: str, tmp_path: Path) -> None:
    folder = tmp_path / ("a_files" if name == "a.dzi" else name)
    imgrs.fromarray(pixels("uint8", 1, (300, 300))).save(tmp_path / name, tile=32)
    before = set(files(folder))
    imgrs.fromarray(pixels("uint8", 1, (40, 50))).save(tmp_path / name, tile=32)
    assert 0 < len(files(folder)) < len(before)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".imgrs")]
    for path in files(folder).values():
        path.unlink()
    for inner in sorted(folder.rglob("*"), reverse=True):
        inner.rmdir()
    (folder / "letters").write_text("dear")
    with pytest.raises(SaveError, match="not an image"):
        imgrs.fromarray(pixels("uint8", 1, (40, 50))).save(tmp_path / name)
    assert (folder / "letters").read_text() == "dear"


def test_nothing_appears_where_a_save_fails(tmp_path: Path) -> None:
    def broken(tile: Array) -> Array:
        raise ZeroDivisionError

    with pytest.raises(imgrs.ComputeError):
        imgrs.fromarray(pixels("uint8", 1, (300, 300))).map_tiles(broken).save(tmp_path / "a.dzi")
    assert not list(tmp_path.iterdir())


def test_a_killed_save_goes_on(tmp_path: Path) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (700, 900, 3), np.uint8)
    imgrs.fromarray(noise).save(tmp_path / "noise.tif", tile=64)
    (tmp_path / "whole").mkdir()
    os.link(tmp_path / "noise.tif", tmp_path / "whole" / "noise.tif")
    whole = saved(tmp_path / "whole", "a.dzi", {"tile": 32}, 0)
    calls = [saved(tmp_path, "a.dzi", {"tile": 32}, die) for die in (9, 30, 0)]
    assert calls[-1] < whole <= sum(calls) <= whole + 24
    written, expected = files(tmp_path / "a_files"), files(tmp_path / "whole" / "a_files")
    assert {name: path.read_bytes() for name, path in written.items()} == {
        name: path.read_bytes() for name, path in expected.items()
    }


KILLED_LANDING = """
import os, signal, sys, imgrs
from imgrs.io import atomic
calls = 0
def dying(real):
    def wrapped(*arguments, **options):
        global calls
        result = real(*arguments, **options)
        calls += 1
        if calls == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return wrapped
os.rename, os.replace, atomic._exchange = dying(os.rename), dying(os.replace), dying(atomic._exchange)
imgrs.new('L', (90, 70)).save('a.dzi', tile=32, resume=sys.argv[2] == 'resume', chunks=64, optimizer='off')
"""


@pytest.mark.parametrize("how", ["whole", "resume"])
def test_a_kill_between_the_names_leaves_no_image_or_one_that_is_right(how: str, tmp_path: Path) -> None:
    imgrs.new("L", (90, 70)).save(tmp_path / "expected.dzi", tile=32)
    right = {len(files(tmp_path / "expected_files")): b'Width="90"'}
    seen = set()
    for calls in range(1, 20):
        shutil.rmtree(tmp_path / "a_files", ignore_errors=True)
        shutil.rmtree(tmp_path / ".imgrs-resume-a.dzi", ignore_errors=True)
        imgrs.new("L", (300, 310)).save(tmp_path / "a.dzi", tile=32)
        (tmp_path / "a.dzi").chmod(0o640)
        right[len(files(tmp_path / "a_files"))] = b'Width="300"'
        arguments = [sys.executable, "-c", KILLED_LANDING, str(calls), how]
        run = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert run.returncode in (0, -signal.SIGKILL), run.stderr
        if (tmp_path / "a.dzi").exists():
            assert right[len(files(tmp_path / "a_files"))] in (tmp_path / "a.dzi").read_bytes()
        seen.add((run.returncode, (tmp_path / "a.dzi").exists()))
        again: dict[str, Any] = {"resume": how == "resume", "chunks": 64, "optimizer": "off"}
        imgrs.new("L", (90, 70)).save(tmp_path / "a.dzi", tile=32, **again)
        assert sorted(files(tmp_path / "a_files")) == sorted(files(tmp_path / "expected_files"))
        if run.returncode == 0:
            break
    assert seen == {(-signal.SIGKILL, True), (-signal.SIGKILL, False), (0, True)}
    assert (tmp_path / "a.dzi").stat().st_mode & 0o777 == 0o640


def test_folders_go_to_urls() -> None:
    system = fsspec.filesystem("memory")
    imgrs.fromarray(pixels("uint8", 3, (100, 80))).save("memory://out/a.iiif", tile=32)
    info = json.loads(system.cat_file("/out/a.iiif/info.json"))
    assert (info["width"], info["height"]) == (100, 80)
    assert system.exists("/out/a.iiif/0,0,32,32/32,32/0/default.jpg")
    for size in ((300, 200), (100, 80)):  # the second replaces the first
        imgrs.fromarray(pixels("uint8", 3, size)).save("memory://out/b.dzi", tile=32)
    assert b'Width="100"' in system.cat_file("/out/b.dzi")
    assert system.exists("/out/b_files/7/3_2.jpg")
    assert not system.exists("/out/b_files/9")
    system.store.clear()


def test_options_are_checked_at_the_call(tmp_path: Path) -> None:
    img = imgrs.fromarray(pixels("uint8", 4))
    wrong: list[dict[str, Any]] = [
        {"tile": 3}, {"tile_format": "gif"}, {"quality": 0}, {"overlap": 1}, {"tile_format": "jpg"},
    ]  # fmt: skip
    for options in wrong:
        with pytest.raises(ArgumentError, match="save: DZI"):
            img.save(tmp_path / "a.dzi", **options)
    with pytest.raises(ArgumentError, match="URL"):
        img.save(tmp_path / "a.iiif", id="here")
    with pytest.raises(UnsupportedFormatError, match="not read"):
        DeepZoomFormat().open(BytesResource(b"<Image"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tile_format", ["jpg", "png"])
@pytest.mark.parametrize("name", ["a.dzi", "a.iiif"])
def test_tiles_keep_the_color_profile(name: str, tile_format: str, tmp_path: Path) -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile += bytes(70_000)  # so long that a JPEG has it in two pieces
    Pillow.new("RGB", (300, 200), "teal").save(tmp_path / "a.tif", icc_profile=bytes(profile))
    imgrs.open(tmp_path / "a.tif").save(tmp_path / name, tile_format=tile_format)
    tiles = list(tmp_path.rglob(f"*.{tile_format}"))
    assert tiles
    for tile in tiles:
        with Pillow.open(tile) as image:
            assert image.info["icc_profile"] == profile
            assert image.convert("RGB").getpixel((0, 0)) == pytest.approx((0, 128, 128), abs=2)
    imgrs.open(tmp_path / "a.tif").save(tmp_path / name, tile_format=tile_format, metadata=False)
    with Pillow.open(tiles[0]) as image:
        assert "icc_profile" not in image.info
