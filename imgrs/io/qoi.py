"""QOI, by imagecodecs: Pillow's decoder is written in Python."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from imgrs.errors import CorruptImageError, TruncatedImageError
from imgrs.io.format import Encoder, Format, Options, Reader, WholeEncoder
from imgrs.io.options import check_image, check_options
from imgrs.io.resource import Resource
from imgrs.io.whole import WholeReader
from imgrs.types import Pixels, Spec

_END = bytes(7) + b"\1"


@dataclass(frozen=True)
class QoiFormat(Format):
    name: ClassVar[str] = "QOI"
    extensions: ClassVar[tuple[str, ...]] = (".qoi",)
    kinds = (("RGB", "uint8"), ("RGBA", "uint8"))

    def matches(self, head: bytes) -> bool:
        return head[:4] == b"qoif"

    def open(self, resource: Resource) -> Reader:
        return QoiReader(resource)

    def encoder(self, spec: Spec, info: Mapping[str, Any], options: Options) -> Encoder:
        check_image(self.name, spec, self.kinds)
        check_options(self.name, options, self.options)
        return QoiEncoder(spec)


class QoiReader(WholeReader):
    """A QOI file. Pickles as its resource."""

    def __init__(self, resource: Resource) -> None:
        head = resource.read(0, 14)
        if len(head) < 14 or head[12] not in (3, 4):
            raise CorruptImageError(f"{resource.name}: the QOI header is damaged")
        width, height, bands = struct.unpack_from(">IIB", head, 4)
        super().__init__(resource, "QOI", Spec(width, height, bands, bands == 4), {})

    def __reduce__(self) -> tuple[Any, ...]:
        return QoiReader, (self.resource,)

    def decoding_bytes(self, shrink: int = 1) -> int:
        return self.spec.nbytes + 3 * self.resource.size  # the data, and with another end, twice over

    def decoded(self, shrink: int) -> Pixels:
        import imagecodecs

        data = self.resource.read()
        if data[-8:] != _END:  # the pixels behind the end would be of one color
            raise TruncatedImageError(f"{self.resource.name} ends before its QOI data does ({len(data):,} bytes)")
        # The decoder repeats the last pixel where there are too few; another one, put behind them, must not be seen then.
        for other in ((1, 2, 3, 4), (5, 6, 7, 8)):
            pixels: Pixels = imagecodecs.qoi_decode(data[: -len(_END)] + b"\xff" + bytes(other) + _END)
            if tuple(pixels[-1, -1]) != other[: pixels.shape[2]]:
                return pixels
        raise TruncatedImageError(f"{self.resource.name} ends before all of its pixels are said")


@dataclass(frozen=True)
class QoiEncoder(WholeEncoder):
    """One QOI to be written."""

    spec: Spec

    def encode(self, pixels: Pixels) -> bytes | memoryview:
        import imagecodecs

        return bytes(imagecodecs.qoi_encode(np.ascontiguousarray(pixels)))
