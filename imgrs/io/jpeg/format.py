"""JPEG as a format: how it is recognized, and what a save of it may say."""

from __future__ import annotations

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
        from imgrs.io.jpeg.read import JpegReader

        return JpegReader(resource)

    def encoder(self, spec: Spec, info: Mapping[str, Any], options: Options) -> Encoder:
        longest = {"comment": self.longest_comment, "xmp": self.longest_xmp}  # a GIF's, a TIFF's may be longer
        info = {name: value for name, value in info.items() if name not in longest or len(value) <= longest[name]}
        return super().encoder(spec, info, options)

    def checked_encoder(self, spec: Spec, options: dict[str, Any]) -> Encoder:
        from imgrs.io.jpeg.write import JpegEncoder

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
