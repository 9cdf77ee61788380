"""Images as xarray's labeled arrays. Rows and columns are counted, not labeled; bands go by their letters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from imgrs.errors import ArgumentError
from imgrs.image import Image

if TYPE_CHECKING:
    import xarray

LETTERS = ("LA", "RGB", "RGBA", "CMYK")
"""Modes whose letters are the names of their bands."""


def to_xarray(image: Image) -> xarray.DataArray:
    """What ``Image.to_xarray`` gives."""
    import xarray

    return xarray.DataArray(image.to_dask(), coords(image), dims(image), "image", attributes(image))


def dims(image: Image) -> tuple[str, ...]:
    """The names of the axes of an image's array. Raises ``ArgumentError`` for statistics."""
    if image._node.spec.encoding == "statistic":
        raise ArgumentError("to_xarray: needs an image, not a statistic; compute() gives its numbers")
    return ("y", "x", "band")[: image.ndim]


def coords(image: Image) -> dict[str, list[str]]:
    """The letters of the bands, where they have some."""
    return {"band": list(image.mode)} if image.ndim == 3 and image.mode in LETTERS else {}


def attributes(image: Image) -> dict[str, Any]:
    """The mode and the metadata as one flat dict of text, numbers and lists: ``"exif.Model"``, as netCDF can keep it."""
    return {"mode": image.mode, **dict(_flat("", image.metadata))}


def _flat(prefix: str, values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(f"{prefix}{name}.", value)
        elif isinstance(value, (list, tuple)):
            numbers = all(isinstance(part, (int, float)) for part in value)
            found.append((f"{prefix}{name}", list(value) if numbers else str(value)))
        elif value is not None:
            found.append((f"{prefix}{name}", value if isinstance(value, (str, int, float)) else str(value)))
    return found
