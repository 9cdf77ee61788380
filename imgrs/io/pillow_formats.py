"""The formats that go through Pillow: how each is recognized, what it holds, and what its saves may say."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from imgrs.errors import ArgumentError
from imgrs.io.format import Choices, Encoder, Options, Reader
from imgrs.io.pillow import PillowFormat
from imgrs.io.resource import Resource
from imgrs.types import Spec


@dataclass(frozen=True)
class JpegFormat(PillowFormat):
    name: ClassVar[str] = "JPEG"
    extensions: ClassVar[tuple[str, ...]] = (".jpg", ".jpeg", ".jpe", ".jfif")
    kinds = (("L", "uint8"), ("RGB", "uint8"), ("CMYK", "uint8"))
    options: ClassVar[Choices] = {
        "quality": (1, 100), "optimize": bool, "progressive": bool, "subsampling": (0, 2),
        "dpi": tuple, "icc_profile": bytes, "exif": bytes, "xmp": bytes, "comment": bytes,
    }  # fmt: skip
    usual: ClassVar[Mapping[str, Any]] = {"quality": 90}
    notes: ClassVar[Mapping[str, str]] = {"subsampling": "4:4:4, 4:2:2, 4:2:0; 2 unless given, of CMYK 0"}
    carried = ("dpi", "icc_profile", "exif", "xmp", "comment")
    longest = 65_500
    longest_comment: ClassVar[int] = 65_533
    longest_xmp: ClassVar[int] = 65_504

    def open(self, resource: Resource) -> Reader:
        from imgrs.io.jpeg_read import JpegReader

        return JpegReader(resource)

    def encoder(self, spec: Spec, info: Mapping[str, Any], options: Options) -> Encoder:
        longest = {"comment": self.longest_comment, "xmp": self.longest_xmp}  # a GIF's, a TIFF's may be longer
        info = {name: value for name, value in info.items() if name not in longest or len(value) <= longest[name]}
        return super().encoder(spec, info, options)

    def checked_encoder(self, spec: Spec, options: dict[str, Any]) -> Encoder:
        from imgrs.io.jpeg_write import JpegEncoder

        if len(options.get("comment", b"")) > self.longest_comment:
            raise ArgumentError(f"JPEG comment must have at most {self.longest_comment:,} bytes")
        if len(options.get("xmp", b"")) > self.longest_xmp:
            raise ArgumentError(
                f"JPEG holds {self.longest_xmp:,} bytes of XMP, a recipe among them, got {len(options['xmp']):,}; "
                "save as PNG, TIFF or WebP, or leave out the source's by metadata=False"
            )
        if options.get("optimize") or options.get("progressive"):
            return super().checked_encoder(spec, options)  # their tables, or their scans, are of the whole image
        return JpegEncoder(spec, options)

    def matches(self, head: bytes) -> bool:
        return head[:3] == b"\xff\xd8\xff"


@dataclass(frozen=True)
class PngFormat(PillowFormat):
    name: ClassVar[str] = "PNG"
    extensions: ClassVar[tuple[str, ...]] = (".png",)
    kinds = (
        ("1", "bool"), ("L", "uint8"), ("LA", "uint8"), ("I;16", "uint16"), ("RGB", "uint8"), ("RGBA", "uint8"),
        ("LA", "uint16"), ("RGB", "uint16"), ("RGBA", "uint16"),
    )  # fmt: skip
    options: ClassVar[Choices] = {
        "compress_level": (0, 9), "optimize": bool, "dpi": tuple, "icc_profile": bytes, "exif": bytes,
        "xmp": bytes, "text": dict,
    }  # fmt: skip
    usual: ClassVar[Mapping[str, Any]] = {"compress_level": 3}
    notes: ClassVar[Mapping[str, str]] = {"optimize": "the same as level 9"}
    carried = ("dpi", "icc_profile", "exif", "xmp", "text")

    def open(self, resource: Resource) -> Reader:
        from imgrs.io.png_read import PngReader

        return PngReader(resource)

    def checked_encoder(self, spec: Spec, options: dict[str, Any]) -> Encoder:
        from imgrs.io.png_write import PngEncoder

        level = 9 if options.pop("optimize", False) else options.pop("compress_level", 3)
        options.pop("compress_level", None)
        return PngEncoder(spec, level, tuple(options.items()))

    def matches(self, head: bytes) -> bool:
        return head[:8] == b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class TgaFormat(PillowFormat):
    name: ClassVar[str] = "TGA"
    extensions: ClassVar[tuple[str, ...]] = (".tga",)
    kinds = (("L", "uint8"), ("LA", "uint8"), ("RGB", "uint8"), ("RGBA", "uint8"))
    options: ClassVar[Choices] = {"compression": ("tga_rle",)}
    notes: ClassVar[Mapping[str, str]] = {"compression": "none unless given"}
    longest = 65_535

    def matches(self, head: bytes) -> bool:
        """TGA has no signature: its header must make sense in every field, and it is tried last."""
        if len(head) < 18 or head[1] > 1 or head[2] not in (1, 2, 3, 9, 10, 11):
            return False
        width, height, bits = struct.unpack_from("<HHB", head, 12)
        return width > 0 and height > 0 and bits in (8, 15, 16, 24, 32) and (head[1] == 1) == (head[2] in (1, 9))
