"""The main job, as a demonstration: a 100-megapixel TIFF through two pipelines of the performance guide."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

import imgrs
from imgrs.image import Image

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
"""Photographs that scikit-image carries in its package."""


def grade(img: Image) -> Image:
    """The guide's complex chain at full size and in color."""
    filtered = img.blur(2.0).sharpen(1.5).brightness(20).contrast(1.3).saturate(1.2)
    return filtered.sepia(0.3).hue_rotate(15).invert(0.1).brightness(-10).contrast(0.9).blur(0.5)


def heavy_processing(img: Image) -> Image:
    """The guide's ``heavy_processing``."""
    return img.resize((1920, 1080)).blur(3.0).sharpen(2.0).brightness(30).contrast(1.3)


def photograph(side: int) -> Image:
    """A square image of ``side`` pixels, tiled from bundled photographs and lit unevenly so that no two tiles are alike."""
    import dask.array
    import skimage.data

    photographs = [np.asarray(getattr(skimage.data, name)())[:300, :400] for name in PHOTOGRAPHS]
    mosaic = np.concatenate([np.concatenate(photographs[:2], axis=1), np.concatenate(photographs[2:], axis=1)])
    height, width = mosaic.shape[:2]

    def block(block_info: Any = None) -> np.ndarray[Any, Any]:
        (top, bottom), (left, right), _ = block_info[None]["array-location"]
        rows, columns = np.arange(top, bottom), np.arange(left, right)
        light = 0.6 + 0.4 * np.sin(rows[:, None] / 1700.0) * np.cos(columns / 1300.0)
        part = mosaic[rows[:, None] % height, columns % width]
        lit: np.ndarray[Any, Any] = part * light.astype(np.float32)[..., None]
        return lit.astype(np.uint8)

    sizes = tuple(min(1024, side - start) for start in range(0, side, 1024))
    return imgrs.from_dask(dask.array.map_blocks(block, chunks=(sizes, sizes, (3,)), dtype=np.uint8))


def run(side: int, folder: Path) -> None:
    """Make the image, run both pipelines, and print plans, seconds, megapixels per second and peak memory."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "photograph.tif"
    _timed(f"make {source}", side * side, lambda: photograph(side).save(source))
    img = imgrs.open(source)
    for pipeline in (grade, heavy_processing):
        result = pipeline(img)
        target = folder / f"{pipeline.__name__}.tif"
        print(f"\n{pipeline.__name__}\n\n{result.explain(sink='tiff')}\n")
        _timed(f"save {target}", side * side, lambda result=result, target=target: result.save(target))
    preview = folder / "preview.png"
    _timed(f"save {preview}", side * side, lambda: _preview(folder / "grade.tif", preview))
    print(f"\npeak memory {_peak_mib():.0f} MiB, Python and libraries included")


def _preview(source: Path, target: Path) -> None:
    imgrs.open(source).thumbnail((800, 800)).save(target)


def _timed(label: str, pixels: int, work: Any) -> None:
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    print(f"{label}: {seconds:.2f} s, {pixels / 1e6 / seconds:.0f} megapixels/s")


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
