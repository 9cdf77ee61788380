"""Which files an image is made from: whose metadata it has, and what a save loses of it that its pixels look different by."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

from imgrs.errors import MetadataWarning
from imgrs.graph.node import Node, walk
from imgrs.io import formats, metadata
from imgrs.io.format import Format, Reader
from imgrs.ops import bands, geometry, source

_SRGB = re.compile(r"\bs(RGB|Gray)\b")
"""In the description of a profile that says what is assumed without one."""


def readers(node: Node) -> list[Reader]:
    """All files that an image is made from, its own first."""
    return [found.op.reader for found in walk([node]) if isinstance(found.op, source.Open)]


def info_of(node: Node) -> dict[str, Any]:
    """The metadata of the file whose image goes on in this one: of the first input, at each operation.

    An image that is laid over a color, as large as itself, goes on: so does what ``remove_transparency`` makes. An image of
    other pixels than its file's has no use for the thumbnail that EXIF may have.
    """
    at, turned = node, False
    while at.inputs:
        turned = turned or isinstance(at.op, geometry.ExifTranspose)
        at = at.inputs[1 if _is_flattening(at) else 0]
    if not isinstance(at.op, source.Open):
        return {}
    info = dict(at.op.reader.info)
    if at is node:
        return info
    return metadata.remade(metadata.upright(info) if turned else info, node.spec.size)


def _is_flattening(node: Node) -> bool:
    op = node.op
    return (
        isinstance(op, bands.Blend)
        and op.position == (0, 0)
        and isinstance(node.inputs[0].op, source.New)
        and node.inputs[1].spec.size == node.spec.size
    )


def tell_of_losses(node: Node, format: Format, info: Mapping[str, Any], given: Mapping[str, Any], depth: int) -> None:
    """Warn, ``depth`` calls above, of a save that loses colors, or how the image lies; ``given`` are its own options."""
    lost = []
    if "icc_profile" not in given:
        kept = metadata.fitting(info, node.spec).get("icc_profile") if "icc_profile" in format.options else None
        lost += _profile_lost(node, format, kept)
    turned = metadata.orientation(info) != 1 and node.spec.encoding != "statistic"
    if turned and "exif" not in format.options:
        lost.append(
            f"{format.name} does not hold how an image lies, and orientation {metadata.orientation(info)} is lost; "
            "set it upright by imgrs.open(..., orient=True) or exif_transpose()"
        )
    for message in lost:
        warnings.warn(f"save: {message}", MetadataWarning, stacklevel=depth + 1)


def _profile_lost(node: Node, format: Format, kept: bytes | None) -> list[str]:
    """What there is to say of the first file whose colors are by another profile than the one that is saved."""
    for reader in _colored_by(node):
        profile = reader.info.get("icc_profile")
        if _meaning(profile) == _meaning(kept):
            continue
        name = "sRGB" if profile is None else repr(metadata.profile_name(profile))
        if "icc_profile" not in format.options:
            holding = ", ".join(f.name for f in formats() if f.is_written and f.is_read and "icc_profile" in f.options)
            why = f"{format.name} holds no color profile; save as {holding}"
        else:
            why = (
                "an image has the profile of its first file, while it is of the same color space; give icc_profile=..."
            )
        return [f"colors that are by {name} will look different: {why}, or leave it out on purpose by metadata=False"]
    return []


def _colored_by(node: Node) -> list[Reader]:
    """The files whose colors are in an image: not those of which it has opacity, or numbers, only."""
    found, waiting, seen = [], [node], set()
    while waiting:
        at = waiting.pop()
        if at in seen or at.spec.encoding == "statistic":
            continue
        seen.add(at)
        inputs = at.inputs
        if isinstance(at.op, source.Open):
            found.append(at.op.reader)
        elif isinstance(at.op, bands.Blend):
            inputs = inputs[:2]  # the third is a mask
        elif isinstance(at.op, bands.Merge) and at.spec.alpha:
            inputs = inputs[:-1]
        elif isinstance(at.op, bands.Band) and at.op.index >= inputs[0].spec.colors:
            continue
        waiting += reversed(inputs)
    return found


def _meaning(profile: bytes | None) -> bytes:
    """What tells a profile from others; nothing of the one that is assumed where there is none."""
    return b"" if profile is None or _SRGB.search(metadata.profile_name(profile)) else profile
