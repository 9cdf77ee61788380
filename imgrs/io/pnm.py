"""PGM and PPM with binary samples (P5, P6): rows of plain samples, read by region and written by tile."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from imgrs.errors import CorruptImageError, TruncatedImageError
from imgrs.io.format import Encoder, Format, Options, Reader
from imgrs.io.options import check_image, check_options
from imgrs.io.plain import PlainEncoder
from imgrs.io.resource import Resource
from imgrs.types import Pixels, Region, Spec

_HEADER = re.compile(rb"P([56])(?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})\s")


@dataclass(frozen=True)
class PnmFormat(Format):
    name: ClassVar[str] = "PPM"
    extensions: ClassVar[tuple[str, ...]] = (".ppm", ".pgm", ".pnm")
    kinds = (("L", "uint8"), ("I;16", "uint16"), ("RGB", "uint8"), ("RGB", "uint16"))

    def matches(self, head: bytes) -> bool:
        return head[:2] in (b"P5", b"P6") and head[2:3] in (b" ", b"\n", b"\t", b"\r", b"#")

    def open(self, resource: Resource) -> Reader:
        return PnmReader(resource)

    def encoder(self, spec: Spec, info: Mapping[str, Any], options: Options) -> Encoder:
        check_image(self.name, spec, self.kinds)
        check_options(self.name, options, ())
        kind, most = 5 if spec.bands == 1 else 6, int(spec.full_scale)
        header = f"P{kind}\n{spec.width} {spec.height}\n{most}\n".encode()
        return PlainEncoder(spec, header, "u1" if most == 255 else ">u2", tuple(range(spec.bands)))


class PnmReader(Reader):
    """Samples from 0 to the header's largest value, scaled to the full range where that is less. Pickles as its resource."""

    format = "PPM"
    reads_regions = True

    def __init__(self, resource: Resource) -> None:
        self.resource, self.info = resource, {}
        found = _HEADER.match(resource.read(0, 4096))
        if found is None:
            raise CorruptImageError(f"{resource.name}: the PPM header is damaged")
        kind, width, height, self._most = (int(part) for part in found.groups())
        if not (width and height and 0 < self._most < 65_536):
            raise CorruptImageError(
                f"{resource.name}: the PPM header claims {width}x{height} pixels up to {self._most}"
            )
        bands = 3 if kind == 6 else 1
        self._stored = np.dtype("u1" if self._most < 256 else ">u2")
        self.spec = Spec(
            width, height, bands, False, "uint8" if self._most < 256 else "uint16", "srgb" if bands == 3 else "gray"
        )
        self.unit = (width, 1)
        self._start = found.end()
        if self._start + self.spec.nbytes > resource.size:
            raise TruncatedImageError(
                f"{resource.name}: {self.spec} needs {self.spec.nbytes:,} bytes, the file is shorter"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return PnmReader, (self.resource,)

    def read(self, region: Region, shrink: int = 1) -> Pixels:
        spec = self.spec
        row = spec.width * spec.pixel_bytes
        data = self.resource.read(self._start + region.top * row, region.height * row)
        rows = np.frombuffer(data, self._stored).reshape(region.height, spec.width, spec.bands)
        pixels = rows[:, region.left : region.right]
        if self._most != spec.full_scale:
            full, most = int(spec.full_scale), self._most
            scaled = (2 * full * np.minimum(pixels, most).astype(np.int64) + most) // (2 * most)  # half up
            return np.ascontiguousarray(scaled.astype(spec.dtype))
        return np.ascontiguousarray(pixels.astype(spec.dtype))

    def stored_bytes(self, region: Region, shrink: int = 1) -> int:
        return region.height * self.spec.width * self.spec.pixel_bytes
