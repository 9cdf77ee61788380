"""Writing GIF: up to 256 colors are kept as they are, more are reduced to 256; a pixel is opaque, or clear and without color.

Frames are read by Pillow, which puts each on the ones before it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from imgrs.errors import SaveError
from imgrs.io.format import Choices, Encoder, Reader, WholeEncoder
from imgrs.io.pillow import PillowFormat, PillowReader
from imgrs.io.profiles import gif_profile, with_gif_profile
from imgrs.io.resource import Resource
from imgrs.types import Pixels, Spec

if TYPE_CHECKING:
    import PIL.Image


@dataclass(frozen=True)
class GifFormat(PillowFormat):
    name: ClassVar[str] = "GIF"
    extensions: ClassVar[tuple[str, ...]] = (".gif",)
    kinds = (("L", "uint8"), ("RGB", "uint8"), ("RGBA", "uint8"))
    options: ClassVar[Choices] = {"optimize": bool, "icc_profile": bytes}
    carried = ("icc_profile",)
    longest = 65_535

    def open(self, resource: Resource) -> Reader:
        return GifReader(resource, self.name)

    def matches(self, head: bytes) -> bool:
        return head[:6] in (b"GIF87a", b"GIF89a")

    def checked_encoder(self, spec: Spec, options: dict[str, Any]) -> Encoder:
        return GifEncoder(spec, bool(options.get("optimize")), options.get("icc_profile"))


class GifReader(PillowReader):
    """A frame of a GIF, by Pillow, with the color profile that Pillow overlooks."""

    def described(self, image: PIL.Image.Image) -> tuple[Spec, dict[str, Any]]:
        spec, info = super().described(image)
        profile = gif_profile(self.resource)
        return spec, info if profile is None else {**info, "icc_profile": profile}

    def frame(self, page: int) -> Reader:
        return GifReader(self.resource, self.format, page)


@dataclass(frozen=True)
class GifEncoder(WholeEncoder):
    """One GIF to be written."""

    spec: Spec
    optimize: bool
    profile: bytes | None = None

    def encode(self, pixels: Pixels) -> bytes | memoryview:
        import PIL.Image

        options: dict[str, Any] = {"optimize": self.optimize}
        if self.spec.bands == 1:
            image = PIL.Image.fromarray(pixels[..., 0])
        else:
            clear = _clear(pixels) if self.spec.alpha else None
            indices, palette = _indexed(pixels[..., :3], clear)
            image = PIL.Image.frombytes("P", self.spec.size, indices.tobytes())
            image.putpalette(palette)
            if clear is not None and clear.any():
                options["transparency"] = len(palette) // 3 - 1
        file = io.BytesIO()
        image.save(file, "GIF", **options)
        return with_gif_profile(file.getvalue(), self.profile) if self.profile else file.getbuffer()


def _clear(pixels: Pixels) -> Pixels:
    """Which pixels are clear. Raises ``SaveError`` where some are neither that nor opaque."""
    opacity = pixels[..., 3]
    partial = int(((opacity > 0) & (opacity < 255)).sum())
    if partial:
        raise SaveError(
            f"save: GIF pixels are opaque or clear, and {partial:,} are in between;"
            ' convert("RGB"), threshold the alpha band, or save as PNG or WebP'
        )
    clear: Pixels = opacity == 0
    return clear


def _indexed(colors: Pixels, clear: Pixels | None) -> tuple[Pixels, bytes]:
    """The number of each pixel's color, and the palette; where there are clear pixels its last color stands for them."""
    held = 256 if clear is None or not clear.any() else 255
    packed = colors[..., 0].astype(np.uint32) << 16 | colors[..., 1].astype(np.uint32) << 8 | colors[..., 2]
    seen = np.zeros(1 << 24, bool)
    seen[packed if held == 256 or clear is None else packed[~clear]] = True
    found = np.flatnonzero(seen)
    if len(found) <= held:
        numbers = np.zeros(1 << 24, np.uint8)
        numbers[found] = np.arange(len(found))
        indices = numbers[packed]
        palette = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1).astype(np.uint8).tobytes()
    else:
        indices, palette = _reduced(colors, held)
    if held == 255 and clear is not None:
        indices[clear] = len(palette) // 3
        palette += bytes(3)
    return indices, palette


def _reduced(colors: Pixels, held: int) -> tuple[Pixels, bytes]:
    """The nearest of so many colors that Pillow finds by median cut."""
    import PIL.Image

    image = PIL.Image.fromarray(np.ascontiguousarray(colors)).quantize(held, dither=PIL.Image.Dither.NONE)
    palette = image.getpalette() or []
    return np.array(image), bytes(palette)
