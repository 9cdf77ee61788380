"""Files in and out: formats are recognized by content when opened, and by name or extension when saved."""

from __future__ import annotations

import os
from collections.abc import Mapping

from imgrs.errors import ArgumentError, ArgumentTypeError, UnsupportedFormatError
from imgrs.io.format import Format, Reader
from imgrs.io.resource import Resource, resource_of

HEAD = 64
"""Bytes by which a format is recognized."""


def formats() -> tuple[Format, ...]:
    """Every format, in the order in which content is tried."""
    from imgrs.io import pillow_formats as pillow
    from imgrs.io.deepzoom import DeepZoomFormat
    from imgrs.io.iiif import IiifFormat
    from imgrs.io.npy import NpyFormat
    from imgrs.io.pnm import PnmFormat
    from imgrs.io.slides import SlideFormat
    from imgrs.io.tiff import OmeTiffFormat, TiffFormat

    return (
        TiffFormat(),
        OmeTiffFormat(),
        pillow.PngFormat(),
        pillow.JpegFormat(),
        pillow.WebpFormat(),
        pillow.AvifFormat(),
        pillow.Jpeg2000Format(),
        pillow.GifFormat(),
        pillow.BmpFormat(),
        PnmFormat(),
        pillow.QoiFormat(),
        pillow.IcoFormat(),
        NpyFormat(),
        DeepZoomFormat(),
        IiifFormat(),
        pillow.TgaFormat(),
        SlideFormat(),
    )


def open_source(source: object) -> Reader:
    """Read the header of a path, a URL, bytes or a file object.

    Raises ``ImageNotFoundError``, ``UnsupportedFormatError``, ``CorruptImageError`` or ``LimitError``.
    """
    resource = resource_of(source)
    return _recognized(resource).open(resource)


def _recognized(resource: Resource) -> Format:
    from imgrs.io import slides

    if slides.named(resource):
        return slides.SlideFormat()
    head = resource.read(0, HEAD)
    if not head:
        raise UnsupportedFormatError(f"{resource.name} is empty, not an image")
    for format in formats():
        if format.is_read and format.matches(head):
            return format
    if slides.detected(resource):
        return slides.SlideFormat()
    known = ", ".join(format.name for format in formats() if format.is_read)
    kind = "text" if head.isascii() and head.decode("ascii").isprintable() else "not an image of a known format"
    raise UnsupportedFormatError(f"{resource.name} is {kind}; the known formats are {known}")


def format_for(path: str | None, name: str | None) -> Format:
    """The format to save as: by its name (as Pillow has it, any case), else by the path's extension."""
    if name is not None and not isinstance(name, str):
        raise ArgumentTypeError(f"save: format must be a name, got {type(name).__name__}")
    by_name: Mapping[str, Format] = {format.name: format for format in formats() if format.is_written}
    by_extension = {extension: format for format in by_name.values() for extension in format.extensions}
    known = ", ".join(by_name)
    if name is not None:
        found = by_name.get(name.upper()) or by_extension.get(f".{name.lower().lstrip('.')}")
        if found is None:
            raise ArgumentError(f"save: format must be one of {known}, got {name!r}")
        return found
    if path is None:
        raise ArgumentError(f"save: a file object needs format=, one of {known}")
    endings = [extension for extension in by_extension if path.lower().endswith(extension)]
    if not endings:
        extension = os.path.splitext(path)[1].lower()
        raise ArgumentError(f"save: no format has the extension {extension!r}; give format=, one of {known}")
    return by_extension[max(endings, key=len)]
