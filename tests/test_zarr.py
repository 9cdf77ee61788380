"""Zarr and OME-Zarr that others wrote: every layout, codec and version, at every size, from disk and from afar."""

from __future__ import annotations

import functools
import http.server
import pickle
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numcodecs
import numpy as np
import numpy.typing as npt
import pytest
import zarr
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

import imgrs
from imgrs.errors import (
    ArgumentError,
    CorruptImageError,
    ImageNotFoundError,
    SourceChangedError,
    UnsupportedFormatError,
)
from imgrs.io import folder, remote, segments
from tests.zarrs import files, noise, ome_zarr

Array = npt.NDArray[Any]


def reader(img: imgrs.Image) -> Any:
    return img._node.op.reader  # type: ignore[attr-defined]  # it is an Open


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "bool"])
@pytest.mark.parametrize("way", ["v2", "v2 F big-endian", "v3", "v3 big-endian", "sharded"])
@pytest.mark.parametrize("bands", [None, 1, 3, 7])
def test_arrays_of_every_layout(bands: int | None, way: str, dtype: str, tmp_path: Path) -> None:
    data = noise((83, 61) if bands is None else (83, 61, bands), dtype)
    chunks = (16, 20) if bands is None else (16, 20, bands)
    options: dict[str, Any] = {"zarr_format": 2 if way[:2] == "v2" else 3, "chunks": chunks}
    if way == "v2 F big-endian":
        options |= {"order": "F"}
    if way == "v3 big-endian":
        options |= {"serializer": zarr.codecs.BytesCodec(endian="big")}
    if way == "sharded":
        options |= {"shards": (32, 40, *chunks[2:])}
    stored = data.astype(data.dtype.newbyteorder(">")) if way == "v2 F big-endian" else data
    zarr.create_array(tmp_path / "a.zarr", data=stored, **options)
    img = imgrs.open(tmp_path / "a.zarr")
    assert (img.format, img.size, img.dtype, img.n_frames) == ("ZARR", (61, 83), data.dtype, 1)
    assert img.mode == {None: img.mode, 1: img.mode, 3: "RGB", 7: "multiband"}[bands]
    assert reader(img).unit == (20, 16)
    expected = data if bands != 1 else data[..., 0]
    np.testing.assert_array_equal(img.compute(), expected)
    np.testing.assert_array_equal(img.compute(chunks=(17, 33)), expected)
    np.testing.assert_array_equal(img.crop((5, 7, 40, 31)).compute(), expected[7:31, 5:40])


COMPRESSORS: list[Any] = [
    (3, ZstdCodec(level=3, checksum=True)), (3, GzipCodec()), (3, BloscCodec(cname="lz4", shuffle="shuffle")), (3, None),
    (2, numcodecs.Zstd()), (2, numcodecs.GZip()), (2, numcodecs.Zlib()), (2, numcodecs.BZ2()), (2, numcodecs.LZ4()),
    (2, numcodecs.Blosc()), (2, None),
]  # fmt: skip


@pytest.mark.parametrize(("version", "compressor"), COMPRESSORS, ids=lambda value: type(value).__name__)
def test_chunks_of_every_codec(version: Any, compressor: Any, tmp_path: Path) -> None:
    data = noise((100, 90, 3), "uint16") >> 6
    zarr.create_array(tmp_path / "a.zarr", data=data, zarr_format=version, chunks=(32, 32, 3), compressors=compressor)
    np.testing.assert_array_equal(imgrs.open(tmp_path / "a.zarr").compute(), data)


def test_filters_of_version_2(tmp_path: Path) -> None:
    data = noise((100, 90), "uint16")
    filters = [numcodecs.Delta("<u2"), numcodecs.Shuffle(2)]
    zarr.create_array(tmp_path / "a.zarr", data=data, zarr_format=2, chunks=(32, 32), filters=filters)
    np.testing.assert_array_equal(imgrs.open(tmp_path / "a.zarr").compute(), data)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_times_and_depths_are_pages(version: str, tmp_path: Path) -> None:
    data = noise((2, 3, 4, 50, 40), "uint16")  # t, c, z, y, x
    ome_zarr(tmp_path / "a.ome.zarr", [data], "tczyx", version)
    img = imgrs.open(tmp_path / "a.ome.zarr")
    assert (img.n_frames, img.bands, img.mode, img.size) == (8, 3, "multiband", (40, 50))
    for page in range(8):
        t, z = divmod(page, 4)
        expected = np.moveaxis(data[t, :, z], 0, 2)
        np.testing.assert_array_equal(img.page(page).compute(), expected)
        np.testing.assert_array_equal(
            imgrs.open(tmp_path / "a.ome.zarr", page=page)[3:20, 5:9].compute(), expected[3:20, 5:9]
        )
    assert len({img.page(page).key for page in range(8)}) == 8
    with pytest.raises(ArgumentError, match="from 0 to 7"):
        img.page(8)
    again = pickle.loads(pickle.dumps(img.page(5)))
    np.testing.assert_array_equal(
        again.compute(scheduler="processes", chunks=(32, 32)), np.moveaxis(data[1, :, 1], 0, 2)
    )


@pytest.mark.parametrize("names", ["yx", "cyx", "zyx", "tyx", "yxc", "xyc", "czyx"])
def test_axes_in_any_order(names: str, tmp_path: Path) -> None:
    sides = {"y": 50, "x": 40, "c": 2, "z": 3, "t": 3}
    data = noise(tuple(sides[name] for name in names))
    ome_zarr(tmp_path / "a.zarr", [data], names)
    img = imgrs.open(tmp_path / "a.zarr")
    order = [names.index(name) for name in "tzyxc" if name in names]
    expected = data.transpose(order).reshape(-1, 50, 40, sides["c"] if "c" in names else 1)
    assert (img.size, img.n_frames, img.bands) == ((40, 50), len(expected), expected.shape[-1])
    for page in range(len(expected)):
        np.testing.assert_array_equal(img.page(page).compute().reshape(expected.shape[1:]), expected[page])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_every_size_of_a_pyramid_is_read(version: str, tmp_path: Path) -> None:
    levels = [noise((3, 201 >> i, 150 >> i), seed=i) for i in range(4)]
    ome_zarr(tmp_path / "a.zarr", levels, "cyx", version)
    img = imgrs.open(tmp_path / "a.zarr")
    assert reader(img).shrinks == (1, 2, 4, 8)
    for i, level in enumerate(levels):
        expected = np.moveaxis(level, 0, 2)
        spec = reader(img).shrunk(1 << i)
        np.testing.assert_array_equal(reader(img).read(spec.region, 1 << i), expected)
        alone = imgrs.open(tmp_path / "a.zarr" / str(i))
        assert alone.mode == "RGB"
        assert alone.info["pixel_size"]["x"] == 0.5 * 2**i
        np.testing.assert_array_equal(alone.compute(), expected)
    assert "shrink=4" in img.resize((18, 25)).explain(optimizer="fast")
    assert "shrink=4" in img.copy().thumbnail((18, 25)).listing()


def test_sizes_that_are_no_whole_reductions_are_left_out(tmp_path: Path) -> None:
    levels = [noise((200, 150)), noise((133, 100), seed=1), noise((100, 75), seed=2), noise((50, 40), seed=3)]
    ome_zarr(tmp_path / "a.zarr", levels, "yx", pixel=1.0)
    group = zarr.open_group(tmp_path / "a.zarr")
    said: Any = group.attrs["ome"]
    for dataset, scale in zip(said["multiscales"][0]["datasets"], (1.0, 1.5, 2.0, 4.0), strict=True):
        dataset["coordinateTransformations"][0]["scale"] = [scale, scale]
    group.attrs["ome"] = said
    assert reader(imgrs.open(tmp_path / "a.zarr")).shrinks == (1, 2)
    said["multiscales"][0]["datasets"][2]["coordinateTransformations"][0]["scale"] = [3.0, 3.0]
    group.attrs["ome"] = said
    assert reader(imgrs.open(tmp_path / "a.zarr")).shrinks == (1,)  # what it says contradicts its shape


def colored(*colors: str, labels: tuple[str, ...] = ()) -> dict[str, Any]:
    named = labels or tuple(f"channel {i}" for i in range(len(colors)))
    return {"channels": [{"color": c, "label": name} for c, name in zip(colors, named, strict=True)]}


@pytest.mark.parametrize(
    ("bands", "dtype", "omero", "mode"),
    [
        (1, "uint8", {}, "L"),
        (3, "uint8", {}, "RGB"),
        (3, "uint8", colored("FF0000", "00FF00", "0000FF"), "RGB"),
        (3, "uint8", colored("0000FF", "00FF00", "FF0000"), "multiband"),
        (3, "uint16", {}, "multiband"),
        (3, "uint16", colored("FF0000", "00FF00", "0000FF"), "multiband"),
        (3, "uint16", colored(*"rgb", labels=("Red", "Green", "Blue")), "RGB"),
        (4, "uint8", {}, "multiband"),
        (4, "uint8", colored(*"rgba", labels=("red", "green", "blue", "alpha")), "RGBA"),
        (2, "uint8", colored("FFFFFF", "FFFFFF"), "multiband"),
        (2, "uint8", colored(*"ka", labels=("gray", "alpha")), "LA"),
        (4, "uint8", colored(*"cmyk", labels=("cyan", "magenta", "yellow", "black")), "CMYK"),
    ],
)
def test_what_channels_mean(bands: int, dtype: str, omero: dict[str, Any], mode: str, tmp_path: Path) -> None:
    ome_zarr(tmp_path / "a.zarr", [noise((bands, 20, 20), dtype)], "cyx", **omero)
    assert imgrs.open(tmp_path / "a.zarr").mode == mode


def test_what_it_says_about_itself(tmp_path: Path) -> None:
    omero = colored("FF0000", "00FF00", labels=("DAPI", "GFP"))
    ome_zarr(tmp_path / "a.zarr", [noise((2, 3, 20, 20))], "czyx", "0.4", **omero)
    found = imgrs.open(tmp_path / "a.zarr").metadata
    assert found["name"] == "cells"
    assert found["axes"] == "czyx"
    assert found["pixel_size"] == {"z": 1, "y": 0.5, "x": 0.5}
    assert found["pixel_unit"]["x"] == "micrometer"
    assert [channel["label"] for channel in found["channels"]] == ["DAPI", "GFP"]
    assert found["dpi"] == [50_800, 50_800]


def test_dimension_names_say_which_axes_are_bands(tmp_path: Path) -> None:
    data = noise((5, 40, 30))
    zarr.create_array(tmp_path / "a.zarr", data=data, dimension_names=["c", "y", "x"])
    np.testing.assert_array_equal(imgrs.open(tmp_path / "a.zarr").compute(), np.moveaxis(data, 0, 2))
    zarr.create_array(tmp_path / "b.zarr", data=data[:3])
    with pytest.raises(UnsupportedFormatError, match="dimension_names"):
        imgrs.open(tmp_path / "b.zarr")
    zarr.create_array(tmp_path / "d.zarr", data=data[None])
    with pytest.raises(UnsupportedFormatError, match="4 axes"):
        imgrs.open(tmp_path / "d.zarr")


def test_missing_chunks_are_the_fill_value(tmp_path: Path) -> None:
    for version, shards in ((2, None), (3, None), (3, (32, 32))):
        path = tmp_path / f"{version}{shards}.zarr"
        array: Any = zarr.create_array(
            path,
            shape=(64, 64),
            chunks=(16, 16),
            shards=shards,
            dtype="uint8",
            fill_value=7,
            zarr_format=version,  # type: ignore[arg-type]  # 2 or 3
        )
        array[:16, :16] = 200
        expected = np.full((64, 64), 7)
        expected[:16, :16] = 200
        np.testing.assert_array_equal(imgrs.open(path).compute(), expected)


# Only what is needed


@pytest.fixture
def read(monkeypatch: Any) -> list[tuple[str, int]]:
    """The name and length of every piece of a local chunk that is read."""
    found: list[tuple[str, int]] = []
    real = folder.LocalFolder.file

    def counted(self: Any, name: str, start: int | None = None, end: int | None = None) -> bytes | None:
        data = real(self, name, start, end)
        if not name.endswith(("zarr.json", ".zarray", ".zattrs", ".zgroup")) and data is not None:
            found.append((name, len(data)))
        return data

    monkeypatch.setattr(folder.LocalFolder, "file", counted)
    return found


def test_opening_reads_no_chunk(tmp_path: Path, read: list[Any]) -> None:
    ome_zarr(tmp_path / "a.zarr", [noise((3, 100, 100))], "cyx")
    img = imgrs.open(tmp_path / "a.zarr")
    assert img.size == (100, 100)
    assert not read


def test_a_region_reads_its_chunks(tmp_path: Path, read: list[Any]) -> None:
    data = noise((96, 96))
    zarr.create_array(tmp_path / "a.zarr", data=data, chunks=(16, 16))
    img = imgrs.open(tmp_path / "a.zarr")
    np.testing.assert_array_equal(img.crop((20, 20, 40, 30)).compute(), data[20:30, 20:40])
    assert sorted(name for name, _ in read) == ["c/1/1", "c/1/2"]


def test_a_region_reads_pieces_of_shards(tmp_path: Path, read: list[Any]) -> None:
    data = noise((512, 512))
    zarr.create_array(tmp_path / "a.zarr", data=data, chunks=(64, 64), shards=(256, 256))
    img = imgrs.open(tmp_path / "a.zarr")
    np.testing.assert_array_equal(img.crop((70, 70, 120, 120)).compute(), data[70:120, 70:120])
    assert {name for name, _ in read} == {"c/0/0"}
    assert sum(length for _, length in read) < 2 * 64 * 64


def test_halos_decode_no_chunk_twice(tmp_path: Path, read: list[Any]) -> None:
    data = noise((192, 192))
    zarr.create_array(tmp_path / "a.zarr", data=data, chunks=(16, 16), compressors=None)
    segments._shared.__init__(segments.LIMIT)  # type: ignore[misc]  # emptied
    img = imgrs.open(tmp_path / "a.zarr").blur(2)
    img.compute(chunks=(64, 64), scheduler="sync", optimizer="exact")
    inner = 2 * 2 * 4  # of each of 9 tiles, the chunks that no other tile needs; the others are kept
    assert len(read) < 144 + 9 * inner
    assert len({name for name, _ in read}) == 144


# Damage


def broken(path: Path, at: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 0x55
    path.write_bytes(data)


def test_a_corrupt_chunk_is_named(tmp_path: Path) -> None:
    ome_zarr(tmp_path / "a.zarr", [noise((3, 100, 100))], "cyx")
    path = tmp_path / "a.zarr/0/c/2/3/1"
    path.write_bytes(path.read_bytes()[:-9])
    img = imgrs.open(tmp_path / "a.zarr")
    with pytest.raises(CorruptImageError, match=r"0/c/2/3/1.*\(16, 48, 32, 64\)"):
        img.compute()
    assert img.crop((40, 40, 90, 90)).compute().shape == (50, 50, 3)


@pytest.mark.parametrize("at", [0.5, 0.999], ids=["chunk", "index"])
def test_a_checksum_that_differs_is_an_error(at: float, tmp_path: Path) -> None:
    from zarr.codecs import Crc32cCodec

    data = noise((128, 128))
    zarr.create_array(
        tmp_path / "a.zarr", data=data, chunks=(32, 32), shards=(64, 64), compressors=[ZstdCodec(), Crc32cCodec()]
    )
    broken(tmp_path / "a.zarr/c/1/0", at)
    img = imgrs.open(tmp_path / "a.zarr")
    with pytest.raises(CorruptImageError, match=r"c/1/0.*hecksum"):
        img.compute()
    np.testing.assert_array_equal(img.crop((64, 0, 128, 128)).compute(), data[:, 64:])


def test_what_changed_after_opening_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=noise((64, 64)), chunks=(16, 16))
    img = imgrs.open(path)
    key = img.key
    assert imgrs.open(path).key == key
    zarr.open_array(path)[:16, :16] = 1
    with pytest.raises(SourceChangedError, match="c/0/0"):
        img.compute()
    assert img.crop((32, 32, 64, 64)).compute().shape == (32, 32)
    assert imgrs.open(path).key != key

    img = imgrs.open(path)
    time.sleep(0.05)  # what changes within a tick of the file system's clock, of 10 ms at most, cannot be told
    (path / "c/1/1").unlink()
    with pytest.raises(SourceChangedError, match="c/1"):
        img.compute()

    img = imgrs.open(path)
    zarr.create_array(tmp_path / "b.zarr", data=noise((64, 64), seed=9), chunks=(16, 16))
    shutil.rmtree(path)
    (tmp_path / "b.zarr").rename(path)
    with pytest.raises(SourceChangedError, match="changed after"):
        img.compute()
    shutil.rmtree(path)
    with pytest.raises(SourceChangedError):
        imgrs.images_equal(img, img.copy().invert())


def test_a_large_folder_is_known_by_its_documents(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(folder, "MOST_LISTED", 10)
    path = tmp_path / "a.zarr"
    data = noise((64, 64))
    zarr.create_array(path, data=data, chunks=(16, 16))
    img = imgrs.open(path)
    np.testing.assert_array_equal(img.compute(), data)
    zarr.open_array(path).attrs["a"] = 1
    with pytest.raises(SourceChangedError):
        img.compute()
    assert imgrs.open(path).key != img.key


# What is no image


def test_groups_that_are_no_images_say_what_can_be_opened(tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "p.zarr", mode="w", zarr_format=2)
    root.attrs["plate"] = {"wells": [{"path": "A/1"}, {"path": "B/2"}]}
    well = root.create_group("A/1")
    well.attrs["well"] = {"images": [{"path": "0"}, {"path": "1"}]}
    ome_zarr(tmp_path / "p.zarr/A/1/0", [noise((20, 20))], "yx", "0.4")
    with pytest.raises(UnsupportedFormatError, match=r"plate of 2 wells.*p\.zarr/A/1/0, .*p\.zarr/B/2/0"):
        imgrs.open(tmp_path / "p.zarr")
    with pytest.raises(UnsupportedFormatError, match=r"well of 2 images.*A/1/0, .*A/1/1"):
        imgrs.open(tmp_path / "p.zarr/A/1")
    assert imgrs.open(tmp_path / "p.zarr/A/1/0").size == (20, 20)

    ome_zarr(tmp_path / "l.zarr", [noise((20, 20))], "yx")
    ome_zarr(tmp_path / "l.zarr/labels/nuclei", [noise((20, 20), seed=1)], "yx")
    zarr.open_group(tmp_path / "l.zarr/labels").attrs["ome"] = {"labels": ["nuclei"]}
    assert imgrs.open(tmp_path / "l.zarr").size == (20, 20)
    with pytest.raises(UnsupportedFormatError, match=r"labels; open one: .*labels/nuclei"):
        imgrs.open(tmp_path / "l.zarr/labels")
    assert imgrs.open(tmp_path / "l.zarr/labels/nuclei").size == (20, 20)

    ome_zarr(tmp_path / "s.zarr/0", [noise((20, 20))], "yx", "0.4")
    zarr.open_group(tmp_path / "s.zarr", zarr_format=2).attrs["bioformats2raw.layout"] = 3
    with pytest.raises(UnsupportedFormatError, match=r"what is in it: .*s\.zarr/0"):
        imgrs.open(tmp_path / "s.zarr")
    with pytest.raises(UnsupportedFormatError, match="directory"):
        imgrs.open(tmp_path)


@pytest.mark.parametrize("dtype", ["int16", "float64", "uint32", "complex64"])
def test_other_depths_are_refused(dtype: str, tmp_path: Path) -> None:
    for version in (2, 3):
        path = tmp_path / f"{version}.zarr"
        zarr.create_array(path, shape=(20, 20), chunks=(10, 10), dtype=dtype, zarr_format=version)
        with pytest.raises(UnsupportedFormatError, match=dtype):
            imgrs.open(path)


def test_without_the_package_the_message_names_the_extra(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=noise((20, 20)))
    code = (
        "import importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'zarr' else real(name, *more)\n"
        "import imgrs\n"
        "for call in (imgrs.open, imgrs.new('L', (9, 9)).save):\n"
        f"    try: call({str(tmp_path / 'a.zarr')!r})\n"
        "    except imgrs.UnsupportedFormatError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("pip install 'imgrs-lazy[zarr]'") == 2


# From afar


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    remote._blocks.__init__(32 << 20)  # type: ignore[misc]  # emptied
    remote._unchanged.cache_clear()


def upload(system: Any, path: Path, url: str) -> None:
    for file in path.rglob("*"):
        if file.is_file():
            system.pipe_file(f"{url}/{file.relative_to(path)}", file.read_bytes())


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_stores_behind_urls(version: str, tmp_path: Path, memory: Any, monkeypatch: Any) -> None:
    levels = [noise((3, 200 >> i, 150 >> i), seed=i) for i in range(3)]
    upload(memory, ome_zarr(tmp_path / "a.zarr", levels, "cyx", version), "/bucket/a")
    fetched: list[str] = []
    real = remote.UrlFolder._fetched

    def counted(self: Any, system: Any, path: str, start: Any, end: Any) -> bytes | None:
        fetched.append(path)
        return real(self, system, path, start, end)

    monkeypatch.setattr(remote.UrlFolder, "_fetched", counted)
    img = imgrs.open("memory://bucket/a/")
    assert (img.mode, reader(img).shrinks) == ("RGB", (1, 2, 4))
    fetched.clear()
    np.testing.assert_array_equal(img.crop((20, 20, 40, 30)).compute(), np.moveaxis(levels[0], 0, 2)[20:30, 20:40])
    assert len(fetched) == 6  # two chunks of three bands
    np.testing.assert_array_equal(img.compute(), np.moveaxis(levels[0], 0, 2))
    np.testing.assert_array_equal(imgrs.open("memory://bucket/a/2").compute(), np.moveaxis(levels[2], 0, 2))
    with pytest.raises(ImageNotFoundError):
        imgrs.open("memory://bucket/b.zarr")


def test_shards_behind_urls_are_read_in_pieces(tmp_path: Path, memory: Any, monkeypatch: Any) -> None:
    data = noise((512, 512))
    zarr.create_array(tmp_path / "a.zarr", data=data, chunks=(64, 64), shards=(256, 256))
    upload(memory, tmp_path / "a.zarr", "/a.zarr")
    fetched: list[int] = []
    real = remote.UrlFolder._fetched

    def counted(self: Any, system: Any, path: str, start: Any, end: Any) -> bytes | None:
        data = real(self, system, path, start, end)
        fetched.append(len(data or b""))
        return data

    monkeypatch.setattr(remote.UrlFolder, "_fetched", counted)
    img = imgrs.open("memory://a.zarr")
    fetched.clear()
    np.testing.assert_array_equal(img.crop((0, 0, 200, 200)).compute(), data[:200, :200])
    assert len(fetched) == 1 + 16  # the index once, and the pieces
    np.testing.assert_array_equal(img.compute(), data)


def test_documents_that_changed_afar_are_refused(tmp_path: Path, memory: Any) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=noise((64, 64)), chunks=(16, 16))
    upload(memory, tmp_path / "a.zarr", "/a.zarr")
    img = imgrs.open("memory://a.zarr")
    img.compute()
    upload(memory, tmp_path / "a.zarr", "/a.zarr")
    with pytest.raises(SourceChangedError, match=r"memory://a\.zarr"):
        img.compute()
    assert imgrs.open("memory://a.zarr").key != img.key


def test_stores_in_archives(tmp_path: Path) -> None:
    data = noise((3, 100, 100))
    ome_zarr(tmp_path / "a.zarr", [data], "cyx")
    for prefix in ("", "inner/"):
        with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
            for file in (tmp_path / "a.zarr").rglob("*"):
                archive.write(file, f"{prefix}{file.relative_to(tmp_path / 'a.zarr')}")
        img = imgrs.open(f"zip://{prefix}::file://{tmp_path}/b.zip")
        np.testing.assert_array_equal(img.compute(scheduler="processes", chunks=(64, 64)), np.moveaxis(data, 0, 2))
        (tmp_path / "b.zip").unlink()
        remote._system.cache_clear()


class _Pages(http.server.SimpleHTTPRequestHandler):
    """A web server that lists folders as pages, and serves ranges."""

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        wanted = self.headers.get("Range")
        if not path.is_file() or wanted is None:
            super().do_GET()
            return
        content = path.read_bytes()
        first, last = wanted.removeprefix("bytes=").split("-")
        start, end = (
            (int(first), min(int(last) + 1, len(content))) if first else (len(content) - int(last), len(content))
        )
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        self.wfile.write(content[start:end])


def test_a_web_server(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    data = noise((3, 300, 200))
    ome_zarr(tmp_path / "a.zarr", [data], "cyx", shards=(1, 64, 64))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Pages, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        base = f"http://127.0.0.1:{server.server_port}/a.zarr"
        img = imgrs.open(base)
        np.testing.assert_array_equal(img.crop((10, 20, 150, 180)).compute(), np.moveaxis(data, 0, 2)[20:180, 10:150])
        assert imgrs.open(f"{base}/0").mode == "RGB"
        with pytest.raises(ImageNotFoundError):
            imgrs.open(f"{base}/nothing")
    finally:
        server.shutdown()


def test_folders_of_a_process_are_read_by_many_threads(tmp_path: Path) -> None:
    data = noise((3, 400, 400))
    ome_zarr(tmp_path / "a.zarr", [data], "cyx", chunk=32)
    img = imgrs.open(tmp_path / "a.zarr").blur(3).brightness(4)
    expected = img.compute(scheduler="sync", chunks=(400, 400))
    np.testing.assert_array_equal(img.compute(workers=8, chunks=(40, 50)), expected)
    assert files(tmp_path / "a.zarr")
