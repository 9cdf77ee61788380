"""Caches: what is found is not made again, what is made is right whatever is found, and bytes stay within the limit."""

from __future__ import annotations

import importlib
import os
import pickle
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array
import dask.config
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imgrs
import imgrs.io.folder
from imgrs.cache import OnDisk
from imgrs.config import settings as settings_now
from imgrs.graph.node import Node
from imgrs.graph.op import Source, op
from imgrs.graph.parameters import whole
from imgrs.image import Image
from imgrs.io.remote import UrlFolder, UrlResource
from imgrs.plan import caching
from imgrs.plan.choose import plan
from imgrs.run import engine
from imgrs.types import Pixels, Region, Spec
from tests.test_random import GRAPHS, SIDES, graphs, public, quiet

Array = npt.NDArray[Any]


@pytest.fixture(autouse=True)
def tiles_are_chosen(tiny_tiles: None) -> Iterator[None]:
    """Also where the suite's defaults are tiny tiles."""
    with dask.config.set({"imgrs.chunks": None, "imgrs.optimizer": "exact"}):
        yield


@pytest.fixture
def everything_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every node that may be stored is."""
    monkeypatch.setattr(caching, "STORING", -1.0)
    monkeypatch.setattr(caching, "STORING_ON_DISK", -1.0)
    monkeypatch.setattr(caching, "SHARE", -1.0)


read: list[Region] = []


@op
class Ramp(Source):
    """An image whose rows differ, which notes what is read of it."""

    side: int = whole(1, 100_000, example=9)

    def infer(self, *specs: Spec) -> Spec:
        return Spec(self.side, self.side, 3)

    def read(self, region: Region) -> Pixels:
        read.append(region)
        y, x = np.mgrid[region.top : region.bottom, region.left : region.right]
        return np.ascontiguousarray(np.dstack([x % 251, y % 241, (x * y) % 239]).astype(np.uint8))


def ramp(side: int = 3000) -> Image:
    read.clear()
    return Image(Node(Ramp(side)))


def noise(path: Path, side: int = 1500, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    imgrs.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("scheduler", ["sync", "threads", None])
def test_what_is_found_is_neither_read_nor_computed(on_disk: bool, scheduler: str | None, tmp_path: Path) -> None:
    cache = imgrs.Cache("64MiB", tmp_path / "cache" if on_disk else None)
    img = ramp().blur(8).contrast(1.3)
    expected = img.compute()
    for hits in (0, 9, 18):
        read.clear()
        np.testing.assert_array_equal(img.compute(cache=cache, scheduler=scheduler), expected)
        assert bool(read) == (hits == 0)
        assert (cache.hits, cache.misses) == (hits, 9)
    assert 27_000_000 <= cache.bytes <= 28_000_000


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_a_file_is_not_decoded_again(name: str, tmp_path: Path, decoded: list[int]) -> None:
    cache = imgrs.Cache("64MiB")
    img = imgrs.open(noise(tmp_path / name)).invert()
    expected = img.compute(cache=cache)
    decoded.clear()
    misses = cache.misses
    again = imgrs.open(tmp_path / name).invert()
    np.testing.assert_array_equal(again.compute(cache=cache), expected)
    assert not decoded
    assert (cache.hits, cache.misses) == (misses, misses)


def test_pipelines_that_begin_alike_share_tiles() -> None:
    cache = imgrs.Cache("64MiB")
    base = ramp().blur(8)
    with imgrs.options(cache=cache):
        base.brightness(20).compute()
        read.clear()
        for other in (
            base.contrast(1.2).crop((10, 20, 2900, 2800)),
            base.crop((1000, 1000, 1500, 1500)).saturate(1.5),
            base,
            base.auto_contrast(),
            base.rotate(12),
        ):
            with imgrs.options(cache=False):
                expected = other.compute()
            read.clear()
            np.testing.assert_array_equal(other.compute(), expected)
            assert not read


def test_only_the_tiles_that_are_needed_are_made() -> None:
    cache = imgrs.Cache("64MiB")
    ramp(20_000).blur(8).crop((3000, 3000, 3050, 3050)).compute(cache=cache)
    assert cache.misses == 1
    assert sum(region.area for region in read) <= 1100**2
    made = plan([ramp(20_000).blur(8).crop((3000, 3000, 3050, 3050))._node], settings_now(cache=cache))
    assert made.forecast.kept_bytes == 1024 * 1024 * 3


def test_tiles_do_not_depend_on_the_tiles_of_the_output() -> None:
    cache = imgrs.Cache("64MiB")
    base = ramp(2500).blur(8)
    base.compute(cache=cache)
    misses = cache.misses
    read.clear()
    base.resize((40, 40)).compute(cache=cache)
    assert not read
    assert cache.hits == misses


def test_tiles_of_what_demands_much_do_not_depend_on_what_a_plan_keeps() -> None:
    kept = ramp(12_000).blur(8).hue_rotate(30).resize((1500, 1500), "nearest").saturate(1.2)
    small = kept.blur(30)
    grids = []
    for img in (small, small.blend("normal", kept.rotate180()), small.edge_detect()):
        options: dict[str, Any] = {"cache": imgrs.Cache("64MiB"), "memory_limit": "8GiB", "optimizer": "off"}
        made = plan([img._node], settings_now(**options))
        grids += [stage.grid.tile for stage in made.stages if stage.stored and stage.nodes[0].key == small.key]
    assert len(grids) == 3
    assert len(set(grids)) == 1
    assert grids[0] < (1024, 1024)


def test_a_changed_file_is_a_miss(tmp_path: Path, decoded: list[int]) -> None:
    cache = imgrs.Cache("64MiB", tmp_path / "cache")
    before = imgrs.open(noise(tmp_path / "a.tif")).blur(8).compute(cache=cache)
    after = imgrs.open(noise(tmp_path / "a.tif", seed=1)).blur(8)
    got = after.compute(cache=cache)
    assert cache.hits == 0
    assert (got != before).any()
    np.testing.assert_array_equal(got, after.compute())


def test_a_store_is_known_by_its_files_where_all_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = imgrs.Cache("64MiB")
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    expected = imgrs.fromarray(pixels).blur(8).compute()
    imgrs.fromarray(pixels).save(tmp_path / "a.zarr")
    for hits in (0, 1):
        np.testing.assert_array_equal(imgrs.open(tmp_path / "a.zarr").blur(8).compute(cache=cache), expected)
        assert cache.hits == hits
    imgrs.fromarray(255 - pixels).save(tmp_path / "a.zarr")
    got = imgrs.open(tmp_path / "a.zarr").blur(8).compute(cache=cache)
    np.testing.assert_array_equal(got, imgrs.fromarray(255 - pixels).blur(8).compute())
    before = repr(cache)
    monkeypatch.setattr(imgrs.io.folder, "MOST_LISTED", 0)
    imgrs.open(tmp_path / "a.zarr").blur(8).compute(cache=cache)
    assert repr(cache) == before


def test_arrays_are_known_by_their_content() -> None:
    cache = imgrs.Cache("64MiB")
    pixels = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    imgrs.fromarray(pixels).blur(8).compute(cache=cache)
    imgrs.fromarray(pixels.copy()).blur(8).compute(cache=cache)
    assert (cache.hits, cache.misses) == (1, 1)
    imgrs.fromarray(pixels[::-1]).blur(8).compute(cache=cache)
    assert (cache.hits, cache.misses) == (1, 2)


def test_statistics_are_stored_alone() -> None:
    cache = imgrs.Cache(100_000)
    img = ramp(2000)
    first = img.mean().compute(cache=cache)
    read.clear()
    np.testing.assert_array_equal(img.mean().compute(cache=cache), first)
    assert not read
    assert (cache.hits, cache.misses) == (1, 1)


def test_saves_look_up_and_fill(tmp_path: Path) -> None:
    cache = imgrs.Cache("64MiB")
    img = ramp().blur(8)
    img.save(tmp_path / "a.tif", cache=cache, pyramid=True)
    read.clear()
    imgrs.save_all({tmp_path / "b.tif": img.brightness(0), tmp_path / "c.png": img.invert()}, cache=cache)
    assert not read
    np.testing.assert_array_equal(imgrs.open(tmp_path / "b.tif").compute(), img.compute())
    np.testing.assert_array_equal(imgrs.open(tmp_path / "c.png").compute(), img.invert().compute())


small = imgrs.Cache(20_000)


@pytest.mark.usefixtures("everything_is_worth_it")
def test_random_graphs_are_the_same_with_a_small_cache() -> None:
    @settings(quiet, max_examples=GRAPHS // 2)
    @given(graphs(), SIDES)
    def check(img: Image, side: int) -> None:
        side = max(side, 1 + max(img.size) // 5)
        expected = public(img)
        for scheduler, optimizer in (("sync", "exact"), ("threads", "exact"), ("threads", "off")):
            got = img.compute(cache=small, chunks=(side, side), scheduler=scheduler, optimizer=optimizer)
            np.testing.assert_array_equal(got, expected)
            assert small.bytes <= small.limit

    check()
    assert small.hits > GRAPHS // 2
    assert small.misses > GRAPHS // 2


@pytest.mark.usefixtures("everything_is_worth_it")
@settings(quiet, max_examples=max(20, GRAPHS // 10))
@given(img=graphs(), side=SIDES, twice=st.booleans())
def test_random_graphs_are_the_same_with_a_small_folder(
    img: Image, side: int, twice: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    side = max(side, 1 + max(img.size) // 5)
    cache = imgrs.Cache(60_000, tmp_path_factory.getbasetemp() / "small")
    for _ in range(1 + twice):
        np.testing.assert_array_equal(img.compute(cache=cache, chunks=(side, side)), public(img))


@pytest.mark.usefixtures("everything_is_worth_it")
@settings(quiet, max_examples=max(20, GRAPHS // 10))
@given(img=graphs(), side=st.integers(16, 40), name=st.sampled_from(["a.tif", "a.png"]))
def test_random_graphs_are_saved_the_same(
    img: Image, side: int, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    img = img.convert("RGB").astype("uint8")
    path = tmp_path_factory.getbasetemp() / name
    source = tmp_path_factory.getbasetemp() / "source.png"
    img.save(source)
    pipeline = imgrs.open(source).blur(1).transpose("rotate_90").sharpen()
    options: dict[str, Any] = {"tile": 16, "pyramid": True} if name == "a.tif" else {}
    for _ in range(2):
        pipeline.save(path, cache=small, chunks=(side, side), **options)
        np.testing.assert_array_equal(imgrs.open(path).compute(), public(pipeline))


def test_a_cache_that_is_cleared_in_the_middle_of_a_run_changes_nothing(tmp_path: Path) -> None:
    for folder in (None, tmp_path / "cache"):
        cache = imgrs.Cache("64MiB", folder)
        base = ramp(2000)

        left = base.blur(8)
        left.crop((0, 0, 1000, 2000)).compute(cache=cache)
        right = Image(Node(Clearing(2000, str(folder))))
        clearing[str(folder)] = cache
        whole_ = left.blend("normal", right.crop((0, 0, 10, 10)), position=(0, 0))
        expected = whole_.compute()
        left.compute(cache=cache)
        np.testing.assert_array_equal(whole_.compute(cache=cache, scheduler="sync"), expected)


clearing: dict[str, imgrs.Cache] = {}


@op
class Clearing(Source):
    """An image that clears a cache when it is read."""

    side: int = whole(1, 100_000, example=9)
    name_of_cache: str = "None"

    def infer(self, *specs: Spec) -> Spec:
        return Spec(self.side, self.side, 3)

    def read(self, region: Region) -> Pixels:
        if self.name_of_cache in clearing:
            clearing[self.name_of_cache].clear()
        return np.full((region.height, region.width, 3), 7, np.uint8)


def entries(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.val"))


@pytest.mark.parametrize("damage", ["flipped", "short", "empty", "gone", "swapped"])
def test_damaged_entries_are_made_again(damage: str, tmp_path: Path) -> None:
    cache = imgrs.Cache("64MiB", tmp_path)
    img = ramp(2048).blur(8)  # tiles of one size
    expected = img.compute(cache=cache)
    files = entries(tmp_path)
    assert len(files) == 4
    data = [file.read_bytes() for file in files]
    for i, file in enumerate(files):
        if damage == "gone":
            file.unlink()
        else:
            middle = len(data[i]) // 2
            flipped = data[i][:middle] + bytes([data[i][middle] ^ 1]) + data[i][middle + 1 :]
            other = data[(i + 1) % len(data)]
            file.write_bytes({"flipped": flipped, "short": data[i][:middle], "empty": b"", "swapped": other}[damage])
    read.clear()
    np.testing.assert_array_equal(img.compute(cache=cache), expected)
    assert read
    assert cache.misses == 8
    read.clear()
    np.testing.assert_array_equal(img.compute(cache=cache), expected)
    assert not read


def test_a_folder_whose_index_is_damaged_is_begun_anew(tmp_path: Path) -> None:
    img = ramp(2000).blur(8)
    expected = img.compute(cache=imgrs.Cache("64MiB", tmp_path))
    for file in tmp_path.glob("cache.db*"):
        file.unlink()
    (tmp_path / "cache.db").write_bytes(b"not a database" * 1000)
    cache = imgrs.Cache("64MiB", tmp_path)
    assert not entries(tmp_path)
    np.testing.assert_array_equal(img.compute(cache=cache), expected)
    assert (cache.hits, cache.misses) == (0, 4)


def test_a_folder_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    foreign = [tmp_path / "cache.db", tmp_path / "cache.db-wal", tmp_path / "a" / "b" / "c.val"]
    foreign[2].parent.mkdir(parents=True)
    for file in foreign:
        file.write_bytes(b"not a database" * 1000)
    told = f"Cache: folder {str(tmp_path)!r} is not an imgrs cache and not empty; give another"
    with pytest.raises(imgrs.ArgumentError, match=re.escape(told)):
        imgrs.Cache("1MiB", tmp_path)
    assert sorted(file for file in tmp_path.rglob("*") if file.is_file()) == sorted(foreign)
    for name in ("empty", "new/below"):
        if name == "empty":
            (tmp_path / name).mkdir()
        imgrs.Cache("1MiB", tmp_path / name).put("a", np.zeros((2, 2, 1), np.uint8))
        assert imgrs.Cache("1MiB", tmp_path / name).holds("a")


def test_a_folder_that_stops_working_is_told_once_and_done_without(tmp_path: Path) -> None:
    cache = imgrs.Cache("64MiB", tmp_path)
    img = ramp(2000).blur(8)
    with sqlite3.connect(tmp_path / "cache.db") as connection:
        connection.execute("DROP TABLE Cache")
    with pytest.warns(UserWarning, match="cannot be used") as told:
        got = img.compute(cache=cache)
    assert len(told) == 1
    np.testing.assert_array_equal(got, img.compute())


class Evil:
    def __reduce__(self) -> Any:
        return pytest.fail, ("unpickled",)


def test_nothing_in_a_folder_is_unpickled(tmp_path: Path) -> None:
    import diskcache

    store = OnDisk(1 << 20, str(tmp_path))
    store.put("a", np.zeros((2, 2, 1), np.uint8))
    with sqlite3.connect(tmp_path / "cache.db") as connection:
        connection.execute("UPDATE Cache SET mode = ?, value = ?", (diskcache.core.MODE_PICKLE, pickle.dumps(Evil())))
    assert store.holds("a")
    assert store.get("a") is None


def test_entries_outlive_the_process(tmp_path: Path) -> None:
    noise(tmp_path / "a.tif")
    script = (
        "import imgrs, sys; cache = imgrs.Cache('64MiB', sys.argv[1])\n"
        "imgrs.open(sys.argv[2]).blur(8).compute(cache=cache); print(cache.hits, cache.misses)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "cache"), str(tmp_path / "a.tif")]
    counts = [
        tuple(map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()))
        for _ in range(2)
    ]
    assert counts[0][0] == counts[1][1] == 0
    assert counts[1][0] == 4  # of the blur; the file's own are not asked for


def test_entries_of_other_versions_are_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import imgrs.cache

    store = OnDisk(1 << 20, str(tmp_path))
    store.put("a", np.zeros((2, 2, 1), np.uint8))
    assert store.holds("a")
    monkeypatch.setattr(imgrs.cache, "_PACKAGES", ("numpy",))
    imgrs.cache.versions.cache_clear()
    try:
        assert not store.holds("a")
    finally:
        monkeypatch.undo()
        imgrs.cache.versions.cache_clear()


def test_a_cache_in_memory_holds_no_more_than_its_limit() -> None:
    cache = imgrs.Cache(10_000)
    for i in range(100):
        cache.put(str(i), np.zeros((10, 100, 1 + i % 3), np.uint8))
        assert cache.bytes <= 10_000
    assert cache.holds("99")
    assert not cache.holds("0")
    cache.put("large", np.zeros((101, 100, 1), np.uint8))
    assert not cache.holds("large")
    part = np.zeros((100, 1000, 1), np.uint8)[:10, :10]
    cache.put("part", part)
    found = cache.get("part")
    assert found is not None
    owner = found if found.base is None else found.base
    assert owner.nbytes == 100
    mapped = np.frombuffer(bytes(5000), np.uint8)[:100].reshape(10, 10, 1)
    cache.put("mapped", mapped)
    found = cache.get("mapped")
    assert found is not None
    assert not np.may_share_memory(found, mapped)
    cache.clear()
    assert (cache.bytes, cache.hits, cache.misses) == (0, 0, 0)


def test_what_was_not_used_for_longest_goes_first() -> None:
    cache = imgrs.Cache(300)
    for name in "abc":
        cache.put(name, np.zeros((10, 10, 1), np.uint8))
    assert cache.find("a")
    cache.put("d", np.zeros((10, 10, 1), np.uint8))
    assert [name for name in "abcd" if cache.holds(name)] == ["a", "c", "d"]


def test_a_folder_holds_about_no_more_than_its_limit(tmp_path: Path) -> None:
    cache = imgrs.Cache("1MiB", tmp_path)
    for i in range(40):
        cache.put(str(i), np.full((100, 1000, 1), i, np.uint8))
        assert sum(file.stat().st_size for file in entries(tmp_path)) <= (1 << 20) + 101_000
    assert cache.holds("39")
    assert not cache.holds("0")


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_a_run_does_not_push_out_what_it_is_going_to_use(scheduler: str, on_disk: bool, tmp_path: Path) -> None:
    cache = imgrs.Cache("10MiB", tmp_path if on_disk else None)
    img = ramp(4000).blur(8)
    for runs in (1, 2, 3):
        img.compute(cache=cache, scheduler=scheduler)
        assert (cache.hits, cache.misses) == (3 * (runs - 1), 16 * runs - 3 * (runs - 1))
    if scheduler == "sync":  # threads finish tiles in any order
        img.crop((0, 0, 2048, 1000)).compute(cache=cache)  # what came first is what fits
        assert cache.hits == 8


@pytest.mark.parametrize("on_disk", [False, True])
def test_no_more_is_pushed_out_than_makes_room(on_disk: bool, tmp_path: Path) -> None:
    cache = imgrs.Cache("1MiB", tmp_path if on_disk else None)
    tile = np.zeros((300, 1000, 1), np.uint8)
    for name in "abcd":
        cache.put(name, tile)
    assert [cache.holds(name) for name in "abcd"] == [False, True, True, True]
    for i in range(30):
        cache.put(f"small {i}", tile[:1, :100])
    assert cache.holds("d")
    assert cache.bytes <= cache.limit
    cache.put("large", np.zeros((900, 1000, 1), np.uint8))
    assert cache.holds("large")
    assert not any(cache.holds(name) for name in "bcd")
    assert cache.bytes <= cache.limit


def test_what_is_stored_cannot_be_written_to() -> None:
    cache = imgrs.Cache("64MiB")
    img = ramp(500).blur(8)
    handed_out = img.compute(cache=cache)
    handed_out[:] = 0
    np.testing.assert_array_equal(img.compute(cache=cache), img.compute())
    cache.put("a", np.zeros((2, 2, 1), np.uint8))
    found = cache.get("a")
    assert found is not None
    with pytest.raises(ValueError, match="read-only"):
        found[0, 0, 0] = 1


def test_threads_share_a_cache(tmp_path: Path) -> None:
    images = [ramp(600).blur(8 + i % 3).crop((i, i, 500, 500)) for i in range(12)]
    expected = [img.compute() for img in images]
    for cache in (imgrs.Cache("64MiB"), imgrs.Cache(1_500_000), imgrs.Cache("64MiB", tmp_path / "cache")):
        wrong: list[int] = []

        def work(i: int, cache: imgrs.Cache = cache, wrong: list[int] = wrong) -> None:
            if not np.array_equal(images[i].compute(cache=cache), expected[i]):
                wrong.append(i)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(images))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert cache.hits + cache.misses == 12


def test_processes_share_a_folder(tmp_path: Path) -> None:
    img = imgrs.open(noise(tmp_path / "a.tif")).blur(8)
    expected = img.compute()
    cache = imgrs.Cache("64MiB", tmp_path / "cache")
    with imgrs.options(cache=cache, scheduler="processes", workers=2):
        np.testing.assert_array_equal(img.compute(), expected)
        assert cache.hits == 0
        np.testing.assert_array_equal(img.compute(), expected)
        assert cache.hits == 4
        for file in entries(tmp_path / "cache"):
            file.write_bytes(b"damage")
        np.testing.assert_array_equal(img.compute(), expected)
        before = repr(cache)
        array = imgrs.fromarray(expected).blur(9)  # which does not travel with what makes lost tiles again
        np.testing.assert_array_equal(array.compute(), array.compute(scheduler="sync", cache=False))
        assert repr(cache) == before


def test_a_cache_in_memory_is_left_alone_by_processes(tmp_path: Path) -> None:
    img = imgrs.open(noise(tmp_path / "a.tif")).blur(8)
    cache = imgrs.Cache("64MiB")
    expected = img.compute(cache=cache)
    before = repr(cache)
    assert "not used: one in memory is for threads" in img.explain(cache=cache, scheduler="processes")
    np.testing.assert_array_equal(img.compute(cache=cache, scheduler="processes", workers=2), expected)
    assert repr(cache) == before
    np.testing.assert_array_equal(img.to_dask().compute(), expected)


def test_a_cluster_shares_a_folder(tmp_path: Path) -> None:
    import distributed

    img = imgrs.open(noise(tmp_path / "a.tif")).blur(8)
    expected = img.compute()
    cache = imgrs.Cache("64MiB", tmp_path / "cache")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as workers,
        distributed.Client(workers, set_as_default=False) as client,
    ):
        for hits in (0, 4, 8):
            np.testing.assert_array_equal(img.compute(cache=cache, scheduler=client), expected)
            assert cache.hits == hits
        names = [engine.local_names(plan([img._node], settings_now(cache=cache, scheduler=client))) for _ in range(2)]
        assert names[0](img._node) != names[1](img._node)  # equal keys must be equal tasks
        cache.clear()
        np.testing.assert_array_equal(img.contrast(1.2).compute(cache=cache, scheduler=client), img.contrast(1.2))


def test_explain_tells_what_is_there() -> None:
    cache = imgrs.Cache("64MiB")
    img = ramp().blur(8)
    text = img.explain(cache=cache)
    assert "1. blur: 9 tiles of 1024x1024, margin 32, kept (cached; 0 of 9 in the cache)" in text
    assert "0 of 9 tiles are there; up to 64.0 MiB beside that memory" in text
    img.crop((0, 0, 2000, 1000)).compute(cache=cache)
    assert "2 of 9 in the cache" in img.explain(cache=cache)
    assert (cache.hits, cache.misses) == (0, 2)
    assert "cache  " not in img.explain()
    assert "nothing here is worth storing" in ramp(9).rotate180().explain(cache=cache)


def test_what_does_not_fit_the_memory_limit_is_not_stored() -> None:
    img = ramp(12_000).blur(8).auto_contrast()
    cache = imgrs.Cache("64MiB")
    text = img.explain(cache=cache, memory_limit="100MiB", workers=2)
    assert "histogram" in text
    assert plan([img._node], settings_now(cache=cache, memory_limit="100MiB")).forecast.peak_bytes <= 100 << 20


def greedy(peak: list[int]) -> Any:
    """A scheduler that makes what is kept as early as it may, and notes how many bytes of it there are at the peak."""

    def get(graph: Any, keys: Any, **options: Any) -> Any:
        from dask.core import flatten, get_dependencies

        tasks = dict(graph)
        values: dict[Any, Any] = {}
        waits = {key: set(get_dependencies(tasks, key)) for key in tasks}
        used = {key: sum(key in needs for needs in waits.values()) for key in tasks}
        wanted = set(flatten(keys))
        while waits:
            ready = [key for key, needs in waits.items() if needs <= values.keys()]
            key = min(ready, key=lambda key: not str(key[0]).startswith("imgrs-keep"))
            values[key] = dask.get({**values, key: tasks[key]}, key)
            kept = [
                value for key, value in values.items() if str(key[0]).startswith("imgrs-keep") and value is not None
            ]
            peak[0] = max(peak[0], sum({id(value): value.nbytes for value in kept}.values()))
            for need in waits.pop(key):
                used[need] -= 1
                if not used[need] and need not in wanted:
                    values[need] = None
        return dask.get({key: value for key, value in values.items() if key in wanted}, keys)

    return get


def test_stored_tiles_pass_through_a_run_a_few_rows_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peak = [0]
    monkeypatch.setattr(engine, "_threads", lambda workers: greedy(peak))
    options: dict[str, Any] = {"workers": 2, "chunks": (64, 64), "scheduler": "threads"}
    base = ramp(640).blur(8).brightness(3)
    for img in (base, base.edge_detect(), base.rotate90().sharpen(), base.auto_contrast(), base.crop((0, 0, 640, 64))):
        for side in (64, 40):
            cache = imgrs.Cache(1)
            made = plan([img._node], settings_now(cache=cache, **{**options, "chunks": side}))
            peak[0] = 0
            np.testing.assert_array_equal(img.compute(cache=cache, **{**options, "chunks": side}), public(img))
            assert 0 < peak[0] <= made.forecast.kept_bytes
    made = plan([base._node], settings_now(cache=imgrs.Cache(1), **options))
    assert made.forecast.kept_bytes < 640 * 640 * 3 / 2
    base.save(tmp_path / "a.tif", cache=imgrs.Cache(1), tile=64, **options)
    np.testing.assert_array_equal(imgrs.open(tmp_path / "a.tif").compute(), public(base))


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_nothing_waits_for_itself(name: str, tmp_path: Path) -> None:
    noise(tmp_path / "source.png", 300)
    first = imgrs.open(tmp_path / "source.png").blur(9)
    img = first.blur(8) + first.flip_top_bottom()  # whose first tile needs the last of one, and the first of the other
    options: dict[str, Any] = {"tile": 16} if name == "a.tif" else {}
    img.save(tmp_path / name, cache=imgrs.Cache(1), chunks=16, workers=1, scheduler="threads", **options)
    np.testing.assert_array_equal(imgrs.open(tmp_path / name).compute(), img.compute())


def test_nothing_is_stored_in_a_run_that_needs_scratch_files(tmp_path: Path) -> None:
    noise(tmp_path / "a.png", 2500)
    img = imgrs.open(tmp_path / "a.png").blur(8)
    cache = imgrs.Cache("64MiB")
    tight = {"memory_limit": "40MiB", "workers": 1, "cache": cache}
    assert "in scratch files" in img.auto_contrast().explain(**tight)  # type: ignore[arg-type]
    np.testing.assert_array_equal(img.auto_contrast().compute(**tight), img.auto_contrast().compute())
    assert cache.bytes == 0


def test_functions_are_known_by_their_code() -> None:
    def made(code: str) -> Any:
        space: dict[str, Any] = {"__name__": "somewhere"}
        exec(code, space)
        return space["f"]

    cache = imgrs.Cache("64MiB")
    invert, halve = "f = lambda tile: 255 - tile[50:-50, 50:-50]", "f = lambda tile: tile[50:-50, 50:-50] // 2"
    for code, hits in ((invert, 0), (invert, 1), (halve, 1)):
        img = ramp(300).map_tiles(made(code), 50)
        np.testing.assert_array_equal(img.compute(cache=cache), img.compute())
        assert cache.hits == hits


def test_a_function_that_is_edited_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    cache = imgrs.Cache("64MiB", tmp_path / "cache")
    for body, hits in (("255 - tile", 0), ("255 - tile", 1), ("tile // 2", 1)):
        (tmp_path / "edited_function.py").write_text(
            f"def f(tile):\n    tile = tile[50:-50, 50:-50]\n    return {body}\n"
        )
        monkeypatch.delitem(sys.modules, "edited_function", raising=False)
        img = ramp(300).map_tiles(importlib.import_module("edited_function").f, 50)
        np.testing.assert_array_equal(img.compute(cache=cache), img.compute())
        assert cache.hits == hits


class Unknown:
    """A function that Dask has no deterministic token for; it takes off what 20 pixels of margin add."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __call__(self, tile: Array) -> Array:
        return tile[20:-20, 20:-20]


def test_what_changes_without_its_key_is_not_stored(tmp_path: Path) -> None:
    cache = imgrs.Cache("64MiB")
    noise(tmp_path / "a.tif", 300)
    filled = imgrs.open(tmp_path / "a.tif", on_error="fill")
    lazy = imgrs.from_dask(dask.array.zeros((300, 300, 3), dtype="uint8", chunks=(100, 100, 3)))
    unknown = imgrs.open(tmp_path / "a.tif").map_tiles(Unknown(), 20)
    for img in (filled, lazy):
        img.blur(9).compute(cache=cache)
        img.mean().compute(cache=cache)
    assert (cache.bytes, cache.misses) == (0, 0)
    unknown.blur(9).compute(cache=cache)
    assert {key.split()[0] for key in cache._store._kept} == {imgrs.open(tmp_path / "a.tif").key}  # type: ignore[attr-defined]
    assert not UrlFolder("http://a/b.zarr", ()).tells_changes
    assert not UrlResource("http://a/b.tif", 9, "9 ").tells_changes
    assert UrlResource("http://a/b.tif", 9, "9 ETag=x").tells_changes


def test_a_limit_is_one_cache_for_all_of_a_process() -> None:
    with imgrs.options(cache="63MiB"):
        first = settings_now().cache
        assert settings_now(cache=63 << 20).cache is first
        assert settings_now(cache=False).cache is None
    assert settings_now().cache is None
    assert first is not None
    ramp(300).blur(8).compute(cache="63MiB")
    ramp(300).blur(8).compute(cache="63MiB")
    assert first.hits == 1
    with dask.config.set({"imgrs.cache": "63MiB"}):
        assert settings_now().cache is first
    assert pickle.loads(pickle.dumps(first)) is first


def test_a_cache_says_what_it_is(tmp_path: Path) -> None:
    cache = imgrs.Cache("64MiB")
    ramp(300).blur(8).compute(cache=cache)
    assert repr(cache) == "<Cache in memory: 263.7 KiB of 64.0 MiB, 0 hits, 1 miss>"
    assert re.fullmatch(rf"<Cache in {tmp_path}: .* of 1.0 GiB, 0 hits, 0 misses>", repr(imgrs.Cache("1GiB", tmp_path)))


@pytest.mark.parametrize("wrong", [0, -1, "much", True, None])
def test_a_limit_is_checked(wrong: Any) -> None:
    with pytest.raises(imgrs.ArgumentError, match=r"^Cache: limit must be bytes or text"):
        imgrs.Cache(wrong)
    if wrong is not None:
        with pytest.raises(imgrs.ArgumentError, match=r"^options: cache must be"):
            settings_now(cache=wrong)


def test_a_folder_that_will_not_do_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(imgrs.ArgumentError, match="cannot be used"):
        imgrs.Cache("1MiB", tmp_path / "file")
    monkeypatch.setitem(sys.modules, "diskcache", None)
    with pytest.raises(imgrs.ArgumentError, match=re.escape("pip install 'imgrs-lazy[cache]'")):
        imgrs.Cache("1MiB", tmp_path)


@pytest.mark.parametrize("wrong", [3, b"folder", True, Path])
def test_a_folder_is_a_path(wrong: Any) -> None:
    with pytest.raises(imgrs.ArgumentTypeError) as caught:
        imgrs.Cache("1MiB", folder=wrong)
    assert str(caught.value) == f"Cache: folder must be a path or None, got {wrong!r}"


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_a_batch_looks_up_and_fills(scheduler: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(3):
        noise(tmp_path / "in" / f"{i}.tif", 300, i)
    cache = imgrs.Cache("64MiB", tmp_path / "cache")
    options: dict[str, Any] = {"cache": cache, "scheduler": scheduler, "workers": 2}
    imgrs.batch(str(tmp_path / "in" / "*.tif"), blurred, str(tmp_path / "{stem}-a.png"), **options)
    assert cache.bytes >= 3 * 270_000
    before = cache.hits
    imgrs.open(tmp_path / "in" / "1.tif").blur(8).compute(cache=cache)
    assert cache.hits == before + 1
    imgrs.batch(str(tmp_path / "in" / "*.tif"), blurred, str(tmp_path / "{stem}-b.png"), **options)
    for i in range(3):
        first, second = (imgrs.open(tmp_path / f"{i}-{name}.png").compute() for name in "ab")
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(first, blurred(imgrs.open(tmp_path / "in" / f"{i}.tif")).compute())


def blurred(img: Image) -> Image:
    return img.blur(8)


def test_the_page_about_caches_is_true(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "caching.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    environment = {**os.environ, "PYTHONPATH": str(Path(imgrs.__file__).parent.parent)}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, env=environment
    )
    assert re.search(r"blur: 6 tiles of 1024x1024, .*6 of 6 in the cache", run.stdout)
    hits, misses, *_ = run.stdout.split()
    assert (int(hits), int(misses)) == (7, 30)
    assert "<Cache in memory: " in run.stdout
    assert f"<Cache in {tmp_path / 'imgrs-results'}: " in run.stdout


def test_a_long_chain_is_stored_at_few_places() -> None:
    img = ramp(300)
    for _ in range(300):
        img = img.blur(8)
    stored = caching.worth_storing([img._node], settings_now(cache=imgrs.Cache("64MiB")))
    assert 5 < len(stored) < 40
    assert stored == caching.worth_storing([img.brightness(3)._node], settings_now(cache=imgrs.Cache("64MiB")))


def test_what_is_small_is_stored_too() -> None:
    cache = imgrs.Cache("2MiB")
    small = ramp(6000).blur(8).resize((600, 600))
    expected = small.invert().compute(cache=cache)
    read.clear()
    np.testing.assert_array_equal(small.compute(cache=cache), 255 - expected)
    assert not read
