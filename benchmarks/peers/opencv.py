"""OpenCV: tables by ``LUT``, matrices by ``transform``, filters by ``filter2D`` and ``sepFilter2D``; threads = cores.

It has no antialiased resize with a Lanczos or triangle filter. Its cubic has a = -0.75 where ours has -0.5. Files come as
BGR and stay so: matrices are turned instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.job import Job
from benchmarks.peers import arrays
from benchmarks.steps import Step, affine, mask, matrix, table

SETTINGS = "setNumThreads(cores)"


def cannot(job: Job) -> str:
    return "no antialiased Lanczos or triangle" if any(step[0] == "resize" for step in job.chain) else ""


def prepare(settings: Mapping[str, Any]) -> None:
    import os

    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(1 << 40)
    import cv2

    cv2.setNumThreads(settings["threads"])


def versions() -> dict[str, str]:
    import cv2

    return {"OpenCV": cv2.__version__}


def in_memory(array: Any, chain: Sequence[Step], settings: Mapping[str, Any]) -> Any:
    return arrays.applied(array, chain, STEPS)


def from_file(source: str, chain: Sequence[Step], settings: Mapping[str, Any]) -> Any:
    import cv2

    return cv2.cvtColor(_made(source, chain), cv2.COLOR_BGR2RGB)


def to_file(
    source: str, chain: Sequence[Step], target: str, options: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    import cv2

    if target.endswith(".jpg"):
        values = [cv2.IMWRITE_JPEG_QUALITY, options["quality"]]
    elif target.endswith(".png"):
        values = [cv2.IMWRITE_PNG_COMPRESSION, options["level"]]
    elif options["compression"] == "none":
        values = [cv2.IMWRITE_TIFF_COMPRESSION, 1]
    else:
        values = [cv2.IMWRITE_TIFF_COMPRESSION, 8, cv2.IMWRITE_TIFF_PREDICTOR, 2]
    if not cv2.imwrite(target, _made(source, chain), values):
        raise SystemExit(f"benchmarks: OpenCV did not write {target}")


def _made(source: str, chain: Sequence[Step]) -> Any:
    """The chain on a file, in BGR."""
    import cv2

    if chain[0][0] == "thumbnail":
        small = cv2.imread(source, cv2.IMREAD_REDUCED_COLOR_8)
        size = chain[0][1]
        scale = min(size[0] / small.shape[1], size[1] / small.shape[0])
        if scale > 1:
            small = cv2.imread(source, cv2.IMREAD_COLOR)
            scale = min(size[0] / small.shape[1], size[1] / small.shape[0])
        to = tuple(max(1, round(side * scale)) for side in small.shape[1::-1])
        return cv2.resize(small, to, interpolation=cv2.INTER_AREA)
    return arrays.applied(cv2.imread(source, cv2.IMREAD_UNCHANGED), chain, {**STEPS, **dict.fromkeys(COLORS, _bgr)})


def _tone(array: Any, run: Sequence[Step]) -> Any:
    import cv2

    if array.dtype.kind == "f":
        scale, offset = affine(run)
        return cv2.addWeighted(array, scale, array, 0.0, offset)
    return cv2.LUT(array, table(run, array.dtype.name).reshape(1, -1))


def _matrix(array: Any, steps: Sequence[Step]) -> Any:
    import cv2
    import numpy as np

    return cv2.transform(array, np.array(matrix(steps[0]), np.float32))


def _bgr(array: Any, steps: Sequence[Step]) -> Any:
    import cv2
    import numpy as np

    return cv2.transform(array, np.ascontiguousarray(np.array(matrix(steps[0]), np.float32)[::-1, ::-1]))


def _blur(array: Any, steps: Sequence[Step]) -> Any:
    import cv2

    sigma = steps[0][1]
    taps = cv2.getGaussianKernel(2 * math.ceil(4 * sigma) + 1, sigma)
    return cv2.sepFilter2D(array, -1, taps, taps, borderType=cv2.BORDER_REPLICATE)


def _mask(array: Any, steps: Sequence[Step]) -> Any:
    import cv2
    import numpy as np

    rows, scale = mask(steps[0])
    return cv2.filter2D(array, -1, np.array(rows, np.float32) / np.float32(scale), borderType=cv2.BORDER_REPLICATE)


def _rotate(array: Any, steps: Sequence[Step]) -> Any:
    import cv2

    height, width = array.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), steps[0][1], 1.0)
    return cv2.warpAffine(array, turn, (width, height), flags=cv2.INTER_CUBIC)


COLORS = ("saturate", "sepia", "hue_rotate")
STEPS: dict[str, arrays.StepFunction] = {
    "tone": _tone,
    "blur": _blur,
    "rotate": _rotate,
    "crop": arrays.crop,
    **dict.fromkeys(COLORS, _matrix),
    **dict.fromkeys(("sharpen", "convolve"), _mask),
}
