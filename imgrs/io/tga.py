"""TGA, through Pillow: it has no signature, so that its header has to make sense."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from imgrs.io.format import Choices
from imgrs.io.pillow import PillowFormat


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
