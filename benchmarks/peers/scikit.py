"""scikit-image, with NumPy and SciPy where it has no function of its own: tables by indexing, matrices by ``@``.

Files are written by imageio and tifffile, as its documentation says. Its ``resize`` has no Lanczos and no triangle filter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.job import Job
from benchmarks.peers import arrays
from benchmarks.steps import Step, mask

SETTINGS = "one thread, but for the matrix product"


def cannot(job: Job) -> str:
    if any(step[0] in ("resize", "thumbnail") for step in job.chain):
        return "no Lanczos, triangle or shrink on load"
    return ""


def prepare(settings: Mapping[str, Any]) -> None:
    import PIL.Image
    import skimage.filters
    import skimage.io
    import skimage.transform  # noqa: F401  # so that it is loaded before the clock starts

    PIL.Image.MAX_IMAGE_PIXELS = None


def versions() -> dict[str, str]:
    import scipy
    import skimage

    return {"scikit-image": skimage.__version__, "SciPy": scipy.__version__}


def in_memory(array: Any, chain: Sequence[Step], settings: Mapping[str, Any]) -> Any:
    return arrays.applied(array, chain, STEPS)


def from_file(source: str, chain: Sequence[Step], settings: Mapping[str, Any]) -> Any:
    import skimage.io

    return arrays.applied(skimage.io.imread(source), chain, STEPS)


def to_file(
    source: str, chain: Sequence[Step], target: str, options: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    import imageio.v3
    import tifffile

    made = from_file(source, chain, settings)
    if target.endswith(".jpg"):
        imageio.v3.imwrite(target, made, quality=options["quality"])
    elif target.endswith(".png"):
        imageio.v3.imwrite(target, made, compress_level=options["level"])
    elif options["compression"] == "none":
        tifffile.imwrite(target, made, photometric="rgb")
    else:
        side = options["tile"]
        tifffile.imwrite(
            target, made, photometric="rgb", compression="zlib", compressionargs={"level": options["level"]},
            predictor=True, tile=(side, side),
        )  # fmt: skip


def _blur(array: Any, steps: Sequence[Step]) -> Any:
    import skimage.filters

    made = skimage.filters.gaussian(array, steps[0][1], mode="nearest", preserve_range=True, channel_axis=-1)
    return arrays.rounded(made, array.dtype)


def _mask(array: Any, steps: Sequence[Step]) -> Any:
    import numpy as np
    import scipy.ndimage

    rows, scale = mask(steps[0])
    kernel = (np.array(rows, np.float32) / np.float32(scale))[..., None]
    made = scipy.ndimage.correlate(array.astype(np.float32, copy=False), kernel, mode="nearest")
    return arrays.rounded(made, array.dtype)


def _rotate(array: Any, steps: Sequence[Step]) -> Any:
    import skimage.transform

    return arrays.rounded(skimage.transform.rotate(array, steps[0][1], order=3, preserve_range=True), array.dtype)


STEPS: dict[str, arrays.StepFunction] = {
    "tone": arrays.tone,
    "blur": _blur,
    "rotate": _rotate,
    "crop": arrays.crop,
    **dict.fromkeys(("saturate", "sepia", "hue_rotate"), arrays.color),
    **dict.fromkeys(("sharpen", "convolve"), _mask),
}
