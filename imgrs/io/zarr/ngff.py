"""What OME-NGFF (https://ngff.openmicroscopy.org, versions 0.1 to 0.5) says about arrays: axes, sizes, channels.

Plain data in and out: documents come as parsed JSON, of which nothing is believed before it was looked at.
"""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imgrs.errors import CorruptImageError, UnsupportedFormatError
from imgrs.types import Spec

KINDS = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
"""What an axis is by its name, where its type is not said."""
METERS = {
    "angstrom": 1e-10, "nanometer": 1e-9, "micrometer": 1e-6, "millimeter": 1e-3, "centimeter": 1e-2, "meter": 1.0,
    "inch": 0.0254,
}  # fmt: skip
INCH = 0.0254
KEPT = ("icc_profile", "exif", "xmp")
"""Metadata that OME has no place for, as bytes."""
_OURS = "imgrs"
COLORS = {
    ("gray", True): (("gray", "FFFFFF"), ("alpha", "FFFFFF")),
    ("srgb", False): (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF")),
    ("srgb", True): (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF"), ("alpha", "FFFFFF")),
    ("cmyk", False): (("cyan", "00FFFF"), ("magenta", "FF00FF"), ("yellow", "FFFF00"), ("black", "000000")),
}
"""The label and the color of the channels of each color space, with alpha or without."""


@dataclass(frozen=True)
class Axis:
    """An axis of an array: ``"x"``, what it measures (``"space"``, ``"time"``, ``"channel"``), and in which unit."""

    name: str
    kind: str
    unit: str | None = None


@dataclass(frozen=True)
class Multiscale:
    """One image in several sizes, the largest first."""

    name: str | None
    axes: tuple[Axis, ...]
    paths: tuple[str, ...]
    """The array of each size."""
    scales: tuple[tuple[float, ...] | None, ...]
    """How large a pixel of each size is along each axis, where that is said."""
    channels: tuple[Mapping[str, Any], ...]
    """How each channel is to be shown: ``label``, ``color``, ``window``, ..."""


@dataclass(frozen=True)
class Layout:
    """Which axes of an array are rows, columns and bands; every other one counts pages."""

    y: int
    x: int
    band: int | None
    pages: tuple[int, ...] = ()


def described(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a group's attributes that OME speaks of: since 0.5 it is in a dictionary of its own."""
    ome = attributes.get("ome")
    return ome if isinstance(ome, dict) else attributes


def multiscale(attributes: Mapping[str, Any], name: str) -> Multiscale | None:
    """The first image of the group ``name``, None where it describes none. Raises ``CorruptImageError``."""
    described_ = described(attributes)
    if "multiscales" not in described_:
        return None
    images = _list(described_["multiscales"], name, "multiscales")
    image = _dict(images[0] if images else None, name, "multiscales[0]")
    axes = tuple(_axis(axis, name) for axis in _list(image.get("axes", list(KINDS)), name, "axes"))
    datasets = [_dict(d, name, "datasets") for d in _list(image.get("datasets"), name, "datasets")]
    paths = tuple(str(dataset.get("path")) for dataset in datasets)
    if not paths or len(set(paths)) != len(paths):
        raise CorruptImageError(f"{name}: its datasets are {', '.join(paths) or 'missing'}")
    whole = _scale(image, len(axes))
    scales = []
    for dataset in datasets:
        own = _scale(dataset, len(axes))
        both = own and whole and tuple(a * b for a, b in zip(own, whole, strict=True))
        scales.append(both or own or whole)
    omero = described_.get("omero")
    channels = omero.get("channels") if isinstance(omero, dict) else None
    shown = tuple(c for c in channels if isinstance(c, dict)) if isinstance(channels, list) else ()
    title = image.get("name")
    return Multiscale(title if isinstance(title, str) else None, axes, paths, tuple(scales), shown)


def _axis(axis: Any, name: str) -> Axis:
    if isinstance(axis, str):  # 0.3
        return Axis(axis, KINDS.get(axis, ""))
    found = _dict(axis, name, "axes")
    title, unit = str(found.get("name")), found.get("unit")
    return Axis(title, str(found.get("type") or KINDS.get(title, "")), unit if isinstance(unit, str) else None)


def _scale(holder: Mapping[str, Any], axes: int) -> tuple[float, ...] | None:
    """The scale among coordinate transformations, where it is one positive number for each axis."""
    transformations = holder.get("coordinateTransformations")
    for transformation in transformations if isinstance(transformations, list) else ():
        if isinstance(transformation, dict) and transformation.get("type") == "scale":
            scale = transformation.get("scale")
            if isinstance(scale, list) and len(scale) == axes and all(_positive(value) for value in scale):
                return tuple(float(value) for value in scale)
    return None


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 1e-300 < value < 1e300


def _list(value: Any, name: str, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise CorruptImageError(f"{name}: {what} must be a list, not {type(value).__name__}")
    return value


def _dict(value: Any, name: str, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CorruptImageError(f"{name}: {what} must be a dictionary, not {type(value).__name__}")
    return value


def layout(axes: Sequence[Axis], name: str) -> Layout:
    """Where rows, columns and bands are. Raises ``UnsupportedFormatError`` where they are not said."""
    names = [axis.name for axis in axes]
    space = [i for i, axis in enumerate(axes) if axis.kind == "space"]
    if len(set(names)) != len(names) or len(space) < 2:
        raise UnsupportedFormatError(
            f"{name}: an image has different axes, two of them of space, not {', '.join(names)}"
        )
    y, x = (names.index("y"), names.index("x")) if {"y", "x"} <= set(names) else (space[-2], space[-1])
    bands = [i for i, axis in enumerate(axes) if axis.kind == "channel" and i not in (y, x)]
    band = bands[0] if bands else None
    return Layout(y, x, band, tuple(i for i in range(len(axes)) if i not in (y, x, band)))


def meaning(bands: int, dtype: str, channels: Sequence[Mapping[str, Any]]) -> tuple[str, bool]:
    """The color space of an image by its channels, and whether the last is alpha.

    One band is gray. Channels called red, green and blue (and alpha), as imgrs writes them, are RGB; so are three bands of
    uint8 in those colors, or of which nothing is said. All others, such as stains, are bands without a color meaning.
    """
    if bands == 1:
        return "gray", False
    labels = tuple(str(channel.get("label")).lower() for channel in channels)
    colors = tuple(str(channel.get("color")).upper() for channel in channels)
    for (encoding, alpha), known in COLORS.items():
        if labels == tuple(label for label, _ in known):
            return encoding, alpha
    primaries = tuple(color for _, color in COLORS["srgb", False])
    if bands == 3 and dtype == "uint8" and (not channels or colors == primaries):
        return "srgb", False
    return "multiband", False


def info(image: Multiscale) -> dict[str, Any]:
    """What an image says about itself, under imgrs's names; sizes of pixels also as ``dpi``, as other formats have it."""
    found: dict[str, Any] = {"axes": "".join(axis.name for axis in image.axes)}
    if image.name:
        found["name"] = image.name
    scale = image.scales[0]
    if scale is not None:
        measured = [i for i, axis in enumerate(image.axes) if axis.kind in ("space", "time")]
        found["pixel_size"] = {image.axes[i].name: scale[i] for i in measured}
        units = {image.axes[i].name: image.axes[i].unit for i in measured if image.axes[i].unit}
        if units:
            found["pixel_unit"] = units
        meters = {name: METERS.get(unit or "") for name, unit in units.items()}
        sizes = [found["pixel_size"].get(name, 0) * (meters.get(name) or 0) for name in ("x", "y")]
        if all(sizes):
            found["dpi"] = (INCH / sizes[0], INCH / sizes[1])
    if image.channels:
        found["channels"] = [dict(channel) for channel in image.channels]
    return found


def kept(attributes: Mapping[str, Any]) -> dict[str, bytes]:
    """What ``attributes`` has put beside OME's part: metadata for which that has no place. Nonsense says nothing."""
    ours = attributes.get(_OURS)
    found = {}
    for name in KEPT:
        text = ours.get(name) if isinstance(ours, dict) else None
        if isinstance(text, str):
            with contextlib.suppress(ValueError):
                found[name] = base64.b64decode(text, validate=True)
    return found


def attributes(
    axes: str,
    levels: int,
    pixel: tuple[float, float] | None,
    name: str | None,
    channels: Sequence[Mapping[str, Any]],
    beside: Mapping[str, bytes],
) -> dict[str, Any]:
    """What the group of an image says, in version 0.5: ``levels`` sizes of it, named by number, each half of the last.

    ``pixel`` is the width and height of a pixel in micrometers. A pixel of a copy is the mean of four, so that its middle
    lies between theirs. ``beside`` is metadata of ``KEPT``, which goes in base64 into a dictionary of its own, "imgrs".
    """
    sides = dict(zip("xy", pixel or (1.0, 1.0), strict=True))
    unit = {} if pixel is None else {"unit": "micrometer"}
    datasets = []
    for level in range(levels):
        scale = [sides[axis] * (1 << level) if axis in sides else 1.0 for axis in axes]
        transformations: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if level:
            shift = [sides.get(axis, 0.0) * ((1 << level) - 1) / 2 for axis in axes]
            transformations.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(level), "coordinateTransformations": transformations})
    image: dict[str, Any] = {
        "axes": [{"name": axis, "type": KINDS[axis]} | (unit if axis in sides else {}) for axis in axes],
        "datasets": datasets,
    }
    if name is not None:
        image["name"] = name
    if levels > 1:
        image["type"] = "mean"
    said: dict[str, Any] = {"version": "0.5", "multiscales": [image]}
    if channels:
        said["omero"] = {"channels": list(channels)}
    ours = {name: base64.b64encode(data).decode("ascii") for name, data in beside.items()}
    return {"ome": said, _OURS: ours} if ours else {"ome": said}


def channels(spec: Spec, known: Any) -> tuple[dict[str, Any], ...]:
    """How each band of an image is to be shown: by its color space, else as ``known`` channels of a source say."""
    colors = COLORS.get((spec.encoding, spec.alpha), ())
    if spec.bands == 1 or spec.encoding == "multiband":
        colors = tuple((f"channel {band}", "FFFFFF") for band in range(spec.bands))
    window = {"start": 0, "end": spec.full_scale, "min": 0, "max": spec.full_scale}
    made: list[dict[str, Any]] = [{"label": label, "color": color, "window": window} for label, color in colors]
    if spec.encoding == "multiband" and isinstance(known, list) and len(known) == spec.bands:
        for channel, said in zip(made, known, strict=True):
            label, color = (said.get(key) if isinstance(said, dict) else None for key in ("label", "color"))
            if isinstance(label, str):
                channel["label"] = label
            if isinstance(color, str) and re.fullmatch("[0-9a-fA-F]{6}", color):
                channel["color"] = color
    return tuple(made)
