"""Smaller copies that files have of their images: how much each is reduced."""

from __future__ import annotations

from imgrs.types import Spec


def reduction(full: Spec, level: Spec) -> int | None:
    """How often the sides of a reduced copy go into those of the image; None where it is something else."""
    shrink = round(full.width / level.width)
    fits = shrink > 1 and all(
        small in (-(-large // shrink), large // shrink) for small, large in zip(level.size, full.size, strict=True)
    )
    same = (level.bands, level.dtype, level.encoding, level.alpha) == (
        full.bands,
        full.dtype,
        full.encoding,
        full.alpha,
    )
    return shrink if fits and same else None
