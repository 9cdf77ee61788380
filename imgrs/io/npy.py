"""NPY: NumPy's own format, read by region and written by tile."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.lib import format as npy

from imgrs.errors import ArgumentError, CorruptImageError, UnsupportedFormatError
from imgrs.io.format import Encoder, Format, Options, Reader
from imgrs.io.options import check_options
from imgrs.io.plain import PlainEncoder, PlainReader
from imgrs.io.resource import Resource
from imgrs.types import Spec

ENCODINGS = {1: ("gray", False), 2: ("gray", True), 3: ("srgb", False), 4: ("srgb", True)}
"""What the bands of an array are, by their number, and whether the last is alpha; others have no color meaning."""


@dataclass(frozen=True)
class NpyFormat(Format):
    name: ClassVar[str] = "NPY"
    extensions: ClassVar[tuple[str, ...]] = (".npy",)

    def matches(self, head: bytes) -> bool:
        return head[:6] == b"\x93NUMPY"

    def open(self, resource: Resource) -> Reader:
        file = io.BytesIO(resource.read(0, 1 << 16))
        try:
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, fortran, dtype = read(file)
        except Exception as error:  # the header is Python text: what its parser raises means that it is damaged
            raise CorruptImageError(f"{resource.name}: the NPY header is damaged: {error}") from None
        held = dtype.name in ("uint8", "uint16", "float32", "bool")
        if len(shape) not in (2, 3) or 0 in shape or fortran or not held:
            raise UnsupportedFormatError(
                f"{resource.name}: an image is a C-ordered array of (height, width[, bands]) of uint8, uint16, float32 or "
                f"bool, not {dtype} of shape {shape}{' in Fortran order' if fortran else ''}"
            )
        if not all(type(side) is int and 0 < side < 1 << 31 for side in shape):
            raise CorruptImageError(f"{resource.name}: the NPY header claims the shape {shape}")
        height, width = shape[:2]
        bands = shape[2] if len(shape) == 3 else 1
        encoding, alpha = ENCODINGS.get(bands, ("multiband", False))
        spec = Spec(width, height, bands, alpha, dtype.name, encoding)
        return PlainReader(resource, self.name, spec, file.tell(), dtype.str)

    def encoder(self, spec: Spec, info: Mapping[str, Any], options: Options) -> Encoder:
        check_options(self.name, options, self.options)
        if spec.encoding == "cmyk":
            raise ArgumentError('NPY would give CMYK back as RGBA; convert("RGB") first')
        dtype = np.dtype(spec.dtype)
        header = io.BytesIO()
        npy.write_array_header_1_0(header, {"descr": dtype.str, "fortran_order": False, "shape": spec.shape})
        return PlainEncoder(spec, header.getvalue(), dtype.str, tuple(range(spec.bands)))
