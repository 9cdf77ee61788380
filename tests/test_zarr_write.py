"""OME-Zarr that is written: zarr-python reads it, ome-zarr-models finds it valid, and its bytes are always the same."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import numpy.typing as npt
import ome_zarr_models.v05
import pytest
import zarr

import imgrs
from imgrs.errors import ArgumentError, CorruptImageError, SaveError
from imgrs.io.files import FolderEncoder
from tests.oracle import evaluate
from tests.test_files import pixels
from tests.test_formats import KINDS, image
from tests.test_pages import means
from tests.test_saves import saved
from tests.zarrs import files as chunks_of
from tests.zarrs import ome_zarr

Array = npt.NDArray[Any]


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_by_zarr(path: Any, level: int = 0) -> Array:
    """The pixels of a level as (height, width[, bands])."""
    group = zarr.open_group(path, mode="r")
    found = np.asarray(group[str(level)][...])  # type: ignore[index]  # an array
    return np.moveaxis(found, 0, 2) if found.ndim == 3 else found


@pytest.mark.parametrize("compression", ["zstd", "blosc", "none"])
@pytest.mark.parametrize(("mode", "dtype"), KINDS)
def test_zarr_python_reads_every_kind(mode: str, dtype: str, compression: str, tmp_path: Path) -> None:
    img = image(mode, dtype, (300, 201))
    img.save(tmp_path / "a.zarr", compression=compression, tile=(32, 48), shard=(96, 96))
    np.testing.assert_array_equal(read_by_zarr(tmp_path / "a.zarr"), img.compute())
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    ome_zarr_models.v05.Image.from_zarr(group)
    array: Any = group["0"]
    bands = img.bands
    assert array.chunks == ((bands, 48, 32) if bands > 1 else (48, 32))
    assert array.shards == ((bands, 96, 96) if bands > 1 else (96, 96))
    assert array.dtype == dtype
    read = imgrs.open(tmp_path / "a.zarr")
    assert (read.mode, read.format) == (mode, "ZARR")
    np.testing.assert_array_equal(read.compute(), img.compute())


@pytest.mark.parametrize("size", [(700, 300), (333, 1001), (64, 64), (65, 1)])
@pytest.mark.parametrize("options", [{"scheduler": "sync"}, {"workers": 2}, {"scheduler": "processes"}])
def test_a_pyramid_has_every_level(size: tuple[int, int], options: dict[str, Any], tmp_path: Path) -> None:
    data = pixels("uint8", 3, size)
    imgrs.fromarray(data).save(tmp_path / "a.ome.zarr", pyramid=True, tile=16, shard=32, chunks=(64, 64), **options)
    group = zarr.open_group(tmp_path / "a.ome.zarr", mode="r")
    ome_zarr_models.v05.Image.from_zarr(group)
    said: Any = group.attrs["ome"]
    datasets = said["multiscales"][0]["datasets"]
    expected = data
    for level, dataset in enumerate(datasets):
        assert dataset["path"] == str(level)
        scale, *shift = dataset["coordinateTransformations"]
        assert scale["scale"] == [1.0, 2.0**level, 2.0**level]
        assert [s["translation"] for s in shift] == [[0.0, 2.0**level / 2 - 0.5, 2.0**level / 2 - 0.5]] * (level > 0)
        np.testing.assert_array_equal(read_by_zarr(tmp_path / "a.ome.zarr", level), expected)
        expected = means(expected).astype(np.uint8)
    assert max(np.shape(group[str(len(datasets) - 1)])[1:]) <= 16  # type: ignore[arg-type]  # an array
    read: Any = imgrs.open(tmp_path / "a.ome.zarr")._node.op
    if min(size) > 64:
        assert read.reader.shrinks == tuple(1 << level for level in range(len(datasets)))


def watch_writing(monkeypatch: Any, names: list[str]) -> None:
    """Add the name of each file that this process writes to ``names``."""
    real = FolderEncoder._write

    def watched(self: FolderEncoder, folder: str, name: str, data: bytes) -> None:
        names.append(name)
        real(self, folder, name, data)

    monkeypatch.setattr(FolderEncoder, "_write", watched)


WAYS: list[dict[str, Any]] = [
    {"chunks": (16, 16), "scheduler": "sync"},
    {"chunks": (64, 33), "workers": 3},
    {"optimizer": "off", "memory_limit": "1GiB"},
    {"chunks": (500, 400), "scheduler": "processes"},
]


@pytest.mark.parametrize("pyramid", [False, True])
def test_the_bytes_do_not_depend_on_tiles_schedulers_or_workers(pyramid: bool, tmp_path: Path) -> None:
    img = imgrs.fromarray(pixels("uint8", 4, (500, 400))).blur(2).brightness(20)
    found = []
    for i, way in enumerate(WAYS):
        img.save(tmp_path / f"{i}.zarr", tile=16, shard=48, pyramid=pyramid, **way)
        found.append(content(tmp_path / f"{i}.zarr"))
    assert found == [found[0]] * len(WAYS)
    np.testing.assert_array_equal(read_by_zarr(tmp_path / "0.zarr"), evaluate(img._node))


def test_workers_of_a_cluster_write_the_shards_themselves(tmp_path: Path, monkeypatch: Any) -> None:
    distributed = pytest.importorskip("distributed")
    img = imgrs.fromarray(pixels("uint8", 3, (700, 500))).blur(2)
    options: dict[str, Any] = {"tile": 32, "shard": 64, "pyramid": True, "chunks": (256, 256)}
    img.save(tmp_path / "a.zarr", scheduler="sync", **options)
    expected = content(tmp_path / "a.zarr")
    here: list[str] = []
    watch_writing(monkeypatch, here)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as workers,
        distributed.Client(workers) as client,
    ):
        img.save(tmp_path / "b.zarr", scheduler=client, **options)
        img.save(f"file://{tmp_path}/c.zarr", scheduler=client, **options)
    assert content(tmp_path / "b.zarr") == content(tmp_path / "c.zarr") == expected
    assert here == [name for name in here if name.endswith("zarr.json")]
    assert here[-1] == "zarr.json"
    assert imgrs.open(tmp_path / "b.zarr").n_frames == 1


def test_each_shard_is_written_once_and_the_group_last(tmp_path: Path, monkeypatch: Any) -> None:
    written: list[str] = []
    watch_writing(monkeypatch, written)
    imgrs.fromarray(pixels("uint8", 3, (700, 500))).save(
        tmp_path / "a.zarr", tile=16, shard=48, pyramid=True, chunks=(50, 70), workers=3
    )
    assert len(set(written)) == len(written)
    assert written[-1] == "zarr.json"
    assert sum(name.startswith("0/c/") for name in written) == 15 * 11


def test_bands_without_a_color_are_chunks_of_their_own(tmp_path: Path) -> None:
    data = pixels("uint16", 7, (100, 90))
    imgrs.fromarray(data).save(tmp_path / "a.zarr", tile=32, shard=64)
    array: Any = zarr.open_group(tmp_path / "a.zarr", mode="r")["0"]
    assert (array.chunks, array.shards) == ((1, 32, 32), (7, 64, 64))
    np.testing.assert_array_equal(read_by_zarr(tmp_path / "a.zarr"), data)


def test_shards_are_as_large_as_is_useful() -> None:
    def sides(mode: str, size: tuple[int, int], **options: Any) -> tuple[tuple[int, int], tuple[int, int]]:
        from imgrs.io.zarr.write import ZarrEncoder

        encoder = ZarrEncoder.of(imgrs.new(mode, size)._node.spec, {}, options)
        return encoder.tile, encoder.unit

    assert sides("RGB", (30_000, 30_000)) == ((512, 512), (2048, 2048))
    assert sides("RGB", (30_000, 30_000), pyramid=True) == ((512, 512), (512, 512))
    assert sides("L", (30_000, 30_000), pyramid=True) == ((512, 512), (1024, 1024))
    assert sides("L", (30_000, 30_000)) == ((512, 512), (4096, 4096))
    assert sides("RGB", (700, 30)) == ((512, 32), (1024, 32))


# What it says beside its pixels


def test_sizes_names_and_channels_go_along(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 9, (2, 40, 50), np.uint8)
    omero: dict[str, Any] = {"channels": [{"label": "DAPI", "color": "0000FF"}, {"label": "GFP", "color": "oops"}]}
    ome_zarr(tmp_path / "a.zarr", [data], "cyx", "0.4", **omero)
    imgrs.open(tmp_path / "a.zarr").invert().save(tmp_path / "b.zarr")
    found = imgrs.open(tmp_path / "b.zarr").info
    assert found["name"] == "cells"
    assert found["pixel_size"] == pytest.approx({"x": 0.5, "y": 0.5})
    assert found["pixel_unit"] == {"x": "micrometer", "y": "micrometer"}
    assert [(c["label"], c["color"]) for c in found["channels"]] == [("DAPI", "0000FF"), ("GFP", "FFFFFF")]
    imgrs.open(tmp_path / "a.zarr").save(tmp_path / "c.zarr", metadata=False)
    assert "dpi" not in imgrs.open(tmp_path / "c.zarr").info
    imgrs.new("L", (50, 40)).save(tmp_path / "d.zarr", dpi=(254, 508))
    assert imgrs.open(tmp_path / "d.zarr").info["pixel_size"] == {"x": 100.0, "y": 50.0}
    assert imgrs.open(tmp_path / "d.zarr").info["dpi"] == pytest.approx((254, 508))
    ome_zarr_models.v05.Image.from_zarr(zarr.open_group(tmp_path / "b.zarr", mode="r"))


# Whole or not at all


def test_an_older_store_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    imgrs.fromarray(pixels("uint8", 3, (300, 300))).save(path, tile=32, shard=32, pyramid=True)
    before = content(path)

    def broken(tile: Array) -> Array:
        if tile.shape[0] < 64:
            raise ZeroDivisionError
        return tile

    with pytest.raises(imgrs.ComputeError):
        imgrs.open(path).map_tiles(broken).save(path, chunks=(128, 128), tile=32, shard=32)
    assert content(path) == before
    imgrs.open(path).invert().crop((0, 0, 90, 70)).save(path, tile=32, shard=32)  # onto itself
    assert len(chunks_of(path)) == 9
    np.testing.assert_array_equal(read_by_zarr(path), 255 - pixels("uint8", 3, (300, 300))[:70, :90])
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]


def test_other_folders_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr/letters").write_text("dear")
    with pytest.raises(SaveError, match="not an image"):
        imgrs.new("L", (9, 9)).save(tmp_path / "a.zarr")
    assert content(tmp_path / "a.zarr") == {"letters": b"dear"}


@pytest.mark.parametrize("options", [{"tile": 32, "shard": 64}, {"tile": 16, "shard": 32, "pyramid": True}])
def test_a_killed_save_goes_on(options: dict[str, Any], tmp_path: Path) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (700, 900, 3), np.uint8)
    imgrs.fromarray(noise).save(tmp_path / "noise.tif", tile=64)
    (tmp_path / "whole").mkdir()
    os.link(tmp_path / "noise.tif", tmp_path / "whole" / "noise.tif")
    whole = saved(tmp_path / "whole", "a.zarr", options, 0)
    calls = [saved(tmp_path, "a.zarr", options, die) for die in (9, 30, 0)]
    assert calls[-1] < whole <= sum(calls) <= whole + 24
    assert content(tmp_path / "a.zarr") == content(tmp_path / "whole" / "a.zarr")


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def test_stores_go_to_urls(tmp_path: Path, memory: Any) -> None:
    img = imgrs.fromarray(pixels("uint8", 3, (300, 200)))
    options: dict[str, Any] = {"tile": 32, "shard": 64, "pyramid": True}
    img.save("memory://out/a.zarr", **options)
    img.save(tmp_path / "a.zarr", **options)
    there = {name.removeprefix("/out/a.zarr/"): memory.cat_file(name) for name in memory.find("/out/a.zarr")}
    assert there == content(tmp_path / "a.zarr")
    np.testing.assert_array_equal(imgrs.open("memory://out/a.zarr").compute(), img.compute())
    assert list(memory.store)[-1] == "/out/a.zarr/zarr.json"

    img.crop((0, 0, 90, 70)).save("memory://out/a.zarr", **options)
    img.crop((0, 0, 90, 70)).save(tmp_path / "b.zarr", **options)
    there = {name.removeprefix("/out/a.zarr/"): memory.cat_file(name) for name in memory.find("/out/a.zarr")}
    assert there == content(tmp_path / "b.zarr")


@pytest.mark.parametrize("name", ["a.zarr", "a.dzi", "a.iiif"])
@pytest.mark.parametrize("place", ["memory://out", "file://{}/out"])
def test_a_save_that_fails_at_a_url_leaves_the_old_image(name: str, place: str, memory: Any, tmp_path: Path) -> None:
    def broken(tile: Array) -> Array:
        raise ZeroDivisionError

    url = f"{place.format(tmp_path)}/{name}"
    system, folder = fsspec.core.url_to_fs(url.rpartition("/")[0])
    new = imgrs.fromarray(pixels("uint8", 1, (90, 70)))
    new.save(url, tile=32)
    imgrs.new("L", (900, 700)).save(url, tile=32)
    old = {path: system.cat_file(path) for path in system.find(folder)}
    for failing in (new.map_tiles(broken), imgrs.new("L", (900, 700)).map_tiles(broken)):
        with pytest.raises(imgrs.ComputeError):
            failing.save(url, tile=32)
        assert {path: system.cat_file(path) for path in system.find(folder)} == old
    new.save(url, tile=32)
    (tmp_path / "local").mkdir()
    new.save(tmp_path / "local" / name, tile=32)
    there = {path.removeprefix(f"{folder}/"): system.cat_file(path) for path in system.find(folder)}
    assert there == content(tmp_path / "local")


def test_a_store_that_cannot_be_written_is_told(memory: Any, monkeypatch: Any) -> None:
    def full(self: Any, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(type(memory), "pipe_file", full)
    with pytest.raises(SaveError, match=r"memory://out/b\.zarr/0/c/0/0 could not be written: no space left"):
        imgrs.new("L", (90, 90)).save("memory://out/b.zarr")


# Checks


def test_damage_to_a_shard_is_found(tmp_path: Path) -> None:
    img = imgrs.fromarray(pixels("uint8", 3, (300, 200)))
    for compression in ("zstd", "none"):
        img.save(tmp_path / "good.zarr", tile=32, shard=64, compression=compression)
        rng, path = np.random.default_rng(0), tmp_path / "good.zarr/0/c/0/1/2"
        good = path.read_bytes()
        for _ in range(40):
            bad = bytearray(good)
            bad[int(rng.integers(len(bad)))] ^= 1 << int(rng.integers(8))
            shutil.rmtree(tmp_path / "bad.zarr", ignore_errors=True)
            shutil.copytree(tmp_path / "good.zarr", tmp_path / "bad.zarr")
            (tmp_path / "bad.zarr/0/c/0/1/2").write_bytes(bad)
            with pytest.raises(CorruptImageError, match="0/c/0/1/2"):
                imgrs.open(tmp_path / "bad.zarr").compute()


def test_options_are_checked_at_the_call(tmp_path: Path) -> None:
    img = imgrs.fromarray(pixels("uint8", 3))
    wrong: list[dict[str, Any]] = [
        {"quality": 3}, {"compression": "lzw"}, {"level": 23}, {"level": 1.5}, {"tile": 3}, {"tile": (32, 32, 32)},
        {"tile": 32, "shard": 40}, {"shard": "large"}, {"pyramid": 1}, {"dpi": 0}, {"dpi": (1, 2, 3)},
        {"dpi": "fine"}, {"dpi": float("nan")}, {"compression": ["zstd"]},
        {"compression": "none", "level": 1},
    ]  # fmt: skip
    for options in wrong:
        with pytest.raises(ArgumentError, match=r"save: (ZARR|pyramid)"):
            img.save(tmp_path / "a.zarr", **options)
    with pytest.raises(ArgumentError, match="statistics"):
        img.mean().save(tmp_path / "a.zarr")
    with pytest.raises(ArgumentError, match="folder"):
        img.save("-", format="zarr")
    assert not list(tmp_path.iterdir())


def test_documents_are_text_for_people(tmp_path: Path) -> None:
    imgrs.new("RGB", (90, 80)).save(tmp_path / "a.zarr")
    text = (tmp_path / "a.zarr/zarr.json").read_text()
    assert text == json.dumps(json.loads(text), indent=2)
    assert [c["label"] for c in json.loads(text)["attributes"]["ome"]["omero"]["channels"]] == ["red", "green", "blue"]
