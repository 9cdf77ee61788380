"""Raw samples: rows from the top, pixel after pixel, with nothing that says so. Written by name, read by ``open_raw``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from imgrs.errors import UnsupportedFormatError
from imgrs.io.format import Encoder, Format, Options, Reader
from imgrs.io.options import check_options
from imgrs.io.plain import PlainEncoder, PlainReader
from imgrs.io.resource import Resource, resource_of
from imgrs.types import Spec


@dataclass(frozen=True)
class RawFormat(Format):
    name: ClassVar[str] = "RAW"
    extensions: ClassVar[tuple[str, ...]] = (".raw",)
    is_read: ClassVar[bool] = False

    def matches(self, head: bytes) -> bool:
        return False

    def open(self, resource: Resource) -> Reader:
        raise UnsupportedFormatError(f"{resource.name}: raw samples do not say what they are; use imgrs.open_raw()")

    def encoder(self, spec: Spec, info: Mapping[str, Any], options: Options) -> Encoder:
        check_options(self.name, options, self.options)
        dtype = np.dtype(spec.dtype).newbyteorder("<").str
        return PlainEncoder(spec, b"", dtype, tuple(range(spec.bands)))


def open_samples(source: object, spec: Spec, dtype: str, offset: int) -> Reader:
    """Samples of ``dtype`` (NumPy's name, with its byte order) from byte ``offset``. Raises ``TruncatedImageError``."""
    told = f" {spec} {dtype} at {offset}"
    return PlainReader(resource_of(source), "RAW", spec, offset, dtype, told=told)
