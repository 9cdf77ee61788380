"""Whole pipelines against the oracle: every scheduler, tiling and optimizer level gives the same bits."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array
import numpy as np
import numpy.typing as npt
import pytest
import tifffile

import imgrs
from imgrs.demo import grade
from imgrs.image import Image
from tests.oracle import evaluate

Array = npt.NDArray[Any]


def public(img: Image) -> Array:
    """The oracle's pixels, shaped as ``compute`` shapes them."""
    return evaluate(img._node).reshape(img.shape)


def complex_chain(img: Image) -> Image:
    """The guide's ``complex_image_processing``, smaller."""
    gray = img.resize((120, 80)).blur(2.0).sharpen(1.5).edge_detect().brightness(20).contrast(1.3).saturate(1.2)
    return gray.sepia(0.3).hue_rotate(15).invert(0.1).brightness(-10).contrast(0.9).blur(0.5)


def diamond(img: Image) -> Image:
    base = img.blur(1.5)
    return base.blend("normal", base.rotate180().brightness(40).crop((10, 10, 100, 90)), position=(30, 20))


PIPELINES: dict[str, Callable[[Image], Image]] = {
    "grade": grade,
    "complex": complex_chain,
    "diamond": diamond,
    "auto_contrast": lambda img: img.blur(1).auto_contrast(2).crop((5, 6, 90, 80)),
    "turns": lambda img: img.rotate90().brightness(9).flip_left_right().contrast(1.5).rotate180().gamma(1.4),
    "resizes": lambda img: img.resize((200, 333), "bicubic").crop((3, 5, 180, 300)).resize((90, 91)).posterize(4),
    "bands": lambda img: imgrs.merge("RGB", [img.invert().split()[i] for i in (2, 0, 1)]).unsharp_mask(),
    "padded": lambda img: img.pad(7, color=(9, 8, 7)).box_blur(3).edge_enhance().pad((1, 2), "edge").emboss(),
    "arithmetic": lambda img: (img * 1.5 - img.blur(3)) + 10,
}
each = pytest.mark.parametrize("name", PIPELINES)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with (
        dask.config.set({"distributed.worker.daemon": False}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as workers,
        distributed.Client(workers, set_as_default=False) as client,
    ):
        yield client


@each
@pytest.mark.parametrize("optimizer", ["exact", "off"])
@pytest.mark.parametrize("chunks", [(1000, 1000), (61, 47), (33, 128)])
@pytest.mark.parametrize("scheduler", ["threads", "sync"])
def test_equal_bits(name: str, optimizer: str, chunks: tuple[int, int], scheduler: str, photo: Array) -> None:
    img = PIPELINES[name](imgrs.fromarray(photo))
    got = img.compute(optimizer=optimizer, chunks=chunks, scheduler=scheduler)
    np.testing.assert_array_equal(got, public(img))


@each
def test_equal_bits_in_processes(name: str, photo_tiff: Path) -> None:
    img = PIPELINES[name](imgrs.open(photo_tiff))
    np.testing.assert_array_equal(img.compute(scheduler="processes", workers=2, chunks=(128, 100)), public(img))


@each
def test_equal_bits_on_a_cluster(name: str, photo_tiff: Path, cluster: Any) -> None:
    img = PIPELINES[name](imgrs.open(photo_tiff))
    np.testing.assert_array_equal(img.compute(scheduler=cluster, chunks=(128, 100)), public(img))


@each
@pytest.mark.parametrize("kind", ["uint16", "float32"])
def test_equal_bits_at_other_depths(name: str, kind: str, photo: Array) -> None:
    img = PIPELINES[name](imgrs.fromarray(photo[:120, :140]).astype(kind).blur(0.7))
    np.testing.assert_array_equal(img.compute(chunks=(50, 37)), public(img))


@each
def test_equal_bits_with_alpha(name: str, photo: Array) -> None:
    if name == "bands":
        return  # it makes RGB of three bands
    alpha = np.linspace(0, 255, 140).astype(np.uint8) * np.ones((120, 1), np.uint8)
    pixels = np.dstack([photo[:120, :140], alpha])
    img = PIPELINES[name](imgrs.fromarray(pixels))
    np.testing.assert_array_equal(img.compute(chunks=(50, 37)), public(img))


@pytest.mark.parametrize("scheduler", ["threads", "sync", "processes"])
def test_a_saved_tiff_holds_the_pixels(scheduler: str, photo_tiff: Path, tmp_path: Path) -> None:
    img = grade(imgrs.open(photo_tiff))
    target = tmp_path / "out.tif"
    img.save(target, tile=32, scheduler=scheduler, chunks=(96, 64))
    np.testing.assert_array_equal(tifffile.imread(target), public(img))


def test_file_bytes_do_not_depend_on_workers(photo_tiff: Path, tmp_path: Path) -> None:
    img = imgrs.open(photo_tiff).blur(1)
    names = [tmp_path / f"{workers}.tif" for workers in (1, 2, 5)]
    for workers, name in zip((1, 2, 5), names, strict=True):
        img.save(name, tile=32, workers=workers, chunks=(64, 64))
    assert len({name.read_bytes() for name in names}) == 1


def test_dask_computes_images_together_and_shared_work_once(photo: Array) -> None:
    calls = []

    def counted(tile: Array) -> Array:
        calls.append(tile.shape)
        return 255 - tile

    with imgrs.options(chunks=(100, 100)):
        shared = imgrs.fromarray(photo).map_tiles(counted)
        first, second = shared.brightness(10), shared.blur(0)
        one, other = dask.compute(first, second, scheduler="sync")
    np.testing.assert_array_equal(one, np.clip(255 - photo.astype(int) + 10, 0, 255))
    np.testing.assert_array_equal(other, 255 - photo)
    assert len(calls) == 3 * 5


def test_dask_gives_statistics_of_their_public_shape(photo: Array) -> None:
    img = imgrs.fromarray(photo)
    mean, extrema = img.mean().compute(), img.extrema().compute()
    for alone in (dask.compute(img.mean())[0], img.mean().to_dask().compute(), img.mean().persist().compute()):
        np.testing.assert_array_equal(alone, mean)
    for images, expected in (((img.mean(), img.extrema()), (mean, extrema)), ((img.mean(), img), (mean, photo))):
        for one, other in zip(dask.compute(*images, scheduler="sync"), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_dask_protocol(photo: Array) -> None:
    img = imgrs.fromarray(photo).blur(1)
    expected = public(img)
    with imgrs.options(chunks=(128, 128)):
        assert dask.is_dask_collection(img)
        np.testing.assert_array_equal(dask.compute(img)[0], expected)
        np.testing.assert_array_equal(dask.optimize(img)[0].compute(), expected)
        persisted = dask.persist(img)[0]
        assert isinstance(persisted, Image)
        np.testing.assert_array_equal(persisted.compute(), expected)
        assert dask.delayed(lambda array: array.shape)(img).compute() == photo.shape
        array = img.to_dask()
        assert isinstance(array, dask.array.Array)
        np.testing.assert_array_equal(array[10:20, 30:50].compute(), expected[10:20, 30:50])
        np.testing.assert_array_equal(imgrs.from_dask(array).brightness(5).compute(), public(img.brightness(5)))


def test_a_cluster_computes_an_image_as_a_collection(photo_tiff: Path, cluster: Any) -> None:
    img = imgrs.open(photo_tiff).contrast(1.2)
    np.testing.assert_array_equal(cluster.compute(img).result(), public(img))


def test_images_pickle(photo_tiff: Path) -> None:
    img = grade(imgrs.open(photo_tiff))
    again = pickle.loads(pickle.dumps(img))
    assert again == img
    assert hash(again) == hash(img)
    np.testing.assert_array_equal(again.compute(), img.compute())


def test_ten_thousand_tone_ops_compute(photo: Array) -> None:
    img = imgrs.fromarray(photo[:40, :50])
    for i in range(10_000):
        img = img.brightness(1 if i % 2 else -1)
    assert len(img.key) == 32
    assert pickle.loads(pickle.dumps(img)).key == img.key
    np.testing.assert_array_equal(img.compute(), public(img))


def test_ten_thousand_windows_compute() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    img = imgrs.fromarray(pixels)
    for _ in range(10_000):
        img = img.sharpen(0.25)
    np.testing.assert_array_equal(img.compute(chunks=(64, 64)), public(img))


def test_five_thousand_inputs_compute() -> None:
    pixels = [np.full((3, 4), i % 251, np.uint8) for i in range(5_000)]
    img = imgrs.merge("multiband", [imgrs.fromarray(p) for p in pixels])
    assert pickle.loads(pickle.dumps(img)).key == img.key
    np.testing.assert_array_equal(img.compute(), np.dstack(pixels))
