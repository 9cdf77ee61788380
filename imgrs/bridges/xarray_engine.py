"""``xarray.open_dataset("photo.tif", engine="imgrs")``: xarray's way to files that imgrs reads.

xarray finds the engine by the entry point that this package declares; nothing else here imports this module.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from xarray import Dataset, Variable
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from imgrs.bridges.labeled import attributes, coords, dims
from imgrs.create import open as open_image
from imgrs.image import Image
from imgrs.ops.source import Open

CHUNK = 1024
"""Pixels a side of the chunks that are preferred, about, in whole tiles or strips of the file."""


class ImgrsBackend(BackendEntrypoint):
    """Opens what ``imgrs.open`` opens, as a dataset of one variable, ``image``, with the axes y, x and band.

    It must be asked for by name: other engines read the geography of TIFFs and the groups of Zarr stores.
    """

    description = "Open images of all formats that imgrs reads"
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "page", "orient", "on_error")

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        page: int = 0,
        orient: bool = False,
        on_error: str = "raise",
    ) -> Dataset:
        """Read the header; pixels are read by the parts that are asked for. Options are those of ``imgrs.open``."""
        image = open_image(filename_or_obj, page=page, orient=orient, on_error=on_error)
        dropped = {drop_variables} if isinstance(drop_variables, str) else set(drop_variables or ())
        lazy = indexing.LazilyIndexedArray(_Pixels(image))
        variable = Variable(dims(image), lazy, attributes(image), {"preferred_chunks": _chunks(image)})
        variables = {name: value for name, value in {"image": variable}.items() if name not in dropped}
        return Dataset(variables, {name: value for name, value in coords(image).items() if name not in dropped})


class _Pixels(BackendArray):
    """The pixels of an image, computed where they are indexed. It pickles: Dask's chunks carry it."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.shape = image.shape
        self.dtype = image.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._read)

    def _read(self, key: tuple[Any, ...]) -> npt.NDArray[Any]:
        spans = [
            range(n)[index] if isinstance(index, slice) else range(n)[index % n :][:1]
            for index, n in zip(key, self.shape[:2], strict=False)
        ]
        if not all(spans):
            nothing: npt.NDArray[Any] = np.broadcast_to(np.zeros((), self.dtype), self.shape)[key]
            return nothing
        (top, bottom), (left, right) = (sorted((span[0], span[-1])) for span in spans)
        pixels = self.image.crop((left, top, right + 1, bottom + 1)).compute()
        steps = [slice(None, None, index.step) if isinstance(index, slice) else 0 for index in key[:2]]
        part: npt.NDArray[Any] = pixels[(*steps, *key[2:])]
        return part


def _chunks(image: Image) -> dict[str, int]:
    """Whole tiles or strips of the file, as they lie in it: none where the image was turned, and of arrays."""
    op = image._node.op
    if not isinstance(op, Open):
        return {}
    width = min(image.width, max(1, CHUNK // op.unit[0]) * op.unit[0])
    height = min(image.height, max(1, CHUNK * CHUNK // width // op.unit[1]) * op.unit[1])
    return {"y": height, "x": width}
