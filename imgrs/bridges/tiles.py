"""The tiles of an image as a sequence, for whoever works through them one by one or in batches: PyTorch's loaders first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from imgrs.errors import ArgumentError
from imgrs.image import Image
from imgrs.ops.geometry import Box, image_size
from imgrs.together import compute_all

EDGES = ("shift", "drop")


class Tiles:
    """Tiles of one size, row by row, each computed when it is asked for: a map-style dataset, as PyTorch calls it.

    ``len(tiles)`` is their number; ``tiles[i]`` is an array of shape (bands, height, width) and of the image's dtype, which
    is what PyTorch's layers take; ``tiles.boxes[i]`` is where it lies, (left, top, right, bottom). It pickles, so that the
    workers of a ``DataLoader`` may be threads or processes, forked or spawned.
    """

    def __init__(self, image: Image, size: Any, stride: Any = None, edge: str = "shift") -> None:
        if image._node.spec.encoding == "statistic":
            raise ArgumentError("tiles: needs an image, not a statistic")
        self.image = image
        self.size = _pair("size", size)
        self.stride = self.size if stride is None else _pair("stride", stride)
        if edge not in EDGES:
            raise ArgumentError(f'tiles: edge must be "shift" or "drop", got {edge!r}')
        self.edge = edge
        if self.size[0] > image.width or self.size[1] > image.height:
            wide, high = self.size
            raise ArgumentError(
                f"tiles: size {wide}x{high} is larger than the {image.width}x{image.height} image; pad() it first"
            )
        columns, rows = (
            _starts(whole, part, step, edge == "shift")
            for whole, part, step in zip(image.size, self.size, self.stride, strict=True)
        )
        self.boxes: tuple[Box, ...] = tuple(
            (left, top, left + self.size[0], top + self.size[1]) for top in rows for left in columns
        )

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        return _bands_first(self.image.crop(self._box(index)).compute())

    def __getitems__(self, indices: Sequence[int]) -> list[npt.NDArray[Any]]:
        """Several tiles from one run, in which what they share is made once; a ``DataLoader`` asks for batches so."""
        distinct = list(dict.fromkeys(map(self._box, indices)))
        made = dict(zip(distinct, compute_all(*map(self.image.crop, distinct)), strict=True))
        return [_bands_first(made[self._box(index)]) for index in indices]

    def _box(self, index: int) -> Box:
        if not -len(self) <= index < len(self):
            raise IndexError(f"tiles: index {index} is out of range for {len(self)} tiles")
        return self.boxes[index]

    def __repr__(self) -> str:
        return f"<{len(self)} tiles of {self.size[0]}x{self.size[1]} of {self.image!r}>"


def _pair(name: str, value: Any) -> tuple[int, int]:
    try:
        return image_size((value, value) if np.ndim(value) == 0 else value)
    except (TypeError, ValueError):
        wanted = "a number of pixels or (width, height), each at least 1"
        raise ArgumentError(f"tiles: {name} must be {wanted}, got {value!r}") from None


def _starts(whole: int, part: int, step: int, to_the_edge: bool) -> list[int]:
    starts = list(range(0, whole - part + 1, step))
    if to_the_edge and starts[-1] + part < whole:
        starts.append(whole - part)
    return starts


def _bands_first(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
