"""libvips by pyvips: tables and matrices by hand, sequential reads, as many threads as cores, no operation cache.

Its Gaussian at equal accuracy is its integer convolution with a mask of ours in 256ths (1,024ths when wide): off by up to
1.6 of 255, at the speed of its own, whose masks are in 20ths and off by up to 21 (default cut) or 3 (the best cut). The
form ``float`` is within 1 (``gaussblur(precision="float", min_ampl=0.01)``). Lanczos is without the box pre-shrink that
``resize`` has by default. It has no Lanczos to enlarge: bicubic stands for it. ``defaults`` is what ``gaussblur(sigma)``
and ``resize(scale)`` do unasked.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.job import Job
from benchmarks.steps import Step, affine, matrix, runs, table, whole_mask

SETTINGS = "VIPS_CONCURRENCY = cores, no cache, access=sequential where the job allows it"
TYPES = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}
ANYWHERE = ("rotate",)
"""Steps that read their input in no order."""


def cannot(job: Job) -> str:
    return ""


def prepare(settings: Mapping[str, Any]) -> None:
    os.environ["VIPS_CONCURRENCY"] = str(settings["threads"])
    import pyvips

    pyvips.cache_set_max(0)


def versions() -> dict[str, str]:
    import pyvips

    return {"libvips": ".".join(str(pyvips.version(i)) for i in range(3)), "pyvips": pyvips.__version__}


def in_memory(array: Any, chain: Sequence[Step], settings: Mapping[str, Any]) -> Any:
    import pyvips

    return _applied(pyvips.Image.new_from_array(array), chain, settings).numpy()


def from_file(source: str, chain: Sequence[Step], settings: Mapping[str, Any]) -> Any:
    return _opened(source, chain, settings, "random").numpy()


def to_file(
    source: str, chain: Sequence[Step], target: str, options: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    access = "random" if any(name in ANYWHERE for name, *_ in chain) else "sequential"
    image = _opened(source, chain, settings, access)
    if target.endswith(".jpg"):
        image.jpegsave(target, Q=options["quality"], subsample_mode="on")
    elif target.endswith(".png"):
        image.pngsave(target, compression=options["level"], filter="sub")
    elif options["compression"] == "none":
        image.tiffsave(target)
    else:
        image.tiffsave(
            target, compression="deflate", level=options["level"], predictor="horizontal",
            tile=True, tile_width=options["tile"], tile_height=options["tile"],
            bigtiff=image.width * image.height * image.bands > 1 << 31,
        )  # fmt: skip


def _opened(source: str, chain: Sequence[Step], settings: Mapping[str, Any], access: str) -> Any:
    import pyvips

    name, *args = chain[0]
    if name == "thumbnail":
        width, height = args[0]
        return _applied(pyvips.Image.thumbnail(source, width, height=height), chain[1:], settings)
    if name == "resize" and settings.get("shrink"):
        width, height = args[0]
        made = pyvips.Image.thumbnail(source, width, height=height, size="force")
        return _applied(made, chain[1:], settings)
    return _applied(pyvips.Image.new_from_file(source, access=access), chain, settings)


def _applied(image: Any, chain: Sequence[Step], settings: Mapping[str, Any]) -> Any:
    for name, steps in runs(chain):
        image = STEPS[name](image, steps, settings)
    return image


def _dtype(image: Any) -> str:
    return {kind: name for name, kind in TYPES.items()}[image.format]


def _tone(image: Any, run: Sequence[Step], settings: Mapping[str, Any]) -> Any:
    import pyvips

    dtype = _dtype(image)
    if dtype == "float32":
        return image.linear(*affine(run)).cast("float")
    return image.maplut(pyvips.Image.new_from_array(table(run, dtype)[None, :]))


def _matrix(image: Any, steps: Sequence[Step], settings: Mapping[str, Any]) -> Any:
    import pyvips

    return _rounded(image.recomb(pyvips.Image.new_from_array(matrix(steps[0]))), image.format)


def _rounded(image: Any, kind: str) -> Any:
    """Back to the format before: integers half up, and clipped by the cast."""
    if image.format == kind:
        return image
    return image.cast(kind) if kind == "float" else (image + 0.5).cast(kind)


def _blur(image: Any, steps: Sequence[Step], settings: Mapping[str, Any]) -> Any:
    import pyvips

    ((_, sigma),) = steps
    if settings.get("defaults"):
        return _rounded(image.gaussblur(sigma), image.format)
    if settings.get("float") or image.format != "uchar":
        return _rounded(image.gaussblur(sigma, min_ampl=0.01, precision="float"), image.format)
    weights = _whole_gaussian(sigma)
    return image.convsep(pyvips.Image.new_from_array([weights], scale=float(sum(weights))), precision="integer")


def _whole_gaussian(sigma: float) -> list[int]:
    total = 256 if sigma < 8 else 1024
    reach = math.ceil(3 * sigma)
    curve = [math.exp(-x * x / (2 * sigma * sigma)) for x in range(-reach, reach + 1)]
    weights = [round(v * total / sum(curve)) for v in curve]
    weights[reach] += total - sum(weights)
    return [w for w in weights if w]


def _mask(image: Any, steps: Sequence[Step], settings: Mapping[str, Any]) -> Any:
    import pyvips

    rows, scale = whole_mask(steps[0])
    precision = "float" if image.format == "float" else "integer"
    made = image.conv(pyvips.Image.new_from_array(rows, scale=float(scale)), precision=precision)
    return _rounded(made, image.format)


def _resize(image: Any, steps: Sequence[Step], settings: Mapping[str, Any]) -> Any:
    import pyvips

    (_, (width, height), kernel) = steps[0]
    across, down = width / image.width, height / image.height
    kernel = {"lanczos": "lanczos3", "bilinear": "linear"}[kernel]
    kind = image.format
    if across > 1 or down > 1:
        bicubic = pyvips.Interpolate.new("bicubic")
        shift = {"odx": (across - 1) / 2, "ody": (down - 1) / 2}
        made = image.affine(
            (across, 0, 0, down), interpolate=bicubic, oarea=[0, 0, width, height], extend="copy", **shift
        )
    elif settings.get("defaults"):
        made = image.resize(across, vscale=down, kernel=kernel)
    else:
        made = image.reduce(1 / across, 1 / down, kernel=kernel)
    return _rounded(made, kind)


def _rotate(image: Any, steps: Sequence[Step], settings: Mapping[str, Any]) -> Any:
    import pyvips

    ((_, degrees),) = steps
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = image.width / 2 - 0.5, image.height / 2 - 0.5
    made = image.affine(
        (c, s, -s, c), interpolate=pyvips.Interpolate.new("bicubic"), oarea=[0, 0, image.width, image.height],
        odx=x - (c * x + s * y), ody=y - (c * y - s * x), background=[0] * image.bands,
    )  # fmt: skip
    return _rounded(made, image.format)


def _crop(image: Any, steps: Sequence[Step], settings: Mapping[str, Any]) -> Any:
    ((_, (left, top, right, bottom)),) = steps
    return image.crop(left, top, right - left, bottom - top)


STEPS = {
    "tone": _tone,
    "blur": _blur,
    "resize": _resize,
    "rotate": _rotate,
    "crop": _crop,
    **dict.fromkeys(("saturate", "sepia", "hue_rotate"), _matrix),
    **dict.fromkeys(("sharpen", "convolve"), _mask),
}
