"""Files in and out: formats are recognized by content when opened, and by name or extension when saved."""

from __future__ import annotations

import codecs
import functools
import importlib
import os
from collections.abc import Iterator

from imgrs.errors import ArgumentError, ArgumentTypeError, UnsupportedFormatError
from imgrs.io import heif
from imgrs.io.fill import FilledReader
from imgrs.io.folder import MARKS, Folder
from imgrs.io.format import Format, Reader
from imgrs.io.resource import Resource, resource_of

HEAD = 64
"""Bytes by which a format is recognized."""


_FORMATS = (
    ("tiff.format", "TiffFormat"), ("tiff.format", "OmeTiffFormat"), ("png.format", "PngFormat"), ("jpeg.format", "JpegFormat"),
    ("webp", "WebpFormat"), ("avif", "AvifFormat"), ("jpegxl", "JpegXlFormat"), ("jpeg2000", "Jpeg2000Format"),
    ("gif", "GifFormat"), ("bmp", "BmpFormat"), ("pnm", "PnmFormat"), ("pnm", "PamFormat"), ("pnm", "PfmFormat"),
    ("qoi", "QoiFormat"), ("ico", "IcoFormat"), ("npy", "NpyFormat"), ("raw", "RawFormat"), ("deepzoom", "DeepZoomFormat"),
    ("iiif", "IiifFormat"), ("tga", "TgaFormat"), ("zarr.format", "ZarrFormat"), ("slides", "SlideFormat"),
)  # fmt: skip
"""Module and class of each format, by name: loading all of them takes longer than opening a file."""


def formats() -> Iterator[Format]:
    """Every format, in the order in which content and names are tried; each is loaded when it is its turn."""
    for module, name in _FORMATS:
        yield getattr(importlib.import_module(f"imgrs.io.{module}"), name)()


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
    kind = "text" if _is_text(head) else "not an image of a known format"
    raise UnsupportedFormatError(f"{resource.name} is {kind}; the known formats are {known}")


def _is_text(head: bytes) -> bool:
    """Whether a file that begins with ``head`` looks like UTF-8 text, whose last letter may be cut."""
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        return False
    return bool(text) and all(letter.isprintable() or letter in "\t\n\f\r" for letter in text)


def format_for(path: str | None, name: str | None, parameter: str = "format") -> Format:
    """The format to save as: by its name (as Pillow has it, any case), else by the path's extension.

    ``parameter`` is what the caller calls the name. Raises ``ArgumentError``, without the caller's own name.
    """
    if name is not None and not isinstance(name, str):
        raise ArgumentTypeError(f"{parameter} must be a name, got {type(name).__name__}")
    endings = _endings(path or "") if name is None else [f".{name.lower().lstrip('.')}"]
    if {*endings} & {*heif.EXTENSIONS}:
        raise ArgumentError(f"HEIF cannot be written: {heif.REASON}; save as AVIF, which is alike")
    for ending in endings:
        for format in formats():
            if format.is_written and (ending in format.extensions or (name or "").upper() == format.name):
                return format
    known = ", ".join(format.name for format in formats() if format.is_written)
    if name is not None:
        raise ArgumentError(f"{parameter} must be one of {known}, got {name!r}")
    if path is None:
        raise ArgumentError(f"a file object needs format=, one of {known}")
    extension = os.path.splitext(path)[1].lower()
    raise ArgumentError(f"no format has the extension {extension!r}; give format=, one of {known}")


def _endings(path: str) -> list[str]:
    """The extensions that a path may have, the longest first: ``.ome.tif``, ``.tif``."""
    outer, last = os.path.splitext(path.lower())
    inner = os.path.splitext(outer)[1]
    return [inner + last, last] if inner == ".ome" else [last]
