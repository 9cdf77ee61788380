"""Deep Zoom: ``name.dzi`` beside ``name_files/LEVEL/COLUMN_ROW.jpg``, where level 0 is one pixel.

The layout is Microsoft's, as OpenSeadragon reads it; tiles do not overlap.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from imgrs.io.format import Encoder, Options
from imgrs.io.tiles import TilesEncoder, TilesFormat
from imgrs.types import Spec

DOCUMENT = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" Format="{suffix}" Overlap="0" TileSize="{side}">\n'
    '  <Size Width="{width}" Height="{height}"/>\n'
    "</Image>\n"
)


@dataclass(frozen=True)
class DeepZoomFormat(TilesFormat):
    name: ClassVar[str] = "DZI"
    extensions: ClassVar[tuple[str, ...]] = (".dzi",)

    def encoder(self, spec: Spec, info: Mapping[str, Any], options: Options) -> Encoder:
        levels = (max(spec.size) - 1).bit_length() + 1
        return DeepZoomEncoder(spec, **DeepZoomEncoder.checked(self, spec, info, options), levels=levels)


@dataclass(frozen=True)
class DeepZoomEncoder(TilesEncoder):
    """A Deep Zoom image: two names, which cannot change in one step.

    An old document goes first, then the folders of tiles change places, then the new document comes: where the process is
    killed between, the image is missing, never mixed of old and new.
    """

    folder: ClassVar[str] = "0"

    def parts(self, target: str) -> Mapping[str, str]:
        return {"image_files": f"{os.path.splitext(target)[0]}_files", "image.dzi": target}

    def name(self, level: int, column: int, row: int) -> str:
        return f"image_files/{self.levels - 1 - level}/{column}_{row}.{self.suffix}"

    def documents(self) -> dict[str, bytes]:
        text = DOCUMENT.format(suffix=self.suffix, side=self.side, width=self.spec.width, height=self.spec.height)
        return {"image.dzi": text.encode()}
