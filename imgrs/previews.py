"""Images at a smaller scale: what ``preview``, ``progressive`` and ``to_multiscale`` give."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imgrs.config import Settings
from imgrs.errors import ArgumentError, ArgumentTypeError
from imgrs.graph.node import Node
from imgrs.image import Image
from imgrs.optimize.reduced import reduced

if TYPE_CHECKING:
    import dask.array


class Preview(Image):
    """A smaller copy of an image, lazy, that says what of it is approximate. After an operation it is an image as any."""

    __slots__ = ("approximate",)

    approximate: tuple[str, ...]
    """The operations that do not mean the same at this scale, such as ``"sharpen() at 1/8 scale"``."""

    def __init__(self, node: Node, approximate: tuple[str, ...] = ()) -> None:
        super().__init__(node)
        self.approximate = approximate

    def explain(self, sink: str | None = None, costs: bool = True, as_json: bool = False, **options: Any) -> str:
        """As ``Image.explain``, and what is approximate."""
        text = super().explain(sink, costs, as_json, **options)
        if as_json:
            return json.dumps({**json.loads(text), "approximate": self.approximate}, indent=2)
        return "\n  ".join((f"{text}\n\napproximate", *self.approximate)) if self.approximate else text

    def copy(self) -> Preview:
        """Another handle on the same node."""
        return Preview(self._node, self.approximate)

    def __reduce__(self) -> tuple[Any, ...]:
        return Preview, (self._node, self.approximate)


@dataclass(frozen=True, eq=False)
class PreviewStep:
    """One step of ``Image.progressive``."""

    pixels: npt.NDArray[Any]
    """As ``compute()`` gives them, of a smaller copy until the last step."""
    scale: float
    """The width and height of the copy, as parts of the image's: above 0, at most 1."""
    exact: bool
    """Whether these are the pixels of ``compute()``: the last step's are."""


def preview(image: Image, max_side: int) -> Preview:
    """What ``Image.preview`` gives."""
    side = _side("preview", "max_side", max_side)
    is_image = image._node.spec.encoding != "statistic"
    return Preview(*reduced(image._node, side / max(image.size) if is_image else 1.0))


def progressive(image: Image, first_side: int, settings: Settings) -> Iterator[PreviewStep]:
    """What ``Image.progressive`` gives."""
    side, longest = _side("progressive", "first_side", first_side), max(image.size)
    sides = list(itertools.takewhile(lambda side: side < longest / 2, (side * 4**i for i in itertools.count())))
    return (_step(copy, image, settings) for copy in (*map(image.preview, sides), image))


def multiscale(image: Image, smallest: int) -> list[dask.array.Array]:
    """What ``Image.to_multiscale`` gives."""
    side = _side("to_multiscale", "smallest", smallest)
    if image._node.spec.encoding == "statistic":
        raise ArgumentError("to_multiscale: needs an image, not a statistic; to_dask() has its numbers")
    scales = itertools.takewhile(lambda scale: 2 * scale * max(image.size) > side, (0.5**k for k in itertools.count(1)))
    return [image.to_dask(), *(Image(reduced(image._node, scale)[0]).to_dask() for scale in scales)]


def _step(image: Image, whole: Image, settings: Settings) -> PreviewStep:
    from imgrs.run.engine import to_array

    return PreviewStep(to_array(image._node, settings), max(image.size) / max(whole.size), image is whole)


def _side(name: str, parameter: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise ArgumentTypeError(f"{name}: {parameter} must be a whole number of pixels, got {value!r}")
    if value < 1:
        raise ArgumentError(f"{name}: {parameter} must be at least 1, got {value!r}")
    return int(value)
