"""What a TIFF page says beside its pixels, under Pillow's names; its description, its name, and its OME-XML as a dict."""

from __future__ import annotations

from typing import Any
from xml.parsers import expat

from imgrs.errors import CorruptImageError
from imgrs.io.metadata import TURNS
from imgrs.io.resource import Resource, as_file

APERIO = "Aperio"
"""How the description of a page of an SVS slide begins."""
TITLE = 1_000
"""Characters up to which a description is a title for EXIF, which JPEG limits to 64 KiB."""
_EXIF, _GPS = 34665, 34853
_PHOTOGRAPH = (_EXIF, _GPS, 271, 272, 306, 315, 33432)
"""Tags that tell of a photograph: directories of EXIF, the camera, when, by whom."""
_ABOUT = (
    270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 316, 318, 319, 531, 18246, 18249, 33432, *range(40091, 40096), 50341,
    _EXIF, _GPS,
)  # fmt: skip
"""The tags of a page that EXIF has, too, and that tell about a photograph, not about how it is stored."""
_SIZES = ("SizeX", "SizeY", "SizeZ", "SizeC", "SizeT", "SizeM")


def info_of(resource: Resource, file: Any, page: Any, compression: str) -> dict[str, Any]:
    """The metadata of a page as tifffile has it. Raises ``CorruptImageError`` for OME-XML that declares a document type."""
    info: dict[str, Any] = {"compression": compression}
    tags = page.tags
    resolution = tags.valueof(282), tags.valueof(283)
    if all(isinstance(value, tuple) and len(value) == 2 and value[1] for value in resolution):
        unit = {2: 1.0, 3: 2.54}.get(int(page.resolutionunit), 0.0)
        if unit:
            info["dpi"] = tuple(value[0] / value[1] * unit for value in resolution)
    profile = tags.valueof(34675)
    if isinstance(profile, bytes):
        info["icc_profile"] = profile
    packet = tags.valueof(700)
    if packet:
        info["xmp"] = packet if isinstance(packet, bytes) else str(packet).encode()
    lies = tags.valueof(274)
    if isinstance(lies, int) and (int(lies) in TURNS or packet):  # of 1 where XMP may say otherwise
        info["orientation"] = int(lies)
    if any(tag in tags for tag in _PHOTOGRAPH):
        exif = _exif(resource, file, page)
        if exif is not None:
            info["exif"] = exif
    if page.description:
        info["description"] = str(page.description)
    name = _name(page)
    if name:
        info["name"] = name
    ome = ome_of(resource.name, str(file.pages.first.description or ""))
    if ome is not None:
        info["ome"] = ome
    return info


def _exif(resource: Resource, file: Any, page: Any) -> bytes | None:
    """EXIF as other formats hold it, with what this page's tables say about the photograph."""
    import PIL.Image

    exif = PIL.Image.Exif()
    exif.bigtiff, exif.endian = file.tiff.is_bigtiff, file.byteorder
    try:
        with as_file(resource) as opened:
            exif.load_from_fp(opened, page.offset)
            for tag in [tag for tag in exif if tag not in _ABOUT or (tag == 270 and len(page.description) > TITLE)]:
                del exif[tag]
            exif.get_ifd(_EXIF)
            exif.get_ifd(_GPS)
            exif.bigtiff = False
            made: bytes = exif.tobytes()
    except Exception:  # EXIF is written by many hands; what cannot be read says nothing, and the pixels are there
        return None
    return made


def _name(page: Any) -> str | None:
    """What the page is called: by its own tag, or by what slides mark their images with."""
    called = page.tags.valueof(285)
    if isinstance(called, str) and called:
        return called
    magnification = page.tags.valueof(65421)
    if magnification in (-1.0, -2.0):
        return "macro" if magnification == -1.0 else "map"
    description = str(page.description or "")
    if not description.startswith(APERIO):
        return None
    if page.index == 0:
        return "baseline"
    if not page.is_tiled and page.index == 1:
        return "thumbnail"
    _, _, rest = description.partition("\n")
    word = rest.split()[0] if rest.split() else ""
    return word if word.isalpha() else None


def ome_of(name: str, description: str) -> dict[str, Any] | None:
    """The first image of OME-XML: its sizes, and the names of its channels; None where there is no OME-XML.

    Raises ``CorruptImageError`` where a document type is declared: entities can grow without bound.
    """
    if not description.rstrip().endswith("OME>"):
        return None
    found: dict[str, Any] = {}
    channels: list[str | None] = []
    parser = expat.ParserCreate(namespace_separator=" ")

    def start(tag: str, attributes: dict[str, str]) -> None:
        element = tag.rpartition(" ")[2]
        if element == "Image" and "Name" in attributes:
            found["Name"] = attributes["Name"]
        elif element == "Pixels":
            found.update({name: int(attributes[name]) for name in _SIZES if name in attributes})
            found.update({name: float(attributes[name]) for name in attributes if name in _PHYSICAL})
            found.update({name: attributes[name] for name in attributes if name in _TEXTS})
        elif element == "Channel":
            channels.append(attributes.get("Name") or attributes.get("ID"))
        elif element in ("TiffData", "Plane", "BinData", "MetadataOnly"):
            raise _EnoughError

    def end(tag: str) -> None:
        if tag.rpartition(" ")[2] == "Pixels":
            raise _EnoughError

    def refuse(*declared: Any) -> None:
        raise CorruptImageError(
            f"{name}: its OME-XML declares a document type, which is refused: it may grow without end"
        )

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(description.encode(), True)
    except _EnoughError:
        pass
    except (expat.ExpatError, ValueError):  # what cannot be read says nothing; the text is there as it is
        return None
    if channels:
        found["Channels"] = channels
    return found or None


_PHYSICAL = ("PhysicalSizeX", "PhysicalSizeY", "PhysicalSizeZ", "TimeIncrement")
_TEXTS = (*(f"{name}Unit" for name in _PHYSICAL), "DimensionOrder", "Type")


class _EnoughError(Exception):
    """Everything of interest stands before this."""
