"""Zarr and OME-Zarr as a format: a folder of chunks, for which the extra ``zarr`` is needed."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from imgrs.errors import UnsupportedFormatError
from imgrs.io.folder import MARKS
from imgrs.io.format import Choices, Encoder, Format, Options, Reader
from imgrs.io.options import check_options
from imgrs.io.resource import Resource
from imgrs.types import Spec


@dataclass(frozen=True)
class ZarrFormat(Format):
    name: ClassVar[str] = "ZARR"
    extensions: ClassVar[tuple[str, ...]] = (".zarr",)
    marks: ClassVar[tuple[str, ...]] = MARKS
    options: ClassVar[Choices] = {
        "compression": ("zstd", "blosc", "none"), "level": (1, 22), "tile": tuple, "shard": tuple, "pyramid": bool,
        "dpi": tuple, "icc_profile": bytes, "exif": bytes, "xmp": bytes,
    }  # fmt: skip
    usual: ClassVar[Mapping[str, Any]] = {"compression": "zstd", "level": 1}
    notes: ClassVar[Mapping[str, str]] = {
        "level": "of zstd; of blosc 0 to 9, 3 unless given",
        "tile": "a chunk: one side, or width and height; 512 unless given, or less for many bands",
        "shard": "a file of chunks, in multiples of the tile; about 16 MiB of pixels unless given",
        "pyramid": "smaller copies",
    }

    def matches(self, head: bytes) -> bool:
        return False  # a folder has no first bytes

    def open(self, resource: Resource) -> Reader:
        _check_installed(resource.name)
        from imgrs.io.zarr.read import ZarrReader

        return ZarrReader(resource)

    def encoder(self, spec: Spec, info: Mapping[str, Any], options: Options) -> Encoder:
        _check_installed("save")
        from imgrs.io.zarr.write import ZarrEncoder

        check_options(self.name, options, self.options)
        return ZarrEncoder.of(spec, info, options)


def _check_installed(name: str) -> None:
    for package in ("zarr", "google_crc32c"):
        if importlib.util.find_spec(package) is None:
            raise UnsupportedFormatError(f"{name}: Zarr needs the package {package}: pip install 'imgrs-lazy[zarr]'")
