"""Checks that formats share: which options a save may have, and which images.

Errors do not say which method was called: whoever calls puts its name before them (``imgrs.errors.said_by``).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from imgrs import config
from imgrs.errors import ArgumentError
from imgrs.types import Spec


def check_options(format: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise ``ArgumentError`` for an option that ``format`` does not have."""
    for name in given:
        if name not in known:
            has = ", ".join(sorted(known)) or "none"
            raise ArgumentError(f"{format} has no option {name!r}{meant(name, known)}; it has {has}")


def meant(name: str, known: Collection[str]) -> str:
    """A question for the option that a misspelled ``name`` may stand for: one of a format's, or one that all saves have."""
    near = difflib.get_close_matches(name.lower(), [*sorted(known), *config.NAMES, *_EVERY], 1)
    return f" (did you mean {near[0]!r}?)" if near else ""


_EVERY = ("metadata", "recipe", "resume", "format")
"""Options of a save that are neither a format's nor the engine's."""


def check_whole(format: str, name: str, value: Any, low: int, high: int) -> int:
    """``value`` as an integer from ``low`` to ``high``; raises ``ArgumentError``."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ArgumentError(f"{format} {name} must be a whole number from {low} to {high}, got {value!r}")
    return value


def check_allowed(format: str, name: str, value: Any, allowed: tuple[int, int] | tuple[str, ...]) -> None:
    """Raise ``ArgumentError`` unless ``value`` is a whole number from the first to the second, or one of these names."""
    if isinstance(allowed[0], int) and isinstance(allowed[1], int):
        check_whole(format, name, value, allowed[0], allowed[1])
    elif value not in allowed:
        raise ArgumentError(f"{format} {name} must be one of {', '.join(map(str, allowed))}, got {value!r}")


def check_flag(name: str, value: Any) -> bool:
    """``value`` where it is True or False; raises ``ArgumentError``."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise ArgumentError(f"{name} must be True or False, got {value!r}")


def check_bytes(format: str, name: str, value: Any) -> bytes | None:
    """``value`` where it is bytes or None, and None for none; raises ``ArgumentError``."""
    if value is None or isinstance(value, bytes):
        return value or None
    raise ArgumentError(f"{format} {name} must be bytes, got {type(value).__name__}")


def check_dpi(format: str, value: Any) -> tuple[float, float]:
    """``value`` as pixels per inch across and down; raises ``ArgumentError``."""
    try:
        across, down = (float(side) for side in value)
    except (TypeError, ValueError, ZeroDivisionError):
        across = down = math.nan
    if not (0 <= across < 1e9 and 0 <= down < 1e9):
        raise ArgumentError(f"{format} dpi must be two numbers, across and down, got {value!r}")
    return across, down


def check_side(format: str, spec: Spec, longest: int) -> None:
    """Raise ``ArgumentError`` for an image with more pixels a side than ``format`` holds."""
    if max(spec.size) > longest:
        raise ArgumentError(
            f"{format} holds at most {longest:,} pixels a side, the image is {spec.width:,}x{spec.height:,};"
            " resize() it or save as TIFF"
        )


def check_image(format: str, spec: Spec, kinds: Collection[tuple[str, str]]) -> None:
    """Raise ``ArgumentError`` unless (mode, dtype) is among ``kinds``; the message names the way out."""
    if (spec.mode, spec.dtype) not in kinds:
        raise ArgumentError(f"{format} cannot hold {spec.mode} images of {spec.dtype}; {_way(spec, kinds)}")


_LAYOUTS = {"1": "L", "I;16": "L", "F": "L"}
"""What ``convert`` makes a mode of one depth without changing the depth."""
_NEAREST = {
    "L": ("L", "RGB"),
    "LA": ("LA", "RGBA", "L", "RGB"),
    "RGB": ("RGB", "L"),
    "RGBA": ("RGBA", "RGB", "L"),
    "CMYK": ("CMYK", "RGB", "L"),
    "multiband": ("multiband",),
}
"""Layouts that an image can be given, those first that keep more of it."""
_DEPTHS = ("uint8", "uint16", "float32")


def _way(spec: Spec, kinds: Collection[tuple[str, str]]) -> str:
    """What makes an image of ``spec`` one of ``kinds``, as it is to be written."""
    if spec.encoding == "statistic":
        return "compute() gives its numbers"
    depths: dict[str, set[str]] = {}
    for mode, dtype in kinds:
        depths.setdefault(_LAYOUTS.get(mode, mode), set()).add(dtype)
    own = _LAYOUTS.get(spec.mode, spec.mode)
    layout = next((layout for layout in _NEAREST[own] if layout in depths), None)
    if layout is None:
        return "save as lossless TIFF or ZARR, or choose bands with split() and imgrs.merge()"
    steps = []
    if spec.dtype not in depths[layout] or (spec.alpha and spec.dtype == "bool"):  # which nothing is laid over
        depth = next(dtype for dtype in _DEPTHS if dtype in depths[layout])
        if own == layout or (spec.mode, depth) != ("1", "uint8"):  # which convert() makes of it
            steps.append(f'astype("{depth}")')
    if own == layout:
        return f"{'.'.join(steps)} first"
    converted = ".".join([*steps, f'convert("{layout}")'])
    if not spec.alpha or layout.endswith("A"):
        return f"{converted} first"
    opaque = [*steps, "remove_transparency()"] + [f'convert("{layout}")'] * (own != f"{layout}A")
    return f"{'.'.join(opaque)} first, which lays it onto a color, or {converted}, which drops its alpha"
