"""Smaller copies that files have of their images: how much each is reduced."""

from __future__ import annotations

from imgrs.types import Spec


def reduction(full: Spec, level: Spec, said: float | None = None) -> int | None:
    """How often the sides of a reduced copy go into those of the image; None where it is something else.

    ``said`` is what the file claims, where it does: sides alone cannot tell for copies of a few pixels.
    """
    shrink = round(full.width / level.width if said is None else said)
    if shrink < 2 or (said is not None and abs(said - shrink) > 0.1 * shrink):
        return None
    fits = all(
        small in (-(-large // shrink), large // shrink) for small, large in zip(level.size, full.size, strict=True)
    )
    same = (level.bands, level.dtype, level.encoding, level.alpha) == (
        full.bands,
        full.dtype,
        full.encoding,
        full.alpha,
    )
    return shrink if fits and same else None
