"""Static IIIF: a folder that any web server can offer as an image of the IIIF Image API 3.0, at its level 0.

``info.json`` says which tiles there are; their files are named as a viewer asks for them:
``region/size/rotation/quality.format``. See https://iiif.io/api/image/3.0/.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from imgrs.errors import ArgumentError
from imgrs.io.format import Choices, Encoder, Options
from imgrs.io.tiles import TilesEncoder, TilesFormat
from imgrs.types import Spec

ANYWHERE = "https://example.com/iiif"
"""Where an image says it is unless the ``id`` option says otherwise."""


@dataclass(frozen=True)
class IiifFormat(TilesFormat):
    name: ClassVar[str] = "IIIF"
    extensions: ClassVar[tuple[str, ...]] = (".iiif",)
    options: ClassVar[Choices] = {**TilesFormat.options, "id": str}
    usual: ClassVar[Mapping[str, Any]] = {**TilesFormat.usual, "tile": 512, "id": ANYWHERE}
    notes: ClassVar[Mapping[str, str]] = {
        **TilesFormat.notes,
        "id": "give the URL at which the folder will be served: viewers ask there for the tiles",
    }

    def matches(self, head: bytes) -> bool:
        return b"iiif.io/api/image" in head

    def encoder(self, spec: Spec, info: Mapping[str, Any], options: Options) -> Encoder:
        shared = IiifEncoder.checked(self, spec, info, options)
        address = options.get("id", self.usual["id"])
        if not isinstance(address, str) or "://" not in address:
            raise ArgumentError(f"IIIF id must be the URL at which the folder will be, got {address!r}")
        levels = max(0, (-(-max(spec.size) // shared["side"]) - 1).bit_length()) + 1
        return IiifEncoder(spec, **shared, levels=levels, address=address.rstrip("/"))


@dataclass(frozen=True)
class IiifEncoder(TilesEncoder):
    """An IIIF image down to the copy that is one tile."""

    folder: ClassVar[str] = "info.json"
    address: str = ANYWHERE

    def name(self, level: int, column: int, row: int) -> str:
        (width, height), side = self.spec.size, self.side << level
        left, top = column * side, row * side
        across, down = min(side, width - left), min(side, height - top)
        region = "full" if (across, down) == (width, height) else f"{left},{top},{across},{down}"
        return f"{region}/{-(-across >> level)},{-(-down >> level)}/0/default.{self.suffix}"

    def documents(self) -> dict[str, bytes]:
        sizes = [self.size(level) for level in reversed(range(self.levels))]
        info = {
            "@context": "http://iiif.io/api/image/3/context.json",
            "id": self.address,
            "type": "ImageService3",
            "protocol": "http://iiif.io/api/image",
            "profile": "level0",
            "width": self.spec.width,
            "height": self.spec.height,
            "sizes": [{"width": width, "height": height} for width, height in sizes if max(width, height) <= self.side],
            "tiles": [{"width": self.side, "height": self.side, "scaleFactors": [1 << k for k in range(self.levels)]}],
            "preferredFormats": [self.suffix],
        }
        if self.suffix != "jpg":
            info["extraFormats"] = [self.suffix]
        return {"info.json": json.dumps(info, indent=2).encode()}
