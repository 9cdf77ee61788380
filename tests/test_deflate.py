"""Deflating noise by codes alone: zlib reads it, and it is chosen where it is no longer."""

from __future__ import annotations

import heapq
import io
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import tifffile
from isal import isal_zlib

import imgrs
from imgrs.io import deflate

Bytes = npt.NDArray[np.uint8]
LARGE = deflate.LARGE


def noise(size: int, seed: int = 0) -> Bytes:
    """What a predictor leaves of a photograph, about."""
    return np.random.default_rng(seed).laplace(0, 6, size).astype(np.int8).view(np.uint8)


def fibonacci() -> Bytes:
    """Bytes so unlike in number that a code of Huffman's is 22 bits long."""
    counts = [1, 1]
    while len(counts) < 22:
        counts.append(counts[-1] + counts[-2])
    return np.random.default_rng(0).permutation(np.repeat(np.arange(22, dtype=np.uint8), counts))


def inflated(data: bytes) -> bytes:
    reader = zlib.decompressobj(-15)
    content = reader.decompress(data) + reader.flush()
    assert reader.eof
    assert not reader.unused_data
    return content


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 1000, deflate.BLOCK - 1, deflate.BLOCK, deflate.BLOCK + 1, 200_003])
def test_zlib_reads_codes_alone(size: int) -> None:
    rng = np.random.default_rng(size)
    for data in (noise(size), rng.integers(0, 256, size).astype(np.uint8), np.full(size, 255, np.uint8)):
        assert inflated(deflate.coded(data)) == data.tobytes()


def test_a_stream_that_is_not_the_last_ends_on_a_byte_and_another_follows() -> None:
    first, second = noise(70_001), noise(5, seed=1)
    joined = deflate.coded(first, last=False) + deflate.coded(second)
    assert inflated(joined) == first.tobytes() + second.tobytes()


def test_codes_that_would_be_too_long_are_shortened() -> None:
    data = fibonacci()
    assert inflated(deflate.coded(data)) == data.tobytes()


@pytest.mark.parametrize(("symbols", "longest"), [(2, 7), (3, 7), (19, 7), (100, 14), (257, 14)])
def test_code_lengths_are_huffmans_unless_they_are_cut(symbols: int, longest: int) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        counts = np.zeros(symbols, np.int64)
        used = rng.choice(symbols, rng.integers(2, symbols + 1), replace=False)
        counts[used] = np.maximum(1, rng.geometric(0.3, used.size) ** rng.integers(1, 6))
        lengths, codes = np.zeros(symbols, np.int64), np.zeros(symbols, np.int64)
        deflate._choose(counts, symbols, longest, lengths, codes, np.zeros((3, 2 * max(symbols, 15)), np.int64))
        found = lengths[counts > 0]
        assert found.max() <= longest
        assert not lengths[counts == 0].any()
        assert sum(2.0**-found) == 1
        cost, depth = huffman([int(count) for count in counts if count])
        if depth <= longest:
            assert lengths @ counts == cost
        else:
            assert cost <= lengths @ counts <= 1.1 * cost


def huffman(counts: list[int]) -> tuple[int, int]:
    """Bits of the shortest code without a limit, and the depth of its tree (the least of those that are as short)."""
    heap = [(count, 0) for count in counts]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        (one, low), (other, high) = heapq.heappop(heap), heapq.heappop(heap)
        total += one + other
        heapq.heappush(heap, (one + other, 1 + max(low, high)))
    return total, heap[0][1]


def test_noise_becomes_shorter_than_by_looking_for_repetitions() -> None:
    data = noise(1 << 20)
    found = deflate.deflated(data.data, 1, LARGE)
    assert found == deflate.coded(data)
    assert len(found) < len(isal_zlib.compress(data, 3))


@pytest.mark.parametrize("kind", ["text", "drawing", "half"])
def test_repetitions_are_looked_for_where_there_are_some(kind: str) -> None:
    text = np.frombuffer(b"the quick brown fox jumps over the lazy dog. " * 10_000, np.uint8)
    data = {
        "text": text,
        "drawing": np.repeat(noise(4_000), 100),
        "half": np.concatenate([noise(200_000), text[:200_000]]),
    }
    found = deflate.deflated(data[kind].data, 1, LARGE)
    assert inflated(found) == data[kind].tobytes()
    assert len(found) < 0.9 * len(deflate.coded(data[kind]))


def test_bytes_of_a_file_depend_on_its_image_and_not_on_what_a_process_did_before() -> None:
    data = noise(1 << 20)
    before = deflate.deflated(data.data, 1, LARGE - 1)
    deflate.deflated(data.data, 1, LARGE)
    assert deflate.deflated(data.data, 1, LARGE - 1) == before != deflate.deflated(data.data, 1, LARGE)


@pytest.mark.parametrize(("name", "options"), [("PNG", {"compress_level": 2}), ("TIFF", {"level": 1})])
def test_files_of_noise_are_read_by_others(name: str, options: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = (noise(900 * 700 * 3) + np.uint8(128)).reshape(700, 900, 3)
    usual, coded = io.BytesIO(), io.BytesIO()
    imgrs.fromarray(pixels).save(usual, name, **options)
    monkeypatch.setattr(deflate, "LARGE", 0)
    imgrs.fromarray(pixels).save(coded, name, **options)
    assert len(coded.getvalue()) < len(usual.getvalue())
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(coded)), pixels)
    if name == "TIFF":
        np.testing.assert_array_equal(tifffile.imread(io.BytesIO(coded.getvalue())), pixels)
    np.testing.assert_array_equal(imgrs.open(coded).compute(), pixels)


def test_no_more_is_inflated_than_is_asked_for() -> None:
    data = zlib.compress(bytes(100_000))
    assert deflate.inflated(data, 100_000) == bytes(100_000)
    assert deflate.inflated(data, 200_000) == bytes(100_000)
    with pytest.raises(ValueError, match="more than 99,999 bytes"):
        deflate.inflated(data, 99_999)


def test_streams_that_are_cut_or_changed_are_not_inflated() -> None:
    content = noise(50_000).tobytes()
    data = zlib.compress(content)
    for length in (0, 1, 2, 100, len(data) - 4, len(data) - 1):
        with pytest.raises(EOFError):
            deflate.inflated(data[:length], 50_000)
    with pytest.raises(Exception, match="checksum"):
        deflate.inflated(data[:-1] + bytes([data[-1] ^ 1]), 50_000)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_tiles_and_workers_do_not_change_the_bytes_of_a_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deflate, "LARGE", 0)
    monkeypatch.setattr("imgrs.io.png.write.STRIP", 200_000)
    img = imgrs.fromarray((noise(1100 * 700 * 3) // 8 + np.uint8(100)).reshape(700, 1100, 3))
    files = []
    for chunks, workers in (((256, 256), 1), ((1024, 64), 2), ((200, 512), 3)):
        img.save(tmp_path / name, chunks=chunks, workers=workers)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1] == files[2]
