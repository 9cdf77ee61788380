"""Zarr stores for tests, made by zarr-python, with OME documents written by hand from the specification."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

Array = npt.NDArray[Any]


def axes(names: str) -> list[dict[str, str]]:
    kinds = {"t": "time", "c": "channel"}
    return [
        {"name": name, "type": kinds.get(name, "space")} | ({"unit": "micrometer"} if name in "xyz" else {})
        for name in names
    ]


def ome_zarr(
    store: Any,
    levels: list[Array],
    names: str,
    version: str = "0.5",
    shards: tuple[int, ...] | None = None,
    chunk: int = 16,
    pixel: float = 0.5,
    **omero: Any,
) -> Any:
    """An image of several sizes, each half as large as the one before; returns the store."""
    group = zarr.open_group(store, mode="w", zarr_format=3 if version == "0.5" else 2)
    datasets = []
    for i, level in enumerate(levels):
        chunks = tuple(min(chunk, side) if name in "yx" else 1 for name, side in zip(names, level.shape, strict=True))
        options: dict[str, Any] = {"dimension_names": list(names)} if version == "0.5" else {}
        if shards is not None:
            options["shards"] = shards
        array = group.create_array(str(i), shape=level.shape, dtype=level.dtype, chunks=chunks, **options)
        array[...] = level
        scale = [pixel * 2**i if name in "yx" else 1.0 for name in names]
        transformation: dict[str, Any] = {"type": "scale", "scale": scale}
        datasets.append({"path": str(i), "coordinateTransformations": [transformation]})
    image: dict[str, Any] = {"name": "cells", "axes": axes(names), "datasets": datasets}
    said: dict[str, Any] = {"multiscales": [image]}
    if omero:
        said["omero"] = omero
    if version == "0.5":
        group.attrs["ome"] = said | {"version": "0.5"}
    else:
        image["version"] = version
        group.attrs.update(said)
    return store


def files(root: Path) -> list[Path]:
    """The chunks and shards of a store, not its documents."""
    documents = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
    return sorted(path for path in root.rglob("*") if path.is_file() and path.name not in documents)


def noise(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 0) -> Array:
    values = np.random.default_rng(seed).random(shape)
    if dtype == "bool":
        return values > 0.5
    return values.astype("float32") if dtype == "float32" else (values * np.iinfo(dtype).max).astype(dtype)
