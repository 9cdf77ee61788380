"""Damaged and hostile Zarr stores: pixels or a clear error, never a crash, a library's own exception, or a long wait."""

from __future__ import annotations

import bz2
import gzip
import json
import shutil
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

import imgrs
from imgrs.errors import CorruptImageError, ImgrsError, LimitError, UnsupportedFormatError
from imgrs.io.inflate import CODECS, inflated
from tests.test_damage import FILES, OUTCOMES
from tests.zarrs import noise, ome_zarr

WAYS = [
    "v2 blosc",
    "v2 zstd",
    "v2 lz4",
    "v2 zlib",
    "v2 bz2",
    "v3 zstd",
    "v3 blosc",
    "v3 gzip",
    "shards",
    "ome 0.4",
    "ome 0.5",
]


def good(path: Path, way: str) -> None:
    data = noise((3, 70, 80)) >> 2
    version, _, name = way.partition(" ")
    if version == "ome":
        ome_zarr(path, [data, data[:, ::2, ::2]], "cyx", name)
    elif version == "v2":
        codec = getattr(numcodecs, {"zlib": "Zlib", "bz2": "BZ2", "lz4": "LZ4"}.get(name, name.title()))()
        pixels = np.moveaxis(data, 0, 2)
        zarr.create_array(path, data=pixels, chunks=(32, 32, 3), zarr_format=2, compressors=codec)
    else:
        codecs = {"zstd": ZstdCodec(), "blosc": BloscCodec(), "gzip": GzipCodec()}
        zarr.create_array(
            path,
            data=data,
            chunks=(3, 32, 32),
            shards=(3, 64, 64) if way == "shards" else None,
            compressors=codecs[name or "zstd"],
            dimension_names="cyx",
        )


def tried(path: Path) -> str:
    """What became of a damaged store: its error's name, or ``"pixels"``. Anything but our own errors propagates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr-python warns of what it does not know
        try:
            img = imgrs.open(path)
            if img.width * img.height * img.bands > 1 << 22:
                img = img.crop((0, 0, min(img.width, 64), min(img.height, 64)))
            img.compute(memory_limit="1GiB")
        except ImgrsError as error:
            return type(error).__name__ if str(error) else "an error without a message"
    return "pixels"


@pytest.mark.parametrize("way", WAYS)
def test_flipped_and_cut_files(way: str, tmp_path: Path) -> None:
    good(tmp_path / "good.zarr", way)
    assert tried(tmp_path / "good.zarr") == "pixels"
    rng, outcomes = np.random.default_rng(1), []
    files = [path.relative_to(tmp_path / "good.zarr") for path in (tmp_path / "good.zarr").rglob("*") if path.is_file()]
    documents = [name for name in files if name.name.startswith((".z", "zarr.json"))]
    for i in range(FILES):
        bad = tmp_path / f"{i}.zarr"
        shutil.copytree(tmp_path / "good.zarr", bad)
        among = documents if i % 2 else files
        path = bad / among[int(rng.integers(len(among)))]
        data = bytearray(path.read_bytes())
        if i % 3:
            for _ in range(1 + i % 4):
                data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        else:
            del data[int(rng.integers(len(data))) :]
        path.write_bytes(data)
        outcomes.append(tried(bad))
        shutil.rmtree(bad)
    assert set(outcomes) <= OUTCOMES | {"ImageNotFoundError"}
    assert CorruptImageError.__name__ in outcomes


def changed(path: Path, document: str, *place: Any, value: Any) -> None:
    found = json.loads((path / document).read_text())
    inner = found
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (path / document).write_text(json.dumps(found))


NONSENSE: list[Any] = [None, 0, -1, 1 << 40, 1 << 70, 0.5, "a", [], {}, [0], [-1, 1], [1 << 40] * 3, [[[]]], True]


def places(found: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON document."""
    inner = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    return ([place] if place else []) + [deeper for key, value in inner for deeper in places(value, (*place, key))]


@pytest.mark.parametrize("way", ["v2 blosc", "v3 zstd", "shards", "ome 0.4", "ome 0.5"])
def test_every_field_of_every_document_at_nonsense(way: str, tmp_path: Path) -> None:
    good(tmp_path / "a.zarr", way)
    for name in ("zarr.json", ".zarray", ".zattrs", "0/zarr.json", "0/.zarray", "1/.zarray"):
        path = tmp_path / "a.zarr" / name
        if not path.exists():
            continue
        text = path.read_text()
        for i, place in enumerate(places(json.loads(text))):
            for value in NONSENSE[i % 3 :: 3] if FILES <= 60 else NONSENSE:
                path.write_text(text)
                changed(tmp_path / "a.zarr", name, *place, value=value)
                assert tried(tmp_path / "a.zarr") in OUTCOMES | {"ImageNotFoundError"}, (name, place, value)
        path.write_text(text)
    assert tried(tmp_path / "a.zarr") == "pixels"


def test_documents_that_are_no_json(tmp_path: Path) -> None:
    good(tmp_path / "a.zarr", "v3 zstd")
    for text in ("", "{", "[]", "null", "[" * 200_000, '{"a": ' * 100_000, '{"zarr_format": 3}', "\udcff"):
        (tmp_path / "a.zarr/zarr.json").write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(CorruptImageError, match=r"a\.zarr"):
            imgrs.open(tmp_path / "a.zarr")


def test_a_store_that_claims_much_costs_little(tmp_path: Path) -> None:
    good(tmp_path / "a.zarr", "v3 zstd")
    changed(tmp_path / "a.zarr", "zarr.json", "shape", value=[3, 1_000_000, 1_000_000])
    assert imgrs.open(tmp_path / "a.zarr").crop((0, 0, 50, 50)).compute().shape == (50, 50, 3)
    changed(tmp_path / "a.zarr", "zarr.json", "chunk_grid", "configuration", "chunk_shape", value=[3, 1, 1])
    with pytest.raises(LimitError, match="65,536 so small"):
        imgrs.open(tmp_path / "a.zarr")
    changed(tmp_path / "a.zarr", "zarr.json", "chunk_grid", "configuration", "chunk_shape", value=[3, 100_000, 100_000])
    with pytest.raises(LimitError, match="max-decode-bytes"):
        imgrs.open(tmp_path / "a.zarr")
    changed(tmp_path / "a.zarr", "zarr.json", "shape", value=[3, 1 << 40, 1 << 40])
    with pytest.raises(CorruptImageError, match="shape"):
        imgrs.open(tmp_path / "a.zarr")


def test_names_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    good(tmp_path / "b.zarr", "v3 zstd")
    ome_zarr(tmp_path / "a.zarr", [noise((20, 20))], "yx")
    for path in ("../b.zarr", "/etc", "0/../../b.zarr"):
        place = ("attributes", "ome", "multiscales", 0, "datasets", 0, "path")
        changed(tmp_path / "a.zarr", "zarr.json", *place, value=path)
        with pytest.raises(CorruptImageError, match="outside the folder"):
            imgrs.open(tmp_path / "a.zarr")


@pytest.mark.parametrize("place", ["filters", "compressor"])
def test_codecs_that_run_code_are_refused(place: str, tmp_path: Path) -> None:
    good(tmp_path / "a.zarr", "v2 zlib")
    codec = {"id": "pickle", "protocol": 5}
    changed(tmp_path / "a.zarr", ".zarray", place, value=[codec] if place == "filters" else codec)
    with pytest.raises(UnsupportedFormatError, match="codec pickle is not supported"):
        imgrs.open(tmp_path / "a.zarr")


BOMB = 1 << 26


def bomb(codec: str) -> bytes:
    """A few kilobytes or less that become 64 MiB, and say so or not."""
    if codec == "zstd":  # a frame that does not tell its size, of blocks that repeat a byte
        blocks = [struct.pack("<I", (1 << 17) << 3 | 1 << 1)[:3] + b"\0"] * (BOMB >> 17)
        blocks[-1] = struct.pack("<I", (1 << 17) << 3 | 1 << 1 | 1)[:3] + b"\0"
        return b"\x28\xb5\x2f\xfd\0\x58" + b"".join(blocks)
    if codec == "blosc":
        return bytes(numcodecs.Blosc().encode(bytes(BOMB)))
    if codec == "lz4":
        return bytes(numcodecs.LZ4().encode(bytes(BOMB)))
    if codec == "gzip":  # a first member that is small, and a second one that is not
        return gzip.compress(b"a") + gzip.compress(bytes(BOMB))
    return zlib.compress(bytes(BOMB)) if codec == "zlib" else bz2.compress(bytes(BOMB))


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_chunks_that_are_bombs_are_refused(codec: str, tmp_path: Path, monkeypatch: Any) -> None:
    data = bomb(codec)
    assert inflated(codec, data, BOMB * 2) == pytest.approx(BOMB, rel=1e-3)
    good(tmp_path / "a.zarr", f"v2 {codec}" if codec != "gzip" else "v3 gzip")
    (tmp_path / "a.zarr" / ("c/0/0/0" if codec == "gzip" else "0.0.0")).write_bytes(data)
    decoders = numcodecs.registry.get_codec({"id": codec}).__class__
    monkeypatch.setattr(decoders, "decode", lambda self, data, out=None: pytest.fail("the bomb was decoded"))
    with pytest.raises(CorruptImageError, match="decompresses to"):
        imgrs.open(tmp_path / "a.zarr").crop((0, 0, 10, 10)).compute()


def test_bombs_in_shards_are_refused(tmp_path: Path) -> None:
    good(tmp_path / "a.zarr", "shards")
    path = tmp_path / "a.zarr/c/0/0/0"
    data, size = bomb("zstd"), path.stat().st_size
    content = bytearray(path.read_bytes())
    index = np.frombuffer(content[-4 * 16 - 4 : -4], "<u8").copy()
    index[:2] = 0, len(data)
    assert len(data) < size
    content[: len(data)] = data
    checked = index.tobytes() + struct.pack("<I", google_crc32c.value(index.tobytes()))
    path.write_bytes(bytes(content[: -4 * 16 - 4]) + checked)
    for part in (imgrs.open(tmp_path / "a.zarr").crop((0, 0, 10, 10)), imgrs.open(tmp_path / "a.zarr")):
        with pytest.raises(CorruptImageError, match=r"c/0/0/0: a chunk.*decompresses to"):
            part.compute()


@pytest.mark.parametrize("codec", sorted(CODECS))
@pytest.mark.parametrize("size", [0, 1, 1_000, 300_000])
def test_sizes_are_told_without_decompressing(codec: str, size: int) -> None:
    data = np.random.default_rng(0).integers(0, 50, size, np.uint8).tobytes()
    options = {"clevel": 5} if codec == "blosc" else {}
    if size:
        encoded = bytes(numcodecs.get_codec({"id": codec, **options}).encode(data))
        assert inflated(codec, encoded, 1 << 30) == size
        assert (inflated(codec, encoded[:3], 1 << 30) or 0) < 10
