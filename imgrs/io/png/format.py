"""PNG as a format: how it is recognized, and what a save of it may say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from imgrs.errors import ArgumentError
from imgrs.io.format import Choices, Encoder, Reader
from imgrs.io.pillow import PillowFormat
from imgrs.io.resource import Resource
from imgrs.types import Spec


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
        from imgrs.io.png.read import PngReader

        return PngReader(resource)

    def checked_encoder(self, spec: Spec, options: dict[str, Any]) -> Encoder:
        from imgrs.io.png.write import PngEncoder

        try:
            options.get("xmp", b"").decode("utf-8")
        except UnicodeDecodeError as error:
            raise ArgumentError(f'PNG holds XMP in UTF-8, and this is not: {error}; leave it out by xmp=b""') from None
        level = 9 if options.pop("optimize", False) else options.pop("compress_level", 3)
        options.pop("compress_level", None)
        return PngEncoder(spec, level, tuple(options.items()))

    def matches(self, head: bytes) -> bool:
        return head[:8] == b"\x89PNG\r\n\x1a\n"
