"""Writing Zarr beside zarr-python: seconds and megabytes for one image, in shards of several sizes; nothing is asserted.

    python -m benchmarks shards [--side 10000] [--runs 3]

Ways take turns, and the median is shown; a save by imgrs waits for the disk, the others do not. zarr-python is given the
same chunks, codecs and checksums: once the whole array in one call, and once shard by shard from two threads.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

import imgrs
from imgrs.demo import photograph

CODECS = [ZstdCodec(level=1), Crc32cCodec()]


def by_zarr(pixels: Any, path: Path, tile: int, shard: int) -> None:
    zarr.create_array(
        path, data=np.moveaxis(pixels, 2, 0), chunks=(3, tile, tile), shards=(3, shard, shard), compressors=CODECS
    )


def by_zarr_in_threads(pixels: Any, path: Path, tile: int, shard: int) -> None:
    height, width = pixels.shape[:2]
    shape, chunks, shards = (3, height, width), (3, tile, tile), (3, shard, shard)
    array = zarr.create_array(path, shape=shape, dtype="uint8", chunks=chunks, shards=shards, compressors=CODECS)

    def write(place: tuple[int, int]) -> None:
        top, left = place
        array[:, top : top + shard, left : left + shard] = np.moveaxis(
            pixels[top : top + shard, left : left + shard], 2, 0
        )

    places = [(top, left) for top in range(0, height, shard) for left in range(0, width, shard)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, places))


def by_imgrs(pixels: Any, path: Path, tile: int, shard: int) -> None:
    imgrs.fromarray(pixels).save(path, tile=tile, shard=shard, workers=2)


WAYS: dict[str, Callable[[Any, Path, int, int], None]] = {
    "imgrs": by_imgrs,
    "zarr-python, in two threads": by_zarr_in_threads,
    "zarr-python, in one call": by_zarr,
}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks shards", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--side", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args(arguments)
    pixels = photograph(given.side).compute()
    print("| shard | chunk | way | seconds | seconds of processors | MB |\n|---|---|---|---|---|---|")
    for shard, tile in ((1024, 512), (2048, 256), (2048, 512), (2048, 1024), (4096, 512)):
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
        size = {}
        for _ in range(given.runs):
            for name, way in WAYS.items():
                with tempfile.TemporaryDirectory() as folder:
                    start, busy = time.perf_counter(), time.process_time()
                    way(pixels, Path(folder, "a.zarr"), tile, shard)
                    seconds[name].append((time.perf_counter() - start, time.process_time() - busy))
                    size[name] = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        for name, taken in seconds.items():
            median = [statistics.median(column) for column in zip(*taken, strict=True)]
            print(f"| {shard} | {tile} | {name} | {median[0]:.2f} | {median[1]:.2f} | {size[name] / 1e6:.0f} |")
