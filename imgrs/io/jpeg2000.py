"""JPEG 2000: decoded smaller where the codestream has levels for that, and color of 16 bits, which Pillow reads at 8.

OpenJPEG as Pillow and imagecodecs wrap it decodes no part of an image; metadata stands in boxes around the codestream
(ITU-T T.800, annex I; EXIF and XMP as Adobe and others put them).
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from imgrs.errors import ArgumentError, CorruptImageError, UnsupportedFormatError
from imgrs.io.boxes import Box, box, boxes, shortage
from imgrs.io.format import Choices, Encoder, Reader, WholeEncoder
from imgrs.io.pillow import PillowEncoder, PillowFormat, PillowReader
from imgrs.io.resource import BytesResource, Resource
from imgrs.io.whole import at_full_scale, decoding
from imgrs.types import Pixels, Spec

if TYPE_CHECKING:
    import PIL.Image

_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_EXIF = b"JpgTiffExif->JP2"
_SMALLEST = 5
"""Halvings that are offered, at most."""
_HEAD = 1 << 16
"""Bytes of a codestream in which its main header ends."""
_METADATA = ("dpi", "icc_profile", "exif", "xmp")


@dataclass(frozen=True)
class Jpeg2000Format(PillowFormat):
    name: ClassVar[str] = "JPEG2000"
    extensions: ClassVar[tuple[str, ...]] = (".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc")
    kinds = (
        ("L", "uint8"), ("LA", "uint8"), ("RGB", "uint8"), ("RGBA", "uint8"),
        ("I;16", "uint16"), ("LA", "uint16"), ("RGB", "uint16"), ("RGBA", "uint16"),
    )  # fmt: skip
    options: ClassVar[Choices] = {
        "quality_mode": ("rates", "dB"), "quality_layers": list, "num_resolutions": (1, 33), "irreversible": bool,
        "tile_size": tuple, "codeblock_size": tuple, "precinct_size": tuple,
        "progression": ("LRCP", "RLCP", "RPCL", "PCRL", "CPRL"),
        "mct": (0, 1), "comment": str, "plt": bool,
        "dpi": tuple, "icc_profile": bytes, "exif": bytes, "xmp": bytes,
    }  # fmt: skip
    notes: ClassVar[Mapping[str, str]] = {
        "quality_layers": "how many times smaller, or dB; without loss unless given",
        "irreversible": "with some loss",
    }
    carried = _METADATA

    def matches(self, head: bytes) -> bool:
        return head[:12] == b"\0\0\0\x0cjP  \r\n\x87\n" or head[:4] == b"\xff\x4f\xff\x51"

    def open(self, resource: Resource) -> Reader:
        return Jpeg2000Reader(resource)

    def checked_encoder(self, spec: Spec, options: dict[str, Any]) -> Encoder:
        said = {name: options.pop(name) for name in _METADATA if name in options}
        deep = spec.dtype == "uint16" and spec.bands > 1
        if deep and options:
            raise ArgumentError(
                f"JPEG2000 color of 16 bits is written without loss and without {', '.join(options)}; "
                'astype("uint8") first'
            )
        coder = None if deep else PillowEncoder(self.name, spec, tuple(options.items()))
        return Jpeg2000Encoder(spec, coder, tuple(said.items()))


@dataclass(frozen=True)
class _Codestream:
    """What the main header of a codestream says."""

    bits: int
    signed: bool
    halvings: int
    """How often it can be halved while decoding."""


class Jpeg2000Reader(PillowReader):
    """A JPEG 2000 file, in its boxes or bare. Pickles as its resource."""

    def __init__(self, resource: Resource) -> None:
        with decoding(resource.name, "JPEG2000"):
            self._coded = coded = _codestream(resource)
        if coded.bits > 8 and coded.signed:
            raise UnsupportedFormatError(f"{resource.name}: signed samples of {coded.bits} bits are not supported")
        if coded.bits > 16:
            raise UnsupportedFormatError(f"{resource.name}: samples of {coded.bits} bits are not supported")
        super().__init__(resource, "JPEG2000")
        self.missing = None if resource.read(0, 2) == b"\xff\x4f" else shortage(resource)
        if not self._deep:
            self.shrinks = tuple(1 << level for level in range(1 + coded.halvings))

    def __reduce__(self) -> tuple[Any, ...]:
        return Jpeg2000Reader, (self.resource,)

    def described(self, image: PIL.Image.Image) -> tuple[Spec, dict[str, Any]]:
        spec, info = super().described(image)
        self._deep = self._coded.bits > 8 and spec.dtype == "uint8"
        if self._deep and spec.encoding == "cmyk":
            raise UnsupportedFormatError(f"{self.resource.name}: CMYK of {self._coded.bits} bits is not supported")
        return replace(spec, dtype="uint16") if self._deep else spec, {**info, **_metadata(self.resource)}

    def reduce(self, image: PIL.Image.Image, shrink: int) -> None:
        width, height = image.size
        image._size = (-(-width // shrink) * shrink, -(-height // shrink) * shrink)  # Pillow rounds, the format goes up
        image.reduce = shrink.bit_length() - 1  # type: ignore[method-assign,assignment]  # Pillow's own way
        image.load()

    def decoding_bytes(self, shrink: int = 1) -> int:
        return (
            5 * self.shrunk(shrink).nbytes + self.resource.size
        )  # OpenJPEG's coefficients, of 32 bits; the image; the file

    def decoded(self, shrink: int) -> Pixels:
        bits = self._coded.bits
        if not self._deep:
            pixels = super().decoded(shrink)
            return pixels if bits <= 8 else at_full_scale(pixels >> 16 - bits, (1 << bits) - 1)  # it shifts them up
        import imagecodecs

        pixels = imagecodecs.jpeg2k_decode(self.resource.read(), numthreads=os.cpu_count())
        return at_full_scale(pixels, (1 << bits) - 1)


def _codestream(resource: Resource) -> _Codestream:
    """The main header: its markers up to the first tile (ITU-T T.800, annex A)."""
    start = 0
    if resource.read(0, 2) != b"\xff\x4f":
        start = next(part.start for part in boxes(resource, cut=True) if part.kind == b"jp2c")
    head = resource.read(start, _HEAD)
    if head[:4] != b"\xff\x4f\xff\x51":
        raise CorruptImageError(f"{resource.name}: the JPEG2000 header is damaged")
    width, height, left, top, across, down, *corner = struct.unpack_from(">8I", head, 8)
    depths = head[42 : 42 + 3 * head[41] : 3]
    at, halvings = 2, 0
    while at + 10 <= len(head) and head[at + 1] != 0x90:
        if head[at + 1] == 0x52:
            halvings = min(head[at + 9], _SMALLEST)
        at += 2 + struct.unpack_from(">H", head, at + 2)[0]
    if left or top or any(corner):
        halvings = 0  # Pillow puts tiles where they belong in an image that starts at 0 only
    elif across < width or down < height:
        while halvings and (across | down) & (1 << halvings) - 1:
            halvings -= 1  # and tiles whose corners stay whole pixels
    return _Codestream(1 + max(depth & 0x7F for depth in depths), any(depth & 0x80 for depth in depths), halvings)


def _metadata(resource: Resource) -> dict[str, Any]:
    """What boxes around the codestream say; a bare one says nothing."""
    found: dict[str, Any] = {}
    if resource.read(0, 2) == b"\xff\x4f":
        return found
    for part in boxes(resource, cut=True):
        if part.missing:
            return found
        if part.kind == b"jp2h":
            for inner in boxes(resource, part.start, part.end):
                if inner.kind == b"colr" and resource.read(inner.start, 1) in (b"\2", b"\3"):
                    found.setdefault("icc_profile", inner.content(resource)[3:])
        elif part.kind == b"uuid":
            kind = resource.read(part.start, 16)
            if kind in (_XMP, _EXIF):
                found["xmp" if kind == _XMP else "exif"] = part.content(resource)[16:]
    return found


@dataclass(frozen=True)
class Jpeg2000Encoder(WholeEncoder):
    """One save: ``coder`` makes the file, or imagecodecs where Pillow cannot; metadata is put around what they made."""

    spec: Spec
    coder: PillowEncoder | None
    metadata: tuple[tuple[str, Any], ...]

    @property
    def weight(self) -> int:
        return 15

    def encode(self, pixels: Pixels) -> bytes | memoryview:
        if self.coder is not None:
            data = bytes(self.coder.encode(pixels))
        else:
            import imagecodecs

            pixels = np.ascontiguousarray(pixels)
            coding = imagecodecs.jpeg2k_encode(pixels, codecformat="jp2", reversible=True, numthreads=os.cpu_count())
            data = bytes(coding)
        resource = BytesResource(data)
        return b"".join(self._part(part, resource) for part in boxes(resource))

    def _part(self, part: Box, resource: BytesResource) -> bytes:
        if part.kind != b"jp2h":
            return box(part.kind, part.content(resource, trusted=True))
        said = dict(self.metadata)
        inner = {one.kind: one.content(resource, trusted=True) for one in boxes(resource, part.start, part.end)}
        if self.spec.alpha and b"cdef" not in inner:
            inner[b"cdef"] = _channels(self.spec.colors)
        if "icc_profile" in said:
            inner[b"colr"] = b"\2\0\0" + said["icc_profile"]
        if "dpi" in said:
            across, down = (_per_meter(side) for side in said["dpi"])
            inner[b"res "] = box(b"resc", struct.pack(">HHHHBB", *down[:2], *across[:2], down[2], across[2]))
        found = box(b"jp2h", b"".join(box(kind, content) for kind, content in inner.items()))
        if said.get("exif"):
            found += box(b"uuid", _EXIF + said["exif"].removeprefix(b"Exif\0\0"))
        if "xmp" in said:
            found += box(b"uuid", _XMP + said["xmp"])
        return found


def _channels(colors: int) -> bytes:
    """What the bands mean: colors in their order, then the opacity of all of them."""
    rows = [(band, 0, band + 1) for band in range(colors)] + [(colors, 1, 0)]
    return struct.pack(">H", len(rows)) + b"".join(struct.pack(">HHH", *row) for row in rows)


def _per_meter(dpi: float) -> tuple[int, int, int]:
    """A resolution as the ratio of two numbers below 65,536, times a power of ten that is not negative."""
    value = dpi / 0.0254
    power = max(0, math.ceil(math.log10(max(value, 1e-9) / 65_535)))
    value /= 10**power
    below = min(65_535, int(65_535 / max(value, 1)))
    return round(value * below), below, power
