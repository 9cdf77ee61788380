"""Several results from one run: what they share is made once, and each part of a file is decoded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy.typing as npt

from imgrs import config
from imgrs.errors import ArgumentError, ArgumentTypeError
from imgrs.image import Image

if TYPE_CHECKING:
    from imgrs.run.save import Output

Saved: TypeAlias = "Image | tuple[Image, Mapping[str, Any]]"
"""An image, or an image and what it has of the options of its format that others have not."""
RESUME = "save_all: resume is for one image: use Image.save(..., resume=True) for each"


def compute_all(*images: Image, **options: Any) -> list[npt.NDArray[Any]]:
    """The pixels of several images from one run: ``small, edges = compute_all(img.resize((800, 600)), img.edge_detect())``.

    Each array is what ``compute`` gives. What the images share is made once, and each part of a file is decoded once.
    Keywords are those of ``imgrs.options``. Raises what ``Image.compute`` raises.

    >>> import imgrs
    >>> img = imgrs.new("L", (64, 48), 7).blur(2)
    >>> mean, half = imgrs.compute_all(img.mean(), img.resize((32, 24)))
    >>> mean.tolist(), half.shape
    ([7.0], (24, 32))
    """
    from imgrs.run.engine import compute

    for image in images:
        if not isinstance(image, Image):
            raise ArgumentTypeError(f"compute_all: needs imgrs images, got {type(image).__name__}")
    if not images:
        return []
    arrays = compute([image._node for image in images], config.settings(**options))
    return [pixels.reshape(image.shape) for pixels, image in zip(arrays, images, strict=True)]


def save_all(
    targets: Mapping[str | PathLike[str], Saved], *, statistics: Sequence[Image] = (), **options: Any
) -> list[npt.NDArray[Any]]:
    """Save several images in one run: ``save_all({"web.avif": a, "thumb.jpg": (b, {"quality": 80}), "full.tif": c})``.

    ``targets`` maps a path or URL to an image, or to an image and the options of its format (``"format"`` itself among
    them). Keywords are the engine's, as in ``imgrs.options``, and the formats', as in ``Image.save``, for all targets; what
    stands beside an image goes before them. The arrays of ``statistics`` (``img.mean()``, ``img.histogram()``, any image)
    are made on the way and returned in order. Every file appears when all are whole.

    Raises what ``Image.save`` raises, and ``ArgumentError`` where two targets are the same file.

    >>> import imgrs, os, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> img = imgrs.new("L", (40, 30), 7)
    >>> small = img.resize((20, 15))
    >>> targets = {f"{folder}/full.tif": img, f"{folder}/small.jpg": (small, {"quality": 80})}
    >>> (mean,) = imgrs.save_all(targets, statistics=[img.mean()])
    >>> sorted(os.listdir(folder)), mean.tolist()
    (['full.tif', 'small.jpg'], [7.0])
    """
    from imgrs.run.save import save

    engine, shared = config.parted(options)
    if not isinstance(targets, Mapping) or not targets:
        raise ArgumentTypeError("save_all: targets must map at least one path to an image")
    outputs = []
    for target, saved in targets.items():
        image, own = image_and_options(saved, f"save_all: {target!r} must be")
        given = {**shared, **own}
        if "resume" in given:
            raise ArgumentError(RESUME)
        outputs.append(image._output(target, given.pop("format", None), given))
    _check_apart(outputs)
    if not all(isinstance(image, Image) for image in statistics):
        raise ArgumentTypeError("save_all: statistics must be imgrs images, such as img.mean()")
    arrays = save(outputs, config.settings(**engine), [image._node for image in statistics])
    return [pixels.reshape(image.shape) for pixels, image in zip(arrays, statistics, strict=True)]


def image_and_options(saved: Any, what: str) -> tuple[Image, Mapping[str, Any]]:
    """The parts of what is to be saved. ``what`` begins the ``ArgumentTypeError`` for anything else: "x must be"."""
    image, own = with_options(saved, f"{what} an image")
    if not isinstance(image, Image):
        raise ArgumentTypeError(f"{what} an imgrs.Image, or one and a dict of options, got {type(image).__name__}")
    return image, own


def with_options(value: Any, what: str) -> tuple[Any, Mapping[str, Any]]:
    """A value that may stand beside options of its own, and those. ``what`` begins an ``ArgumentTypeError``."""
    alone, own = value if isinstance(value, tuple) and len(value) == 2 else (value, {})
    if not isinstance(own, Mapping):
        raise ArgumentTypeError(f"{what} and a dict of options, got a tuple with {type(own).__name__}")
    return alone, own


def _check_apart(outputs: Sequence[Output]) -> None:
    """Raise ``ArgumentError`` where two images would be saved as one file."""
    from imgrs.run.landing import names

    seen: dict[str, Any] = {}
    for output in outputs:
        for name in names(output.target, output.encoder):
            if name in seen:
                raise ArgumentError(f"save_all: {seen[name]!r} and {output.target!r} are the same file, {name}")
            seen[name] = output.target
