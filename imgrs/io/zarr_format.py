"""Zarr and OME-Zarr as a format: a folder of chunks, for which the extra ``zarr`` is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from imgrs.errors import ArgumentError, UnsupportedFormatError
from imgrs.io.folder import MARKS
from imgrs.io.format import Encoder, Format, Options, Reader
from imgrs.io.resource import Resource
from imgrs.types import Spec


@dataclass(frozen=True)
class ZarrFormat(Format):
    name: ClassVar[str] = "ZARR"
    extensions: ClassVar[tuple[str, ...]] = (".zarr",)
    marks: ClassVar[tuple[str, ...]] = MARKS
    is_written: ClassVar[bool] = False

    def matches(self, head: bytes) -> bool:
        return False  # a folder has no first bytes

    def open(self, resource: Resource) -> Reader:
        try:
            from imgrs.io.zarr_read import ZarrReader
        except ModuleNotFoundError as error:
            if error.name != "zarr":
                raise
            raise UnsupportedFormatError(
                f"{resource.name} is a Zarr store, which takes the package zarr: pip install imgrs-lazy[zarr]"
            ) from None
        return ZarrReader(resource)

    def encoder(self, spec: Spec, info: Mapping[str, Any], options: Options) -> Encoder:
        raise ArgumentError("save: ZARR is read only; use TIFF")
