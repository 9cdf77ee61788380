"""BMP: rows of plain samples are read by region and written by tile; packed and odd kinds are left to Pillow."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from imgrs.errors import ArgumentError
from imgrs.io.format import Choices, Encoder, Format, Options, Reader
from imgrs.io.options import check_bytes, check_dpi, check_image, check_options
from imgrs.io.pillow import PillowReader
from imgrs.io.plain import PlainEncoder, PlainReader
from imgrs.io.profiles import bmp_colors, bmp_profile
from imgrs.io.resource import Resource
from imgrs.types import Spec

if TYPE_CHECKING:
    import PIL.Image

_KINDS = {
    1: (1, False, "bool", "gray", (0,)),
    8: (1, False, "uint8", "gray", (0,)),
    24: (3, False, "uint8", "srgb", (2, 1, 0)),
    32: (4, True, "uint8", "srgb", (2, 1, 0, 3)),
}
"""Bands, alpha, dtype, encoding and the order of stored bands, by the bits of a pixel."""
_MASKS = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
_LARGEST = (1 << 32) - 1 - 2_048
"""Bytes of pixels and a profile of which the header can still say where they end."""
_PER_INCH = 39.3701
"""Inches in a meter, as Pillow has it."""


@dataclass(frozen=True)
class BmpFormat(Format):
    name: ClassVar[str] = "BMP"
    extensions: ClassVar[tuple[str, ...]] = (".bmp", ".dib")
    options: ClassVar[Choices] = {"dpi": tuple, "icc_profile": bytes}
    kinds = (("1", "bool"), ("L", "uint8"), ("RGB", "uint8"), ("RGBA", "uint8"))

    def matches(self, head: bytes) -> bool:
        return head[:2] == b"BM"

    def open(self, resource: Resource) -> Reader:
        return _plain(resource) or BmpReader(resource, self.name)

    def encoder(self, spec: Spec, info: Mapping[str, Any], options: Options) -> Encoder:
        check_image(self.name, spec, self.kinds)
        check_options(self.name, options, self.options)
        dpi = check_dpi(self.name, options.get("dpi", info.get("dpi", (96, 96))))
        profile = check_bytes(self.name, "icc_profile", options.get("icc_profile", info.get("icc_profile"))) or b""
        bits = 1 if spec.dtype == "bool" else 8 * spec.bands
        rows = -(-spec.width * bits // 32) * 4 * spec.height
        if profile and rows + len(profile) > _LARGEST:
            raise ArgumentError('BMP of 4 GiB and more holds no color profile; give icc_profile=b"", or save as TIFF')
        header = _header(spec, bits, rows, dpi, len(profile))
        packed = bits == 1
        return PlainEncoder(spec, header, "u1", _KINDS[bits][4], end=profile, align=4, upward=True, packed=packed)


class BmpReader(PillowReader):
    """A BMP of a kind that is not written here."""

    def described(self, image: PIL.Image.Image) -> tuple[Spec, dict[str, Any]]:
        spec, info = super().described(image)
        profile = bmp_profile(self.resource)
        return spec, info if profile is None else {**info, "icc_profile": profile}


def _header(spec: Spec, bits: int, rows: int, dpi: tuple[float, float], profile: int) -> bytes:
    """All before the pixels, which take ``rows`` bytes; behind them follow so many of a profile."""
    # 40 bytes are usual; 108 say where each band is, and 124 where the profile is.
    length = 124 if profile else 108 if spec.alpha else 40
    palette = _shades(bits)
    start = 14 + length + len(palette)
    end = start + rows + profile
    # A size that does not fit says nothing; readers have it from the sides.
    size, data = (end, rows) if end <= _LARGEST else (0, 0)
    per_meter = [round(side * _PER_INCH) for side in dpi]
    header = struct.pack("<2sIHHI", b"BM", size, 0, 0, start)
    header += struct.pack("<IiiHH", length, *spec.size, 1, bits)
    header += struct.pack("<IIiiII", 3 if spec.alpha else 0, data, *per_meter, len(palette) // 4, 0)
    if length > 40:
        header += _MASKS if spec.alpha else bytes(len(_MASKS))
        header += bmp_colors(start + rows, profile) if profile else b"BGRs" + bytes(48)
    return header + palette


def _shades(bits: int) -> bytes:
    """The palette of grays that an image of 1 or 8 bits has."""
    return b"".join(bytes((v, v, v, 0)) for v in {1: (0, 255), 8: range(256)}.get(bits, ()))


def _plain(resource: Resource) -> PlainReader | None:
    """The reader of a file of one of the kinds that are written here; None for others, and for damaged ones."""
    head = resource.read(0, 54 + 84 + 1024)
    if len(head) < 54:
        return None
    start, length, width, height, _, bits, packing = struct.unpack_from("<IIiiHHI", head, 10)
    across, down, colors = struct.unpack_from("<iiI", head, 38)
    palette = head[14 + length : 14 + length + 4 * (colors or 1 << min(bits, 8))]
    inverted = bits == 1 and palette[:3] == b"\xff\xff\xff" and palette[4:7] == bytes(3)
    as_written = {
        1: packing == 0 and (inverted or _same_grays(palette, _shades(1))),
        8: packing == 0 and _same_grays(palette, _shades(8)),
        24: packing == 0,
        32: packing == 3 and length >= 56 and head[54:70] == _MASKS,
    }
    if length not in (40, 52, 56, 108, 124) or not as_written.get(bits) or width <= 0 or height in (0, -(1 << 31)):
        return None
    bands, alpha, dtype, encoding, order = _KINDS[bits]
    spec = Spec(width, abs(height), bands, alpha, dtype, encoding)
    info: dict[str, Any] = {"dpi": (across / _PER_INCH, down / _PER_INCH)} if across > 0 and down > 0 else {}
    profile = bmp_profile(resource)
    if profile is not None:
        info["icc_profile"] = profile
    packed = bits == 1
    return PlainReader(
        resource,
        "BMP",
        spec,
        start,
        "u1",
        order=order,
        align=4,
        upward=height > 0,
        packed=packed,
        inverted=inverted,
        info=info,
    )


def _same_grays(palette: bytes, shades: bytes) -> bool:
    """Whether a palette is that of grays; its fourth bytes mean nothing."""
    return len(palette) == len(shades) and all(palette[i::4] == shades[i::4] for i in range(3))
