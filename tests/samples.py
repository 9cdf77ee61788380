"""Good files of every kind that is read, small and made on the spot: what tests then damage."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from imgrs.io.png.chunks import SIGNATURE, chunk

Array: TypeAlias = npt.NDArray[Any]


def saved(array: Array, format: str, mode: str | None = None, **options: Any) -> bytes:
    """An array as a file, written by Pillow."""
    from PIL import Image

    file, image = io.BytesIO(), Image.fromarray(array)
    (image.convert(mode) if mode else image).save(file, format, **options)
    return file.getvalue()


def written(array: Array, **options: Any) -> bytes:
    """An array as a TIFF, written by tifffile."""
    import tifffile

    file = io.BytesIO()
    if options.get("planarconfig") == "separate":
        array = np.moveaxis(array, 2, 0)
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def picture(bands: int = 3, size: tuple[int, int] = (83, 61), dtype: str = "uint8") -> Array:
    """Something smooth with a little noise: it compresses as photographs do."""
    width, height = size
    y, x, band = np.mgrid[:height, :width, :bands]
    noise = np.random.default_rng(0).integers(0, 8, (height, width, bands))
    values = (128 + 90 * np.sin(x / 17 + band) * np.cos(y / 13)).astype(int) + noise
    pixels: Array = values.astype(np.uint8) if dtype == "uint8" else (values * 257).astype(dtype)
    return pixels[..., 0] if bands == 1 else pixels


def sample(name: str) -> bytes:
    """The file of that name, one of ``SAMPLES``."""
    return SAMPLES[name]()


def photograph() -> bytes:
    """EXIF of a photograph that lies on its side."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x011A] = "Maker", 6, 1.5
    exif.get_ifd(0x8769)[0x829A], exif.get_ifd(0x8825)[2] = 0.01, (1.0, 2.0, 3.0)
    made: bytes = exif.tobytes()
    return made


def profile() -> bytes:
    """A color profile."""
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _pages(frames: list[Array]) -> bytes:
    import tifffile

    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for frame in frames:
            writer.write(frame, photometric="rgb", compression="zlib", tile=(32, 32), subifds=1)
            writer.write(frame[::2, ::2], photometric="rgb", compression="zlib", tile=(32, 32), subfiletype=1)
    return file.getvalue()


def _frames(frames: list[Array], format: str) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    first, *others = [Image.fromarray(frame) for frame in frames]
    first.save(file, format, save_all=True, append_images=others, duration=50)
    return file.getvalue()


def _encoded(codec: str, array: Array, **options: Any) -> bytes:
    import imagecodecs

    return bytes(getattr(imagecodecs, f"{codec}_encode")(array, **options))


def _npy(array: Array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def interlaced(array: Array) -> bytes:
    """A PNG in Adam7 order, which no library at hand writes: seven images of every eighth, fourth and second pixel."""
    steps = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    rows = b""
    for left, top, across, down in steps:
        for row in array[top::down, left::across]:
            rows += b"\0" + row.tobytes()
    height, width = array.shape[:2]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1))
    return SIGNATURE + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _tiff(array: Array, **options: Any) -> Callable[[], bytes]:
    return lambda: written(array, **options)


def _pillow(format: str, array: Array, **options: Any) -> Callable[[], bytes]:
    return lambda: saved(array, format, **options)


_RGB, _RGBA, _GRAY, _DEEP = picture(3), picture(4), picture(1), picture(3, dtype="uint16")
_BITS = _GRAY > 128
_SAID: dict[str, Any] = {
    "exif": photograph(),
    "icc_profile": profile(),
    "xmp": b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>",
}
_SHIFTED = [np.roll(_RGB, 9 * i, axis=1) for i in range(3)]
_TILES: dict[str, Any] = {"photometric": "rgb", "tile": (32, 32)}

SAMPLES: dict[str, Callable[[], bytes]] = {
    "TIFF none tiled": _tiff(_RGB, **_TILES),
    "TIFF none striped": _tiff(_RGB, photometric="rgb", rowsperstrip=20),
    "TIFF zlib tiled": _tiff(_RGB, **_TILES, compression="zlib"),
    "TIFF zlib striped": _tiff(_RGB, photometric="rgb", rowsperstrip=20, compression="zlib"),
    "TIFF zlib planar": _tiff(_RGB, **_TILES, planarconfig="separate", compression="zlib"),
    "TIFF zlib big": _tiff(_RGB, **_TILES, bigtiff=True, compression="zlib"),
    "TIFF zlib big-endian": _tiff(_DEEP, photometric="rgb", byteorder=">", compression="zlib", rowsperstrip=20),
    "TIFF zlib predictor": _tiff(_DEEP, **_TILES, compression="zlib", predictor=True),
    "TIFF zlib float": _tiff(_GRAY.astype("f4"), compression="zlib", predictor=True, tile=(32, 32)),
    "TIFF zlib alpha": _tiff(_RGBA, **_TILES, extrasamples=["unassalpha"], compression="zlib"),
    "TIFF zlib pages": lambda: _pages(_SHIFTED),
    "TIFF lzw tiled": _tiff(_RGB, **_TILES, compression="lzw"),
    "TIFF lzw palette": _pillow("TIFF", _GRAY, mode="P", compression="tiff_lzw"),
    "TIFF packbits": _tiff(_RGB, **_TILES, compression="packbits"),
    "TIFF zstd": _tiff(_RGB, **_TILES, compression="zstd"),
    "TIFF lzma": _tiff(_RGB, **_TILES, compression="lzma"),
    "TIFF jpeg": _tiff(_RGB, **_TILES, compression="jpeg"),
    "TIFF webp": _tiff(_RGB, **_TILES, compression="webp"),
    "TIFF jpeg2000": _tiff(_RGB, **_TILES, compression="jpeg2000"),
    "TIFF jpegxl": _tiff(_RGB, **_TILES, compression="jpegxl"),
    "TIFF fax": _pillow("TIFF", _BITS, compression="group4"),
    "TIFF bits": _pillow("TIFF", _BITS),
    "PNG rgb": _pillow("PNG", _RGB),
    "PNG rgba": _pillow("PNG", _RGBA, dpi=(72, 72)),
    "PNG palette": _pillow("PNG", _GRAY, mode="P", transparency=3),
    "PNG bits": _pillow("PNG", _BITS),
    "PNG deep": lambda: _encoded("png", _DEEP),
    "PNG interlaced": lambda: interlaced(_RGB),
    "PNG said": _pillow("PNG", _RGB, **_SAID),
    "PNG frames": lambda: _frames(_SHIFTED, "PNG"),
    "JPEG plain": _pillow("JPEG", _RGB),
    "JPEG gray": _pillow("JPEG", _GRAY, dpi=(72, 72)),
    "JPEG progressive": _pillow("JPEG", _RGB, progressive=True),
    "JPEG restarts": _pillow("JPEG", _RGB, restart_marker_rows=1),
    "JPEG said": _pillow("JPEG", _RGB, **_SAID),
    "JPEG cmyk": _pillow("JPEG", _RGBA, mode="CMYK"),
    "WEBP lossy": _pillow("WEBP", _RGB),
    "WEBP lossless": _pillow("WEBP", _RGB, lossless=True),
    "WEBP alpha": _pillow("WEBP", _RGBA, quality=50),
    "WEBP said": _pillow("WEBP", _RGB, **_SAID),
    "WEBP frames": lambda: _frames(_SHIFTED, "WEBP"),
    "AVIF rgb": _pillow("AVIF", _RGB, speed=10),
    "AVIF said": _pillow("AVIF", _RGB, speed=10, **_SAID),
    "AVIF alpha": _pillow("AVIF", _RGBA, speed=10),
    "JPEG2000 boxes": _pillow("JPEG2000", _RGB),
    "JPEG2000 bare": _pillow("JPEG2000", _GRAY, no_jp2=True),
    "JXL lossless": lambda: _encoded("jpegxl", _RGB, lossless=True),
    "JXL lossy": lambda: _encoded("jpegxl", _RGBA, level=80),
    "GIF one": _pillow("GIF", _GRAY),
    "GIF frames": lambda: _frames(_SHIFTED, "GIF"),
    "BMP rgb": _pillow("BMP", _RGB),
    "BMP palette": _pillow("BMP", _GRAY, mode="P"),
    "BMP bits": _pillow("BMP", _BITS),
    "ICO png": _pillow("ICO", _RGBA[:48, :48], sizes=[(48, 48)]),
    "ICO bmp": _pillow("ICO", _RGBA[:48, :48], sizes=[(48, 48), (16, 16)], bitmap_format="bmp"),
    "TGA plain": _pillow("TGA", _RGB),
    "TGA run-length": _pillow("TGA", _RGBA, compression="tga_rle"),
    "TGA palette": _pillow("TGA", _GRAY, mode="P"),
    "QOI rgb": lambda: _encoded("qoi", _RGB),
    "PPM color": _pillow("PPM", _RGB),
    "PPM gray": _pillow("PPM", _GRAY),
    "PPM bits": _pillow("PPM", _BITS),
    "PPM text": lambda: b"P3 83 61\n255\n" + b" ".join(b"%d" % value for value in _RGB.ravel()),
    "PAM rgba": lambda: b"P7\nWIDTH 83\nHEIGHT 61\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n" + _RGBA.tobytes(),
    "PFM gray": lambda: b"Pf\n83 61\n-1.0\n" + _GRAY.astype("<f4").tobytes(),
    "NPY rgb": lambda: _npy(_RGB),
    "NPY float": lambda: _npy(_GRAY.astype("f4")),
}
"""Makers of files by name, of which the first word is the format."""
