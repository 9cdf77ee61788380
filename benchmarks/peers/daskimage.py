"""dask-image, with dask.array where it has no function: filters in chunks of 2,048, on the threaded scheduler.

It has no resize; its rotation is SciPy's spline, which is not computed in chunks. It writes no files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.job import Job
from benchmarks.peers import arrays
from benchmarks.steps import Step, mask

SETTINGS = "chunks of 2,048, threads = cores"
CHUNK = 2048


def cannot(job: Job) -> str:
    if job.kind != "memory":
        return "writes no files"
    return "no resize, no turn" if any(step[0] in ("resize", "rotate") for step in job.chain) else ""


def prepare(settings: Mapping[str, Any]) -> None:
    import dask.array
    import dask_image.ndfilters  # noqa: F401  # so that it is loaded before the clock starts

    dask.config.set(scheduler="threads", num_workers=settings["threads"])


def versions() -> dict[str, str]:
    from importlib.metadata import version

    return {"dask-image": version("dask-image"), "dask": version("dask")}


def in_memory(array: Any, chain: Sequence[Step], settings: Mapping[str, Any]) -> Any:
    import dask.array

    return arrays.applied(dask.array.from_array(array, chunks=(CHUNK, CHUNK, -1), name=False), chain, STEPS).compute()


def _tone(array: Any, run: Sequence[Step]) -> Any:
    return array.map_blocks(lambda block: arrays.tone(block, run), dtype=array.dtype)


def _color(array: Any, steps: Sequence[Step]) -> Any:
    return array.map_blocks(lambda block: arrays.color(block, steps), dtype=array.dtype)


def _rounded(array: Any, dtype: Any) -> Any:
    return array.map_blocks(lambda block: arrays.rounded(block, dtype), dtype=dtype)


def _blur(array: Any, steps: Sequence[Step]) -> Any:
    import dask_image.ndfilters

    sigma = steps[0][1]
    made = dask_image.ndfilters.gaussian_filter(array.astype("float32"), (sigma, sigma, 0), mode="nearest")
    return _rounded(made, array.dtype)


def _mask(array: Any, steps: Sequence[Step]) -> Any:
    import dask_image.ndfilters
    import numpy as np

    rows, scale = mask(steps[0])
    kernel = (np.array(rows, np.float32) / np.float32(scale))[..., None]
    return _rounded(dask_image.ndfilters.correlate(array.astype("float32"), kernel, mode="nearest"), array.dtype)


STEPS: dict[str, arrays.StepFunction] = {
    "tone": _tone,
    "blur": _blur,
    "crop": arrays.crop,
    **dict.fromkeys(("saturate", "sepia", "hue_rotate"), _color),
    **dict.fromkeys(("sharpen", "convolve"), _mask),
}
