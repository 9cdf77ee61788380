"""TIFF, BigTIFF and OME-TIFF as formats: how they are recognized, and what a save of them may say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from imgrs.io.format import Choices, Encoder, Format, Options, Reader
from imgrs.io.options import check_options
from imgrs.io.resource import Resource
from imgrs.types import Spec


@dataclass(frozen=True)
class TiffFormat(Format):
    name: ClassVar[str] = "TIFF"
    extensions: ClassVar[tuple[str, ...]] = (".tif", ".tiff")
    options: ClassVar[Choices] = {
        "compression": ("none", "lzw", "jpeg", "deflate", "zstd", "webp"), "level": (0, 12), "quality": (1, 100),
        "lossless": bool, "predictor": bool, "tile": tuple, "bigtiff": bool, "pyramid": bool, "cog": bool,
        "dpi": tuple, "icc_profile": bytes, "exif": bytes, "xmp": bytes,
    }  # fmt: skip
    usual: ClassVar[Mapping[str, Any]] = {"compression": "deflate", "level": 1, "quality": 90, "predictor": True}
    notes: ClassVar[Mapping[str, str]] = {
        "level": "of deflate; of zstd 1 to 22",
        "quality": "of jpeg and webp",
        "lossless": "of webp",
        "predictor": "of deflate, zstd and lzw",
        "tile": "one side, or width and height, in multiples of 16; 512 unless given, or what the image needs",
        "bigtiff": "set by itself for more than 3.9 GB of pixels",
        "pyramid": "smaller copies",
        "cog": "smaller copies, and tables in front",
    }

    def matches(self, head: bytes) -> bool:
        return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

    def open(self, resource: Resource) -> Reader:
        from imgrs.io.slides import SlideReader
        from imgrs.io.tiff.pages import pages_of
        from imgrs.io.tiff.read import TiffReader

        return SlideReader(resource) if pages_of(resource).overlap else TiffReader(resource)

    def check(self, options: Options) -> None:
        from imgrs.io.tiff.write import check_used

        super().check(options)
        check_used(options)

    def encoder(self, spec: Spec, info: Mapping[str, Any], options: Options) -> Encoder:
        from imgrs.io.tiff.write import TiffEncoder

        check_options(self.name, options, self.options)
        return TiffEncoder.of(spec, info, options)


@dataclass(frozen=True)
class OmeTiffFormat(TiffFormat):
    """A TIFF with OME-XML, by its name; it is opened as any TIFF."""

    name: ClassVar[str] = "OME-TIFF"
    extensions: ClassVar[tuple[str, ...]] = (".ome.tif", ".ome.tiff")
    is_read: ClassVar[bool] = False

    def encoder(self, spec: Spec, info: Mapping[str, Any], options: Options) -> Encoder:
        from imgrs.io.tiff.write import TiffEncoder

        check_options(self.name, options, self.options)
        return TiffEncoder.of(spec, info, options, ome=True)
