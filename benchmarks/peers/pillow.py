"""Pillow: tables by ``point``, matrices by ``convert``, small filters by ``ImageFilter.Kernel``. It has one thread.

It holds RGB at 8 bits only. Its ``GaussianBlur`` is three box passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.job import Job
from benchmarks.steps import Step, mask, matrix, runs, table

SETTINGS = "one thread; draft mode for thumbnails of JPEG"


def cannot(job: Job) -> str:
    return "" if job.dtype == "uint8" else "no RGB of more than 8 bits"


def prepare(settings: Mapping[str, Any]) -> None:
    import PIL.Image
    import PIL.ImageFilter

    PIL.Image.MAX_IMAGE_PIXELS = None


def versions() -> dict[str, str]:
    import PIL

    return {"Pillow": PIL.__version__}


def in_memory(array: Any, chain: Sequence[Step], settings: Mapping[str, Any]) -> Any:
    import numpy as np
    import PIL.Image

    return np.array(_applied(PIL.Image.fromarray(array), chain))


def from_file(source: str, chain: Sequence[Step], settings: Mapping[str, Any]) -> Any:
    import numpy as np
    import PIL.Image

    with PIL.Image.open(source) as image:
        return np.array(_applied(image, chain))


def to_file(
    source: str, chain: Sequence[Step], target: str, options: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    import PIL.Image

    with PIL.Image.open(source) as image:
        made = _applied(image, chain)
    if target.endswith(".jpg"):
        made.save(target, quality=options["quality"])
    elif target.endswith(".png"):
        made.save(target, compress_level=options["level"])
    elif options["compression"] == "none":
        made.save(target)
    else:
        made.save(target, compression="tiff_adobe_deflate", tiffinfo={317: 2})


def _applied(image: Any, chain: Sequence[Step]) -> Any:
    for name, steps in runs(chain):
        image = STEPS[name](image, steps)
    return image


def _tone(image: Any, run: Sequence[Step]) -> Any:
    return image.point(table(run, "uint8").tolist() * len(image.getbands()))


def _matrix(image: Any, steps: Sequence[Step]) -> Any:
    return image.convert("RGB", [v for row in matrix(steps[0]) for v in (*row, 0.0)])


def _blur(image: Any, steps: Sequence[Step]) -> Any:
    import PIL.ImageFilter

    return image.filter(PIL.ImageFilter.GaussianBlur(steps[0][1]))


def _mask(image: Any, steps: Sequence[Step]) -> Any:
    import PIL.ImageFilter

    rows, scale = mask(steps[0])
    return image.filter(PIL.ImageFilter.Kernel((3, 3), [v for row in rows for v in row], scale))


def _resize(image: Any, steps: Sequence[Step]) -> Any:
    import PIL.Image

    _, size, kernel = steps[0]
    return image.resize(tuple(size), PIL.Image.Resampling[kernel.upper()])


def _rotate(image: Any, steps: Sequence[Step]) -> Any:
    import PIL.Image

    return image.rotate(steps[0][1], PIL.Image.Resampling.BICUBIC)


def _thumbnail(image: Any, steps: Sequence[Step]) -> Any:
    image.thumbnail(tuple(steps[0][1]))
    return image


STEPS = {
    "tone": _tone,
    "blur": _blur,
    "resize": _resize,
    "rotate": _rotate,
    "thumbnail": _thumbnail,
    "crop": lambda image, steps: image.crop(tuple(steps[0][1])),
    **dict.fromkeys(("saturate", "sepia", "hue_rotate"), _matrix),
    **dict.fromkeys(("sharpen", "convolve"), _mask),
}
