"""The images that are worked on: photographs with noise, as cameras give them, made once into a folder.

Noise is what makes them fair: flat areas compress to nothing and hide rounding.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.job import Job

NOISE = 4.0
"""Standard deviation of the noise, in 255ths."""
BLOCK = 1024


def folder() -> Path:
    """Where images stay between runs, outside the repository."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "imgrs-benchmarks"


def path(where: Path, kind: str, width: int, height: int, dtype: str = "uint8", tile: int = 512) -> Path:
    """The name of an image: ``kind`` is ``npy``, ``tif``, ``plain.tif``, ``jpg`` or ``png``."""
    depth = "" if dtype == "uint8" else f"-{dtype}"
    tiled = "" if tile == 512 else f"-tiles-of-{tile}"
    return where / f"{width}x{height}{depth}{tiled}.{kind}"


def made(
    where: Path, kind: str, width: int, height: int, dtype: str = "uint8", tile: int = 512, count: int = 1
) -> Path:
    """The image, made in a process of its own if it is not there; with ``count``, a folder of so many copies."""
    one = path(where, kind, width, height, dtype, tile)
    if not one.exists():
        where.mkdir(parents=True, exist_ok=True)
        arguments = [str(where), kind, str(width), str(height), dtype, str(tile)]
        root = Path(__file__).resolve().parents[1]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        subprocess.run([sys.executable, "-m", "benchmarks.images", *arguments], check=True, env=environment)
    return one if count == 1 else _copies(one, count)


def _copies(one: Path, count: int) -> Path:
    many = one.with_name(f"{one.stem}-{one.suffix[1:]}-many")
    many.mkdir(exist_ok=True)
    for i in range(count):
        copy = many / f"{i:03}{one.suffix}"
        if not copy.exists():
            shutil.copy(one, copy)
    return many


def source(where: Path, job: Job, kind: str, tile: int) -> Path:
    """What a job reads."""
    return made(where, kind, job.width, job.height, job.dtype, tile, job.count if job.kind == "batch" else 1)


def photograph(width: int, height: int, dtype: str = "uint8") -> Any:
    """A lazy image of bundled photographs side by side, lit unevenly, with noise; the same for the same size."""
    import dask.array
    import numpy as np
    import skimage.data

    import imgrs
    from imgrs.demo import PHOTOGRAPHS

    parts = [np.asarray(getattr(skimage.data, name)())[:300, :400] for name in PHOTOGRAPHS]
    mosaic = np.concatenate([np.concatenate(parts[:2], axis=1), np.concatenate(parts[2:], axis=1)])
    full = {"uint8": 255, "uint16": 65_535, "float32": 1.0}[dtype]

    def block(block_info: Any = None) -> Any:
        (top, bottom), (left, right), _ = block_info[None]["array-location"]
        rows, columns = np.arange(top, bottom), np.arange(left, right)
        light = 0.6 + 0.4 * np.sin(rows[:, None] / 1700.0) * np.cos(columns / 1300.0)
        clean = mosaic[rows[:, None] % len(mosaic), columns % mosaic.shape[1]] * light.astype(np.float32)[..., None]
        noise = np.random.default_rng((top, left)).standard_normal(clean.shape, np.float32) * np.float32(NOISE)
        values = np.clip((clean + noise) * np.float32(full / 255), 0, full)
        return values if dtype == "float32" else (values + 0.5).astype(dtype)

    chunks = tuple(tuple(min(BLOCK, side - start) for start in range(0, side, BLOCK)) for side in (height, width))
    return imgrs.from_dask(dask.array.map_blocks(block, chunks=(*chunks, (3,)), dtype=dtype))


def _make(where: Path, kind: str, width: int, height: int, dtype: str, tile: int) -> None:
    """Write one; JPEG and PNG by libvips, whose files have no restart markers or strips of ours to go by."""
    goal = path(where, kind, width, height, dtype, tile)
    if kind in ("jpg", "png"):
        import pyvips

        pyvips.cache_set_max(0)
        lossless = made(where, "tif", width, height)
        options = {"jpg": {"Q": 90}, "png": {"compression": 1, "filter": "all"}}[kind]
        image = pyvips.Image.new_from_file(str(lossless), access="sequential")
        part = goal.with_name(f"making-{goal.name}")
        image.write_to_file(str(part), **options)
        part.rename(goal)
        return
    options = {"npy": {}, "tif": {"level": 1, "tile": tile}, "plain.tif": {"compression": "none", "tile": tile}}[kind]
    photograph(width, height, dtype).save(goal, **options)


if __name__ == "__main__":
    _where, _kind, _width, _height, _dtype, _tile = sys.argv[1:]
    _make(Path(_where), _kind, int(_width), int(_height), _dtype, int(_tile))
