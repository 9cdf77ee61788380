"""What the bytes of a TIFF's tile or strip decode to: samples as they are stored, before they are given a meaning.

imagecodecs decodes, and ISA-L inflates, no more than the tables promise, so that a lying stream is refused before it takes
memory. LZW goes through libtiff, in Pillow: imagecodecs' own ends the process on damaged data. The decoders of LERC and
JPEG XR do, too, and run apart.
"""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from imgrs.errors import CorruptImageError, TruncatedImageError
from imgrs.io.apart import decoded_apart
from imgrs.io.deflate import inflated
from imgrs.io.tiff.predictor import sums
from imgrs.types import Pixels

LZW, OLD_JPEG, JPEG, PACKBITS, APERIO_YCC = 5, 6, 7, 32773, 33003
NAMES = {
    1: "raw", 2: "tiff_ccitt", 3: "group3", 4: "group4", LZW: "tiff_lzw", OLD_JPEG: "tiff_jpeg", JPEG: "jpeg",
    8: "tiff_adobe_deflate", PACKBITS: "packbits", 32946: "tiff_deflate", 34925: "lzma", 34926: "zstd", 50000: "zstd",
    33007: "jpeg", APERIO_YCC: "jpeg2000", 33004: "jpeg2000", 33005: "jpeg2000", 34712: "jpeg2000",
    34927: "webp", 50001: "webp", 34933: "png", 50002: "jpegxl", 52546: "jpegxl",
    34887: "lerc", 22610: "jpegxr", 34934: "jpegxr",
}  # fmt: skip
"""The compressions that are read; by Pillow's names where it has one."""
FAX = {2: "ccittrle", 3: "ccittfax3", 4: "ccittfax4"}
JPEGS = frozenset((OLD_JPEG, JPEG, 33007))
JPEGS_2000 = frozenset((APERIO_YCC, 33004, 33005, 34712))
APART = {34887: "lerc", 22610: "jpegxr", 34934: "jpegxr"}
PICTURES = JPEGS | JPEGS_2000 | {*APART, 34927, 50001, 34933, 50002, 52546}
"""Those whose streams are images, with a size of their own."""
DEFLATE = frozenset((8, 32946))
_BYTES = {PACKBITS: "packbits", 34925: "lzma", 34926: "zstd", 50000: "zstd"}
_IMAGES = {34927: "webp", 50001: "webp", 34933: "png", 50002: "jpegxl", 52546: "jpegxl"} | dict.fromkeys(
    JPEGS_2000, "jpeg2k"
)


@dataclass(frozen=True)
class Coding:
    """How the samples of a page are stored."""

    compression: int
    dtype: str
    """Of a sample once unpacked, in the file's byte order: ``">u2"``."""
    bits: int
    samples: int
    """Of a pixel, in one tile or strip."""
    predictor: int = 1
    bits_reversed: bool = False
    """FillOrder 2: the first pixel is in the lowest bit of a byte."""
    subsampling: tuple[int, int] = (1, 1)
    """How many pixels share a chroma sample, across and down, where they are not in a JPEG."""
    fax_options: int = 0
    jpeg_tables: bytes | None = None
    jpeg_header: bytes | None = None
    """What stands before each tile's data in a file that stores it once."""
    jpeg_colors: tuple[int | None, int | str | None] = (None, None)
    """Color space of the stream and of the result, as imagecodecs takes them; None is for libjpeg to tell."""

    @property
    def itemsize(self) -> int:
        return np.dtype(self.dtype).itemsize

    def stored_row(self, width: int) -> int:
        """Bytes of a row of pixels once decompressed."""
        return -(-width * self.samples * self.bits // 8)


def decoded(coding: Coding, data: bytes, size: tuple[int, int], inside: tuple[int, int]) -> Pixels:
    """The samples of a tile or strip, of shape (rows, columns, samples), at least as large as ``inside``.

    ``size`` is the width and height that it is stored with, ``inside`` those of its part inside the image; edge tiles
    of some writers hold no more than that. Raises ``CorruptImageError`` and what decoders raise.
    """
    if coding.compression in PICTURES:
        return _picture(coding, data, size, inside)
    import imagecodecs

    if coding.bits_reversed:
        data = bytes(imagecodecs.bitorder_decode(data))
    width, height = size
    if coding.compression in FAX:
        options: dict[str, Any] = {"t4options": coding.fax_options} if coding.compression == 3 else {}
        pixels: Pixels = getattr(imagecodecs, FAX[coding.compression] + "_decode")(data, height, width, **options)
        return pixels.reshape(height, width, 1)
    if coding.subsampling != (1, 1):
        return _with_chroma(coding, data, size, inside[1])
    row = coding.stored_row(width)
    data = _decompressed(coding.compression, data, row, height, inside[1])
    return _predicted(coding, _unpacked(coding, data[: row * height], width))


def _decompressed(compression: int, data: bytes, row: int, rows: int, needed: int) -> bytes:
    """At least ``needed`` rows of ``row`` bytes; at most ``rows``."""
    import imagecodecs

    if compression == LZW:
        return _unlzw(data, row, needed)
    if compression in DEFLATE:
        data = inflated(data, row * rows)
    elif compression != 1:
        data = getattr(imagecodecs, _BYTES[compression] + "_decode")(data, out=row * rows)
    if len(data) < row * needed:
        raise TruncatedImageError(f"it holds {len(data):,} bytes of {row * needed:,}")
    return data[: len(data) // row * row]


def _unlzw(data: bytes, row: int, rows: int) -> bytes:
    """Rows of bytes, by libtiff, which gets them as a small TIFF."""
    from PIL.TiffImagePlugin import TiffImageFile

    head, count = 8, 9
    tags = [(256, row), (257, rows), (258, 8), (259, LZW), (262, 1), (273, 0), (277, 1), (278, rows), (279, len(data))]
    start = head + 2 + 12 * count + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, start if tag == 273 else value) for tag, value in tags)
    file = b"II*\0" + struct.pack("<IH", head, count) + entries + bytes(4) + data
    with TiffImageFile(io.BytesIO(file)) as image:
        return image.tobytes()


def _unpacked(coding: Coding, data: bytes, width: int) -> Pixels:
    """Samples from whole rows of bits."""
    import imagecodecs

    dtype = np.dtype(coding.dtype)
    if coding.bits != 8 * dtype.itemsize:
        pixels = imagecodecs.packints_decode(data, dtype.newbyteorder("="), coding.bits, runlen=width * coding.samples)
    else:  # the bytes of differences of floats are in an order of their own
        pixels = np.frombuffer(data, dtype.newbyteorder("=") if coding.predictor == 3 else dtype)
    return pixels.reshape(-1, width, coding.samples).astype(dtype.newbyteorder("="), copy=False)


def _predicted(coding: Coding, pixels: Pixels) -> Pixels:
    """Samples from the differences between neighbors."""
    if coding.predictor == 2:
        return sums(pixels)
    if coding.predictor != 3:
        return pixels
    import imagecodecs

    restored: Pixels = imagecodecs.floatpred_decode(pixels, axis=-2)
    return restored


def _with_chroma(coding: Coding, data: bytes, size: tuple[int, int], needed: int) -> Pixels:
    """Y, Cb and Cr of each pixel, from blocks of several Y that share one Cb and one Cr (TIFF 6.0, section 21)."""
    width, height = size
    across, down = coding.subsampling
    columns, block = -(-width // across), across * down + 2
    rows, needed_rows = -(-height // down), -(-needed // down)
    data = _decompressed(coding.compression, data, columns * block, rows, needed_rows)
    blocks = np.frombuffer(data, np.uint8).reshape(-1, columns, block)
    luma = blocks[..., :-2].reshape(-1, columns, down, across).swapaxes(1, 2).reshape(-1, columns * across)
    chroma = blocks[..., -2:].repeat(down, axis=0).repeat(across, axis=1)
    return np.dstack((luma, chroma))[:, :width]


def _picture(coding: Coding, data: bytes, size: tuple[int, int], inside: tuple[int, int]) -> Pixels:
    decode, data = _decoder(coding, data, size)
    mismatch: ValueError | None = None
    for width, height in dict.fromkeys((size, inside, (size[0], inside[1]))):
        shape = (height, width) if coding.samples == 1 else (height, width, coding.samples)
        try:
            pixels = decode(data, shape, np.dtype(coding.dtype).newbyteorder("="))
        except ValueError as error:  # of another shape, which is seen before anything is decoded
            mismatch = error
        else:
            return pixels.reshape(height, width, coding.samples)
    raise CorruptImageError(f"its image does not fit: {mismatch}")


_Decode: TypeAlias = Callable[[bytes, tuple[int, ...], np.dtype[Any]], Pixels]


def _decoder(coding: Coding, data: bytes, size: tuple[int, int]) -> tuple[_Decode, bytes]:
    """What decodes a stream into an image of a given shape, and the whole stream."""
    import imagecodecs

    options: dict[str, Any] = {}
    if coding.compression in APART:
        name = APART[coding.compression]
        if name == "jpegxr":
            _check_jpeg_xr(data)
        return functools.partial(decoded_apart, name), data
    if coding.compression in JPEGS:
        function = imagecodecs.jpeg8_decode
        if coding.jpeg_header is not None:
            data = coding.jpeg_header + data + b"\xff\xd9"
        if b"\xff\xd9" not in data[-4096:]:
            raise TruncatedImageError("its JPEG data has no end")
        stream, result = coding.jpeg_colors
        options = {"tables": coding.jpeg_tables, "colorspace": stream, "outcolorspace": result}
    else:
        function = getattr(imagecodecs, _IMAGES[coding.compression] + "_decode")
        if function is imagecodecs.webp_decode:
            options = {"hasalpha": coding.samples == 4}  # it is left out of the stream where all is opaque
        if coding.compression in JPEGS_2000:
            _check_jpeg_2000(data, size)

    def decode(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Pixels:
        out = np.empty(shape, dtype)
        function(data, out=out, **options)
        return out

    return decode, data


def _check_jpeg_2000(data: bytes, size: tuple[int, int]) -> None:
    """Raise ``CorruptImageError`` for a larger image: OpenJPEG decodes before sizes are compared (ITU-T T.800, A.5.1)."""
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0 or len(data) < at + 24:
        raise CorruptImageError("it holds no JPEG 2000 data")
    right, bottom, left, top = struct.unpack(">IIII", data[at + 8 : at + 24])
    if right - left > size[0] or bottom - top > size[1]:
        raise CorruptImageError(f"its image is {right - left:,}x{bottom - top:,}")


def _check_jpeg_xr(data: bytes) -> None:
    """Raise ``TruncatedImageError`` where the stream is shorter than it says: what is missing decodes to gray."""
    if data[:4] != b"II\xbc\x01" or len(data) < 10:
        raise CorruptImageError("it holds no JPEG XR data")
    start = struct.unpack("<I", data[4:8])[0]
    count = int.from_bytes(data[start : start + 2], "little")
    values: dict[int, int] = {}
    for at in range(start + 2, min(start + 2 + 12 * count, len(data) - 11), 12):
        tag, _, _, value = struct.unpack("<HHII", data[at : at + 12])
        values[tag] = value
    if values.get(0xBCC0, len(data)) + values.get(0xBCC1, 1) > len(data):  # offset and length (ITU-T T.832, annex A)
        raise TruncatedImageError("its JPEG XR data ends early")
