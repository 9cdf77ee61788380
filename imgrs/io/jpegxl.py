"""JPEG XL: decoded and encoded in one piece by libjxl, of 8 and 16 bits and float32; EXIF and XMP stand in boxes.

The header is read here, so that nothing is decoded at open. The format says how an image lies beside EXIF, and its
decoders set it upright; so images are upright when read, and are written upright.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from imgrs.errors import ArgumentError, CorruptImageError, UnsupportedFormatError
from imgrs.io import metadata
from imgrs.io.boxes import Box, box, boxes, shortage
from imgrs.io.format import Choices, Encoder, Format, Options, Reader, WholeEncoder
from imgrs.io.jpegxl_header import parse, said_to_be_srgb
from imgrs.io.options import check_image, check_options, check_side, check_whole
from imgrs.io.resource import BytesResource, Resource
from imgrs.io.whole import WholeReader, at_full_scale, decoding
from imgrs.types import Pixels, Spec

_SIGNATURE = box(b"JXL ", b"\r\n\x87\n")
_HEAD = 4096
"""Bytes of a codestream in which its header ends."""
_UNPACKED = 16 << 20
"""Bytes that a compressed box of metadata may have when it is unpacked."""


@dataclass(frozen=True)
class JpegXlFormat(Format):
    name: ClassVar[str] = "JXL"
    extensions: ClassVar[tuple[str, ...]] = (".jxl",)
    kinds = (
        ("L", "uint8"), ("LA", "uint8"), ("RGB", "uint8"), ("RGBA", "uint8"),
        ("I;16", "uint16"), ("LA", "uint16"), ("RGB", "uint16"), ("RGBA", "uint16"),
        ("F", "float32"), ("LA", "float32"), ("RGB", "float32"), ("RGBA", "float32"),
    )  # fmt: skip
    options: ClassVar[Choices] = {
        "quality": (0, 100), "lossless": bool, "effort": (1, 9), "exif": bytes, "xmp": bytes,
    }  # fmt: skip
    usual: ClassVar[Mapping[str, Any]] = {"quality": 90, "effort": 7}
    longest: ClassVar[int] = (1 << 30) - 1

    def matches(self, head: bytes) -> bool:
        return head[:2] == b"\xff\x0a" or head[:12] == _SIGNATURE

    def open(self, resource: Resource) -> Reader:
        return JpegXlReader(resource)

    def encoder(self, spec: Spec, info: Mapping[str, Any], options: Options) -> Encoder:
        check_image(self.name, spec, self.kinds)
        check_side(self.name, spec, self.longest)
        check_options(self.name, options, self.options)
        for name, kind in (("lossless", bool), ("exif", bytes), ("xmp", bytes)):
            if not isinstance(options.get(name, kind()), kind):
                raise ArgumentError(f"JXL {name} must be {kind.__name__}, got {options[name]!r}")
        said = {**info, **{name: options[name] for name in ("exif", "xmp") if name in options}}
        if "exif" in options:
            said.pop("orientation", None)
        upright = metadata.upright(said)
        quality, effort = (options.get(name, self.usual[name]) for name in ("quality", "effort"))
        return JpegXlEncoder(
            spec,
            None if options.get("lossless") else check_whole(self.name, "quality", quality, 0, 100),
            check_whole(self.name, "effort", effort, 1, 9),
            metadata.orientation(said),
            metadata.exif_bytes(upright),
            upright.get("xmp"),
        )


class JpegXlReader(WholeReader):
    """A JPEG XL file, or one frame of it. Pickles as its resource."""

    def __init__(self, resource: Resource, page: int = 0) -> None:
        with decoding(resource.name, "JXL"):
            self._header = header = parse(_codestream_head(resource))
        if header.black:
            raise UnsupportedFormatError(f"{resource.name}: CMYK is not supported in JPEG XL; convert it to TIFF")
        dtype = "float32" if header.floating or header.bits > 16 else "uint16" if header.bits > 8 else "uint8"
        bands = (1 if header.gray else 3) + header.alpha
        spec = Spec(header.width, header.height, bands, header.alpha, dtype, "gray" if header.gray else "srgb")
        super().__init__(resource, "JXL", spec, dict(_metadata(resource)), page)
        self.missing = None if resource.read(0, 2) == b"\xff\x0a" else shortage(resource)

    def __reduce__(self) -> tuple[Any, ...]:
        return JpegXlReader, (self.resource, self.page)

    def decoded(self, shrink: int) -> Pixels:
        import imagecodecs

        spec, header = self.spec, self._header
        pixels: Pixels = imagecodecs.jpegxl_decode(self.resource.read(), index=self.page, numthreads=os.cpu_count())
        if header.gray and not header.alpha and header.extra:
            pixels = pixels[0]  # the bands come one after another then
        pixels = pixels.reshape(spec.height, spec.width, spec.bands)
        if spec.dtype != "float32":
            pixels = at_full_scale(pixels, (1 << header.bits) - 1)
        return _unmultiplied(pixels, spec) if header.premultiplied else pixels

    @cached_property
    def frames(self) -> int:
        """Frames of an animation: the decoder tells by leaving alone an array for a frame that is not there."""
        if not self._header.animated:
            return 1
        data, last = self.resource.read(), 1
        with decoding(self.resource.name, "JXL"):
            while self._has(data, last):
                last *= 2
            first, last = last // 2, last  # the first is there, the last is not
            while last - first > 1:
                middle = (first + last) // 2
                first, last = (middle, last) if self._has(data, middle) else (first, middle)
        return last

    def _has(self, data: bytes, frame: int) -> bool:
        import imagecodecs

        stored = np.float16 if self._header.floating and self._header.bits == 16 else self.spec.dtype
        for left_alone in (0, 1):
            out = np.full(self.spec.shape, left_alone, stored)
            imagecodecs.jpegxl_decode(data, index=frame, out=out)
            if (out != left_alone).any():
                return True
        return False

    def at(self, page: int) -> Reader:
        if page == self.page:
            return self
        if not 0 <= page < self.frames:
            raise ArgumentError(f"open: page must be from 0 to {self.frames - 1} for {self.resource.name}, got {page}")
        return JpegXlReader(self.resource, page)


def _codestream_head(resource: Resource) -> bytes:
    if resource.read(0, 2) == b"\xff\x0a":
        return resource.read(0, _HEAD)
    found = b""
    for part in _parts(resource):
        if part.kind == b"jxlc":
            return resource.read(part.start, min(_HEAD, part.end - part.start))
        if part.kind == b"jxlp":
            found += resource.read(part.start + 4, max(0, min(_HEAD, part.end - part.start - 4)))
        if len(found) >= _HEAD:
            break
    return found


def _parts(resource: Resource) -> Iterator[Box]:
    for part in boxes(resource, cut=True):
        if part.kind == b"ftyp" and resource.read(part.start, 4) != b"jxl ":
            raise CorruptImageError(f"{resource.name}: the container is not one of JPEG XL")
        yield part


def _metadata(resource: Resource) -> Iterator[tuple[str, bytes]]:
    """EXIF and XMP, which no longer turn the image, from the boxes of a container."""
    if resource.read(0, 2) == b"\xff\x0a":
        return
    for part in _parts(resource):
        kind, content = part.kind, b""
        if part.missing:
            return
        if kind == b"brob":
            kind = resource.read(part.start, 4)
        if kind not in (b"Exif", b"xml "):
            continue
        content = part.content(resource)
        if part.kind == b"brob":
            content = _unpacked(resource, content[4:])
        if kind == b"xml ":
            yield "xmp", metadata.upright({"xmp": content})["xmp"]
        elif len(content) > 4:
            (start,) = struct.unpack_from(">I", content)
            upright = metadata.upright({"exif": b"Exif\0\0" + content[4 + start :]})
            yield "exif", upright["exif"]


def _unpacked(resource: Resource, content: bytes) -> bytes:
    import imagecodecs

    with decoding(resource.name, "JXL metadata"):
        return bytes(imagecodecs.brotli_decode(content, out=_UNPACKED))


def _unmultiplied(pixels: Pixels, spec: Spec) -> Pixels:
    """Colors that were multiplied by the opacity, as they were before; black where nothing is to be seen."""
    opacity, full = pixels[..., -1:].astype(np.float64), spec.full_scale
    colors = np.divide(pixels[..., :-1] * full, opacity, out=np.zeros(pixels[..., :-1].shape), where=opacity > 0)
    if spec.dtype != "float32":
        colors = np.minimum(np.floor(colors + 0.5), full)
    return np.concatenate([colors.astype(spec.dtype), pixels[..., -1:]], axis=2)


@dataclass(frozen=True)
class JpegXlEncoder(WholeEncoder):
    """One save; ``quality`` is None where nothing may be lost, ``orientation`` is how the pixels that come will lie."""

    spec: Spec
    quality: int | None
    effort: int
    orientation: int
    exif: bytes | None
    xmp: bytes | None

    @property
    def weight(self) -> int:
        return 11

    def encode(self, pixels: Pixels) -> bytes | memoryview:
        import imagecodecs

        pixels = np.ascontiguousarray(metadata.turned_upright(pixels, self.orientation))
        if self.quality is not None and self.spec.dtype != "uint8":
            pixels = _linear(pixels, self.spec)
        options: dict[str, Any] = (
            {"lossless": True} if self.quality is None else {"level": self.quality, "lossless": False}
        )
        data = bytes(imagecodecs.jpegxl_encode(pixels, effort=self.effort, numthreads=os.cpu_count(), **options))
        if data[:2] == b"\xff\x0a":
            levels, coded = b"", said_to_be_srgb(data)
        else:
            coded, levels = self._unboxed(data)
        if not (levels or self.exif or self.xmp):
            return coded
        exif = b"" if self.exif is None else box(b"Exif", bytes(4) + self.exif.removeprefix(b"Exif\0\0"))
        xmp = b"" if self.xmp is None else box(b"xml ", self.xmp)
        head = _SIGNATURE + box(b"ftyp", b"jxl " + bytes(4) + b"jxl ")
        return head + levels + exif + xmp + box(b"jxlc", coded)

    def _unboxed(self, data: bytes) -> tuple[bytes, bytes]:
        """The codestream in a container, said to be sRGB, and the box that says what a decoder must be able to do."""
        resource = BytesResource(data)
        parts = {part.kind: part.content(resource, trusted=True) for part in boxes(resource)}
        return said_to_be_srgb(parts[b"jxlc"]), box(b"jxll", parts[b"jxll"]) if b"jxll" in parts else b""


def _linear(pixels: Pixels, spec: Spec) -> Pixels:
    """Colors as amounts of light (IEC 61966-2-1): what libjxl, as imagecodecs calls it, takes deep samples for."""
    light = pixels.astype(np.float32) / np.float32(spec.full_scale)
    colors = light[..., : spec.colors]
    low = np.abs(colors) <= 0.04045
    high = np.copysign(((np.maximum(np.abs(colors), 0.04045) + 0.055) / 1.055) ** 2.4, colors)
    light[..., : spec.colors] = np.where(low, colors / 12.92, high)
    return light if spec.dtype == "float32" else np.floor(light * spec.full_scale + 0.5).astype(spec.dtype)
