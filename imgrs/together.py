"""Several results from one run: what they share is made once, and each part of a file is decoded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, TypeAlias

import numpy.typing as npt

from imgrs import config
from imgrs.errors import ArgumentError, ArgumentTypeError
from imgrs.image import Image

Saved: TypeAlias = "Image | tuple[Image, Mapping[str, Any]]"


def save_all(
    targets: Mapping[str | PathLike[str], Saved], *, statistics: Sequence[Image] = (), **options: Any
) -> list[npt.NDArray[Any]]:
    """Save several images in one run: ``save_all({"web.avif": a, "thumb.jpg": (b, {"quality": 80}), "full.tif": c})``.

    ``targets`` maps a path or URL to an image, or to an image and the options of its format. The arrays of
    ``statistics`` (``img.mean()``, ``img.histogram()``, any image) are made on the way and returned in order. Keywords
    are the engine's, as in ``imgrs.options``. Every file appears when all are whole.

    Raises what ``Image.save`` raises.
    """
    from imgrs.run.save import save

    if not isinstance(targets, Mapping) or not targets:
        raise ArgumentTypeError("save_all: targets must map at least one path to an image")
    outputs = []
    for target, saved in targets.items():
        image, given = saved if isinstance(saved, tuple) else (saved, {})
        if not isinstance(image, Image):
            raise ArgumentTypeError(f"save_all: {target!r} must be an imgrs.Image, got {type(image).__name__}")
        if "resume" in given:
            raise ArgumentError("save_all: resume belongs to Image.save, which saves one image")
        outputs.append(image._output(target, None, given))
    if not all(isinstance(image, Image) for image in statistics):
        raise ArgumentTypeError("save_all: statistics must be imgrs images, such as img.mean()")
    arrays = save(outputs, config.settings(**options), [image._node for image in statistics])
    return [pixels.reshape(image.shape) for pixels, image in zip(arrays, statistics, strict=True)]
