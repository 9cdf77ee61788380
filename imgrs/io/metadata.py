"""What files say beside their pixels, under Pillow's names: ``exif``, ``xmp``, ``icc_profile`` (bytes), ``dpi``, ``text``.

``orientation`` is how a TIFF says what other formats say in EXIF: a number from 1 to 8 (EXIF 2.32, tag 0x0112).
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

from imgrs.io import exif_edit
from imgrs.types import Pixels, Spec

ORIENTATION = 0x0112
TURNS = {
    2: "flip_left_right", 3: "rotate_180", 4: "flip_top_bottom", 5: "transpose",
    6: "rotate_270", 7: "transverse", 8: "rotate_90",
}  # fmt: skip
"""The turn that sets an image of each orientation upright."""
SPACES = {"gray": b"GRAY", "srgb": b"RGB ", "cmyk": b"CMYK"}
"""What a color profile for an image of each encoding says at byte 16 (ICC.1:2022, 7.2.6)."""


_XMP_ORIENTATION = re.compile(rb"(\btiff:Orientation(?:=[\"']|>))([1-8])(?=[\"'<])")
"""Where XMP says how the image lies; readers such as Pillow look there where EXIF does not say it."""


def orientation(info: Mapping[str, Any]) -> int:
    """How the image lies, from 1 (upright) to 8; 1 where nothing, or nonsense, is said."""
    found = info.get("orientation")
    if found is None and "exif" in info:
        found = parsed_exif(info["exif"]).get(ORIENTATION)
    if found is None and (said := _XMP_ORIENTATION.search(info.get("xmp", b""))):
        found = int(said[2])
    return found if isinstance(found, int) and found in TURNS else 1


def upright(info: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of the image once it was set upright."""
    found = {name: value for name, value in info.items() if name != "orientation"}
    return with_orientation(found, 1)


def remade(info: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """The metadata of other pixels, of that width and height: without the thumbnail of those before."""
    if "exif" not in info:
        return dict(info)
    return {**info, "exif": exif_edit.resized(exif_edit.without_thumbnail(info["exif"]), size)}


def with_orientation(info: Mapping[str, Any], orientation: int) -> dict[str, Any]:
    """Metadata that says that the image lies as ``orientation`` says, whatever it said before."""
    found = dict(info)
    if "xmp" in info:
        found["xmp"] = _XMP_ORIENTATION.sub(rb"\g<1>%d" % orientation, info["xmp"])
    data = info.get("exif", b"")
    exif = parsed_exif(data)
    if exif.get(ORIENTATION, 1) == orientation:
        return found
    changed = exif_edit.with_number(data, ORIENTATION, orientation)
    if changed is not None:  # the rest stays as it is: damaged EXIF cannot be written again
        found["exif"] = changed
        return found
    exif[ORIENTATION] = orientation
    try:
        found["exif"] = exif.tobytes()
    except Exception:  # Pillow's writer fails in many ways on what its reader took from damaged EXIF
        found.pop("exif", None)
    return found


def fitting(info: Mapping[str, Any], spec: Spec) -> dict[str, Any]:
    """The metadata that is true of an image like ``spec``: without a color profile that is of another color space."""
    found = dict(info)
    if "icc_profile" in found and found["icc_profile"][16:20] != SPACES.get(spec.encoding):
        del found["icc_profile"]
    return found


def turned_upright(pixels: Pixels, orientation: int) -> Pixels:
    """The pixels of an image that lies as ``orientation`` says, upright, as a view."""
    if orientation > 4:
        pixels = pixels.transpose(1, 0, 2)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::rows, ::columns]


def exif_bytes(info: Mapping[str, Any]) -> bytes | None:
    """EXIF for a format that has it, with the orientation that a TIFF keeps elsewhere; None where there is none."""
    if "exif" in info:
        found: bytes = info["exif"]
        return found
    if orientation(info) == 1:
        return None
    exif = parsed_exif(b"")
    exif[ORIENTATION] = orientation(info)
    made: bytes = exif.tobytes()
    return made


def plain(info: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata as text, numbers, and lists and dicts of them: EXIF by the names of its tags, profiles by theirs."""
    found: dict[str, Any] = {}
    for name, value in info.items():
        if name == "exif":
            found[name] = _named_tags(value)
        elif name == "icc_profile":
            found[name] = profile_name(value)
        else:
            found[name] = _plain(value)
    return found


def parsed_exif(data: bytes) -> Any:
    """EXIF as Pillow reads it: a ``PIL.Image.Exif``, empty where the data are nonsense."""
    import PIL.Image

    exif = PIL.Image.Exif()
    try:
        exif.load(data)
        exif.get(ORIENTATION)
    except Exception:  # EXIF is written by many hands; what cannot be read says nothing
        return PIL.Image.Exif()
    return exif


def profile_name(data: bytes) -> str:
    """How a color profile describes itself; its length where it does not."""
    from PIL import ImageCms

    try:
        return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(data))).strip()
    except (ImageCms.PyCMSError, OSError):
        return f"{len(data)} bytes"


def _named_tags(data: bytes) -> dict[str, Any]:
    from PIL import ExifTags

    exif = parsed_exif(data)
    tags = dict(exif)
    names = {number: name for name, number in ExifTags.Base.__members__.items()}
    for group in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        tags.pop(group, None)
        inner = exif.get_ifd(group)
        if group == ExifTags.IFD.GPSInfo and inner:
            gps = {number: name for name, number in ExifTags.GPS.__members__.items()}
            tags["GPSInfo"] = {gps.get(tag, str(tag)): value for tag, value in inner.items()}
        else:
            inner.pop(ExifTags.IFD.Interop, None)  # where the next directory is, not what is in it
            tags.update(inner)
    return {names.get(tag, str(tag)): _plain(value) for tag, value in tags.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, bytes):
        try:
            return value.rstrip(b"\0").decode("utf-8")
        except UnicodeDecodeError:
            return f"{len(value)} bytes"
    if isinstance(value, (str, int, bool)) or value is None:
        return value
    number = float(value)  # floats, and the ratios of EXIF
    return int(number) if number.is_integer() else number
