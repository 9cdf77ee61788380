"""What computing costs, in nanoseconds, as far as choosing a plan and forecasting its seconds need it.

``costs.json`` holds what ``python -m benchmarks calibrate`` measured on one core: each op at some reaches and depths, each
format. Ops that it does not list, a user's own among them, are told apart by locality and reach, so a new op has a cost
without an entry.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

from imgrs.graph.op import Fold, Op, Point, Remap, Sample, Source, Window
from imgrs.ops.fused import PointRun
from imgrs.ops.source import Open
from imgrs.types import Spec

TASK = 200_000.0
"""Nanoseconds that a task costs beside its work."""
KEEP_WRITE, KEEP_READ = 0.3, 0.2
"""Nanoseconds per byte to keep pixels in memory and to read them back."""
SCRATCH_WRITE, SCRATCH_READ = 1.0, 0.5
"""The same in a file."""

_DECODE = 4.0  # a byte of pixels, of a format that was not measured
_ENCODE = 6.0
_WIDEST = 30.0  # a wide Gaussian costs the same at any radius
_WEIGHTED = 6.0  # filtering color weighted by alpha, in float32, against filtering bytes


@functools.cache
def measured() -> dict[str, Any]:
    """The table: ``ops``, by name and depth, pairs of reach and nanoseconds per RGB pixel; ``decode`` and ``encode``, by
    codec, nanoseconds per byte of pixels."""
    found: dict[str, Any] = json.loads(resources.files("imgrs.plan").joinpath("costs.json").read_text(encoding="utf-8"))
    return found


def reach(op: Op, spec: Spec, *sources: Spec) -> float:
    """What an op's cost grows with: a window's margin, or the input pixels for each output pixel of a remap."""
    if isinstance(op, Window):
        return float(max(op.margin))
    if isinstance(op, Remap) and not op.index_map:
        return sources[0].width * sources[0].height / (spec.width * spec.height)
    return 0.0


def per_pixel(op: Op, spec: Spec, *sources: Spec) -> float:
    """Nanoseconds for one pixel of the image that ``spec`` describes, made from ``sources``."""
    if isinstance(op, Source):
        return decoding(op, spec)
    if isinstance(op, PointRun):
        return _run(op, sources[0])
    bands = max(spec.bands, *(source.bands for source in sources)) / 3
    times = 1.0
    if isinstance(op, Fold):  # its own few pixels are made from all of its image
        times = sources[0].width * sources[0].height / (spec.width * spec.height)
    points = measured()["ops"].get(op.name, {}).get(sources[0].dtype)
    if points is None:
        return _by_locality(op, spec, *sources) * bands * times
    return between(points, reach(op, spec, *sources)) * _weighted(op, spec) * bands * times


def _run(op: PointRun, spec: Spec) -> float:
    total = 0.0
    for point in op.ops:
        after = point.infer(spec)
        total += per_pixel(point, after, spec)
        spec = after
    return total


def _weighted(op: Op, spec: Spec) -> float:
    """The price of filtering color weighted by alpha."""
    return _WEIGHTED if spec.alpha and isinstance(op, Window) and op.alpha == "premultiplied" else 1.0


def _by_locality(op: Op, spec: Spec, *sources: Spec) -> float:
    if isinstance(op, Sample):
        return 1.6
    if isinstance(op, Point):
        return 2.5 if spec.bands == sources[0].bands else 6.0
    if isinstance(op, Window):
        return min(2.0 + 0.6 * max(op.margin), _WIDEST) * _weighted(op, spec)
    if isinstance(op, Remap):
        return 4.0 if op.index_map else 20.0 * max(1.0, reach(op, spec, *sources))
    return 6.0 if isinstance(op, Fold) else 2.0


def decoding(op: Source, spec: Spec) -> float:
    """Nanoseconds to read one pixel of a source."""
    if not isinstance(op, Open):
        return 0.15 * spec.pixel_bytes
    known = measured()["decode"]
    reduced = known.get(f"{op.reader.codec} 1/{op.shrink}")
    if reduced is None:  # more may be stored than comes out of a reduction
        reduced = known.get(op.reader.codec, _DECODE) * max(1.0, op.stored_bytes(spec.region) / spec.nbytes)
    return float(reduced) * spec.pixel_bytes


def encoding(codec: str, spec: Spec) -> float:
    """Nanoseconds to encode one pixel; none for what is not written to a file."""
    return float(measured()["encode"].get(codec, _ENCODE)) * spec.pixel_bytes if codec else 0.0


def between(points: Sequence[tuple[float, float]], place: float) -> float:
    """The value at ``place`` on straight lines through ``points``, flat beyond the ends."""
    if place <= points[0][0]:
        return points[0][1]
    for (left, low), (right, high) in itertools.pairwise(points):
        if place <= right:
            return low + (high - low) * (place - left) / (right - left)
    return points[-1][1]
