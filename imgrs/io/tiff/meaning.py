"""What the samples of a TIFF page mean: the spec of its image, and how stored samples become those of the spec.

Samples of 2 to 7 bits become 8, those of 9 to 15 become 16, scaled to the full range as Pillow does it for 2 and 4;
palettes become RGB of 8 bits, the high bytes of their 16, as Pillow and libtiff read them. float16 becomes float32,
which holds all of its values. What does not fit a spec exactly is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imgrs.errors import CorruptImageError, UnsupportedFormatError
from imgrs.io.tiff.decode import APERIO_YCC, JPEGS, PICTURES
from imgrs.types import FULL_SCALE, Pixels, Spec

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, CMYK, YCBCR = range(7)
_REFUSED = {
    8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32803: "raw sensor", 32844: "LogL", 32845: "LogLuv",
    34892: "raw sensor", 51177: "depth map",
}  # fmt: skip
_WAY = "open it with tifffile, and hand what you make of its array to imgrs.fromarray()"


@dataclass(frozen=True)
class Meaning:
    """The spec of a page, and how it is reached."""

    spec: Spec
    bits: int
    """Of a stored sample."""
    inverted: bool = False
    associated: bool = False
    """Whether color is stored multiplied by alpha."""
    palette: Pixels | None = field(default=None, repr=False, compare=False)
    ycbcr: tuple[float, ...] | None = None
    """Where color is stored as Y, Cb and Cr: the weights of red and blue in Y, then black and white of each."""

    @property
    def converting_bytes(self) -> int:
        """Bytes that ``finish`` takes for each pixel, beside what it gives: those that are stored, and sums in float64."""
        spec, stored = self.spec, 0
        if self.palette is not None or spec.dtype in ("bool", "float32") or self.bits < 8 * spec.itemsize:
            stored = spec.pixel_bytes
        if self.inverted:
            stored += spec.pixel_bytes
        if self.ycbcr is not None:
            return stored + 16 * 3 * 3
        return stored + 8 * 4 * spec.bands if self.associated else stored

    def finish(self, pixels: Pixels) -> Pixels:
        """Samples of the spec from stored ones, of shape (rows, columns, stored samples)."""
        spec = self.spec
        if self.palette is not None:
            expanded: Pixels = self.palette[pixels[..., 0]]
            return expanded
        if spec.dtype == "bool":
            return np.equal(pixels, 0) if self.inverted else np.not_equal(pixels, 0)
        if spec.dtype == "float32":
            pixels = pixels.astype(np.float32, copy=False)
        elif self.bits < 8 * spec.itemsize:
            pixels = _scaled(pixels, self.bits, spec)
        if self.inverted:
            pixels[..., : spec.colors] = np.asarray(spec.full_scale, pixels.dtype) - pixels[..., : spec.colors]
        if self.ycbcr is not None:
            pixels[..., :3] = _rgb(pixels[..., :3], self.ycbcr)
        return _straight(pixels, spec) if self.associated else pixels


def meaning_of(name: str, page: Any, compression: int) -> Meaning:
    """Read from a page as tifffile has it. Raises ``UnsupportedFormatError`` for what no spec holds."""
    bits, samples, photometric = page.bitspersample, int(page.samplesperpixel), int(page.photometric)
    dtype = _dtype(name, page, bits)
    if photometric in _REFUSED:
        raise UnsupportedFormatError(f"{name}: {_REFUSED[photometric]} images are not supported; {_WAY}")
    extra = tuple(int(value) for value in page.extrasamples)
    size = int(page.imagewidth), int(page.imagelength)
    if photometric == PALETTE:
        return Meaning(Spec(*size, 3, False, "uint8", "srgb"), bits, palette=_palette(name, page, bits, samples))
    alpha = bool(extra) and extra[-1] in (1, 2)
    if photometric == RGB and samples == 4 and not extra:
        alpha = True  # a writer that forgot to say so, as Pillow takes it
    colors = samples - alpha
    encoding = "multiband"
    if photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, MASK) and colors == 1:
        encoding = "gray"
    elif photometric in (RGB, YCBCR) and colors == 3:
        encoding = "srgb"
    elif photometric == CMYK and samples == 4 and page.tags.valueof(332, 1) == 1:
        encoding, alpha = "cmyk", False
    elif samples == 1:
        encoding = "gray"
    if encoding == "multiband":
        alpha = False
    if dtype == "bool" and samples > 1:
        raise UnsupportedFormatError(f"{name}: 1-bit images of {samples} bands are not supported; {_WAY}")
    ycbcr = None
    if (photometric == YCBCR and compression not in PICTURES) or compression == APERIO_YCC:
        ycbcr = _ycbcr(name, page, dtype, encoding)
    elif photometric == YCBCR and (compression not in JPEGS or int(page.planarconfig) == 2):
        raise UnsupportedFormatError(f"{name}: YCbCr by planes or in {page.compression!r} is not supported; {_WAY}")
    return Meaning(
        Spec(*size, samples, alpha, dtype, encoding),
        bits,
        inverted=photometric == WHITE_IS_ZERO,
        associated=alpha and bool(extra) and extra[-1] == 1,
        ycbcr=ycbcr,
    )


def _dtype(name: str, page: Any, bits: Any) -> str:
    kind = None if page.dtype is None or not isinstance(bits, int) else np.dtype(page.dtype).kind
    if kind in ("u", "b") and bits <= 16:
        return "bool" if bits == 1 and int(page.photometric) != PALETTE else "uint8" if bits <= 8 else "uint16"
    if kind == "f" and bits in (16, 32):
        return "float32"
    what = {"u": "unsigned", "i": "signed", "f": "floating-point", "c": "complex"}.get(kind or "", "unusual")
    raise UnsupportedFormatError(f"{name}: {what} samples of {bits} bits are not supported; {_WAY}")


def _palette(name: str, page: Any, bits: int, samples: int) -> Pixels:
    if samples != 1:
        raise UnsupportedFormatError(f"{name}: a palette image with {samples} samples a pixel is not supported; {_WAY}")
    shape = np.shape(page.colormap)
    if len(shape) != 2 or shape[0] != 3 or shape[1] < 1 << bits:
        raise CorruptImageError(f"{name}: a palette image without a palette of {1 << bits:,} colors")
    colors = np.asarray(page.colormap, np.uint16).T
    return np.ascontiguousarray((colors >> 8 if colors.max() > 255 else colors).astype(np.uint8))  # some stop at 255


def _ycbcr(name: str, page: Any, dtype: str, encoding: str) -> tuple[float, ...]:
    if dtype != "uint8" or encoding != "srgb":
        raise UnsupportedFormatError(f"{name}: YCbCr of {dtype} is not supported; {_WAY}")
    weights = _ratios(page.tags.valueof(529), 3) or (0.299, 0.587, 0.114)
    levels = _ratios(page.tags.valueof(532), 6) or (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)
    red, blue = weights[0], weights[2]
    if not (0 < red < 1 and 0 < blue < 1 and red + blue < 1) or 0 in np.diff(levels)[::2]:
        raise CorruptImageError(f"{name}: the YCbCr coefficients {weights} and levels {levels} have no inverse")
    return (red, blue, *levels)


def _ratios(value: Any, count: int) -> tuple[float, ...] | None:
    if not isinstance(value, tuple) or len(value) != 2 * count or 0 in value[1::2]:
        return None
    return tuple(above / below for above, below in zip(value[::2], value[1::2], strict=True))


def _scaled(pixels: Pixels, bits: int, spec: Spec) -> Pixels:
    """Samples of few bits over the full range, rounded half up."""
    full, most = int(FULL_SCALE[spec.dtype]), (1 << bits) - 1
    table = (2 * full * np.arange(most + 1, dtype=np.int64) + most) // (2 * most)
    scaled: Pixels = table.astype(spec.dtype)[pixels]
    return scaled


def _rgb(pixels: Pixels, ycbcr: tuple[float, ...]) -> Pixels:
    """TIFF 6.0, section 21, rounded half up."""
    red, blue, *levels = ycbcr
    black, white = np.asarray(levels[::2]), np.asarray(levels[1::2])
    y, cb, cr = np.moveaxis((pixels.astype(np.float64) - black) * (255, 127, 127) / (white - black), 2, 0)
    r, b = y + cr * (2 - 2 * red), y + cb * (2 - 2 * blue)
    g = (y - red * r - blue * b) / (1 - red - blue)
    return np.clip(np.floor(np.stack((r, g, b), axis=-1) + 0.5), 0, 255).astype(np.uint8)


def _straight(pixels: Pixels, spec: Spec) -> Pixels:
    """Color that was stored multiplied by alpha, without; black where alpha is 0. Integers are rounded half up."""
    full, alpha = np.float64(spec.full_scale), pixels[..., -1:].astype(np.float64)
    straight = pixels.astype(np.float64)
    straight[..., :-1] = np.divide(
        straight[..., :-1] * full, alpha, out=np.zeros_like(straight[..., :-1]), where=alpha > 0
    )
    if spec.dtype != "float32":
        straight = np.clip(np.floor(straight + 0.5), 0, full)
    return straight.astype(spec.dtype)
