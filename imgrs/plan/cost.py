"""What computing costs, in nanoseconds per pixel of output, as far as choosing a plan needs it.

The figures are for RGB at 8 bits on one core of a current server; only their ratios matter. Ops are told apart by
locality and reach, so a new op has a cost without an entry here.
"""

from __future__ import annotations

from imgrs.graph.op import Fold, Op, Point, Remap, Sample, Source, Window
from imgrs.types import Spec

TASK = 200_000.0
"""Nanoseconds that a task costs beside its work."""
KEEP_WRITE, KEEP_READ = 0.15, 0.1
"""Nanoseconds per byte to keep pixels in memory and to read them back."""
SCRATCH_WRITE, SCRATCH_READ = 1.0, 0.5
"""The same for a scratch file."""

_DECODE = 8.0
_WIDEST = 20.0  # a wide Gaussian costs the same at any radius


def per_pixel(op: Op, spec: Spec, source: Spec | None) -> float:
    """Nanoseconds for one pixel of the image that ``spec`` describes, made from ``source``."""
    bands = spec.bands / 3
    if isinstance(op, Source):
        return (_DECODE if op.stored_bytes(spec.region) else 0.2) * bands
    if isinstance(op, Sample):
        return 0.7 * bands
    if isinstance(op, Point):
        return 1.0 * bands
    if isinstance(op, Window):
        return min(1.0 + 0.3 * max(op.margin), _WIDEST) * bands
    if isinstance(op, Remap):
        if op.index_map:
            return 0.5 * bands
        shrink = source.width * source.height / (spec.width * spec.height) if source else 1.0
        return 8.0 * max(1.0, shrink) * bands
    return (1.0 if isinstance(op, Fold) else 2.0) * bands
