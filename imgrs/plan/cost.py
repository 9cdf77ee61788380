"""What computing costs, in nanoseconds per pixel of output, as far as choosing a plan needs it.

The figures are for RGB at 8 bits on one core of a server. Of 22 chains measured there, 18 took between half and twice
what they say; choosing needs their ratios only. Ops are told apart by locality and reach, so a new op has a cost without
an entry here.
"""

from __future__ import annotations

from imgrs.graph.op import Fold, Op, Point, Remap, Sample, Source, Window
from imgrs.types import Spec

TASK = 200_000.0
"""Nanoseconds that a task costs beside its work."""
KEEP_WRITE, KEEP_READ = 0.3, 0.2
"""Nanoseconds per byte to keep pixels in memory and to read them back."""
SCRATCH_WRITE, SCRATCH_READ = 1.0, 0.5
"""The same in a file."""

_DECODE = 12.0
_WIDEST = 30.0  # a wide Gaussian costs the same at any radius
_WEIGHTED = 6.0  # filtering color weighted by alpha, in float32, against filtering bytes


def per_pixel(op: Op, spec: Spec, *sources: Spec) -> float:
    """Nanoseconds for one pixel of the image that ``spec`` describes, made from ``sources``."""
    bands = max(spec.bands, *(source.bands for source in sources)) / 3 if sources else spec.bands / 3
    if isinstance(op, Source):
        stored = op.stored_bytes(spec.region) / spec.nbytes
        return (_DECODE * max(1.0, stored) if stored else 0.4) * bands  # more is stored than comes out of a reduction
    if isinstance(op, Sample):
        return 1.6 * bands
    if isinstance(op, Point):
        return (2.5 if spec.bands == sources[0].bands else 6.0) * bands
    if isinstance(op, Window):
        weighted = _WEIGHTED if spec.alpha and op.alpha == "premultiplied" else 1.0
        return min(2.0 + 0.6 * max(op.margin), _WIDEST) * weighted * bands
    if isinstance(op, Remap):
        if op.index_map:
            return 4.0 * bands
        shrink = sources[0].width * sources[0].height / (spec.width * spec.height)
        return 20.0 * max(1.0, shrink) * bands
    if isinstance(op, Fold):  # its own few pixels are made from all of its image
        return 6.0 * bands * sources[0].width * sources[0].height / (spec.width * spec.height)
    return 2.0 * bands
