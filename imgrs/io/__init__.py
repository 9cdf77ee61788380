"""Files in and out: formats are recognized by content when opened, and by name or extension when saved."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping

from imgrs.errors import ArgumentError, ArgumentTypeError, UnsupportedFormatError
from imgrs.io import heif
from imgrs.io.fill import FilledReader
from imgrs.io.folder import MARKS, Folder
from imgrs.io.format import Format, Reader
from imgrs.io.resource import Resource, resource_of

HEAD = 64
"""Bytes by which a format is recognized."""


def formats() -> tuple[Format, ...]:
    """Every format, in the order in which content is tried."""
    from imgrs.io import pillow_formats as pillow
    from imgrs.io.avif import AvifFormat
    from imgrs.io.bmp import BmpFormat
    from imgrs.io.deepzoom import DeepZoomFormat
    from imgrs.io.gif import GifFormat
    from imgrs.io.ico import IcoFormat
    from imgrs.io.iiif import IiifFormat
    from imgrs.io.jpeg2000 import Jpeg2000Format
    from imgrs.io.jpegxl import JpegXlFormat
    from imgrs.io.npy import NpyFormat
    from imgrs.io.pnm import PamFormat, PfmFormat, PnmFormat
    from imgrs.io.qoi import QoiFormat
    from imgrs.io.raw import RawFormat
    from imgrs.io.slides import SlideFormat
    from imgrs.io.tiff import OmeTiffFormat, TiffFormat
    from imgrs.io.webp import WebpFormat
    from imgrs.io.zarr_format import ZarrFormat

    return (
        TiffFormat(),
        OmeTiffFormat(),
        pillow.PngFormat(),
        pillow.JpegFormat(),
        WebpFormat(),
        AvifFormat(),
        JpegXlFormat(),
        Jpeg2000Format(),
        GifFormat(),
        BmpFormat(),
        PnmFormat(),
        PamFormat(),
        PfmFormat(),
        QoiFormat(),
        IcoFormat(),
        NpyFormat(),
        RawFormat(),
        DeepZoomFormat(),
        IiifFormat(),
        pillow.TgaFormat(),
        ZarrFormat(),
        SlideFormat(),
    )


@functools.cache
def extensions() -> tuple[str, ...]:
    """The extensions of all formats: ``".tif"``, ``".ome.tif"``, ``".jpg"``, ..."""
    return tuple(extension for format in formats() for extension in format.extensions)


def holds_image(folder: str) -> bool:
    """Whether a folder is itself an image, by the documents in it."""
    return any(os.path.isfile(os.path.join(folder, mark)) for mark in MARKS)


def open_source(source: object, fill: bool = False) -> Reader:
    """Read the header of a path, a URL, bytes or a file object; ``fill`` is for files that are damaged.

    Raises ``ImageNotFoundError``, ``UnsupportedFormatError``, ``CorruptImageError`` or ``LimitError``.
    """
    resource = resource_of(source)
    reader = _recognized(resource).open(resource)
    return FilledReader(reader) if fill else reader


def _recognized(resource: Resource) -> Format:
    if isinstance(resource, Folder):
        return next(format for format in formats() if set(format.marks) & set(resource.marks))
    from imgrs.io import slides

    if slides.named(resource):
        return slides.SlideFormat()
    head = resource.read(0, HEAD)
    if not head:
        raise UnsupportedFormatError(f"{resource.name} is empty, not an image")
    for format in formats():
        if format.is_read and format.matches(head):
            return format
    if heif.is_heif(head):
        way = "convert it to AVIF or TIFF, with heif-convert or by the camera's own export"
        raise UnsupportedFormatError(f"{resource.name} is HEIF, which cannot be read: {heif.REASON}; {way}")
    if slides.detected(resource):
        return slides.SlideFormat()
    for format in formats():
        if not format.is_read and (format.matches(head) or resource.name.lower().endswith(format.extensions)):
            return format  # which says why it cannot be opened
    known = ", ".join(format.name for format in formats() if format.is_read)
    kind = "text" if head.isascii() and head.decode("ascii").isprintable() else "not an image of a known format"
    raise UnsupportedFormatError(f"{resource.name} is {kind}; the known formats are {known}")


def format_for(path: str | None, name: str | None, parameter: str = "format") -> Format:
    """The format to save as: by its name (as Pillow has it, any case), else by the path's extension.

    ``parameter`` is what the caller calls the name. Raises ``ArgumentError``, without the caller's own name.
    """
    if name is not None and not isinstance(name, str):
        raise ArgumentTypeError(f"{parameter} must be a name, got {type(name).__name__}")
    by_name: Mapping[str, Format] = {format.name: format for format in formats() if format.is_written}
    by_extension = {extension: format for format in by_name.values() for extension in format.extensions}
    known = ", ".join(by_name)
    wanted = f".{name.lower().lstrip('.')}" if name is not None else os.path.splitext(path or "")[1].lower()
    if wanted in heif.EXTENSIONS:
        raise ArgumentError(f"HEIF cannot be written: {heif.REASON}; save as AVIF, which is alike")
    if name is not None:
        found = by_name.get(name.upper()) or by_extension.get(f".{name.lower().lstrip('.')}")
        if found is None:
            raise ArgumentError(f"{parameter} must be one of {known}, got {name!r}")
        return found
    if path is None:
        raise ArgumentError(f"a file object needs format=, one of {known}")
    endings = [extension for extension in by_extension if path.lower().endswith(extension)]
    if not endings:
        extension = os.path.splitext(path)[1].lower()
        raise ArgumentError(f"no format has the extension {extension!r}; give format=, one of {known}")
    return by_extension[max(endings, key=len)]
