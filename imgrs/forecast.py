"""What a run will take, before it runs: the forecast that plans are chosen by, as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from imgrs import config
from imgrs.errors import ArgumentError, ArgumentTypeError
from imgrs.image import Image
from imgrs.together import with_options

MACHINERY = 16 << 20
"""Bytes of a run beside its arrays, at most: threads, Dask's graph, encoders' and decoders' own tables, and what is freed but
not given back at once."""
OF_ALL, OF_EACH = 4 << 20, 3 << 20
"""What of that there is in any run, and what there is for each worker."""


def machinery(workers: int) -> int:
    """Bytes of a run of so many workers beside its arrays: some for all of them and some for each, ``MACHINERY`` at most."""
    return min(MACHINERY, OF_ALL + OF_EACH * workers)


@dataclass(frozen=True)
class Estimate:
    """What computing or saving some images will take, known from headers alone."""

    peak_bytes: int
    """Memory at the peak, in bytes, beside Python, its libraries and arrays that the caller holds already. The arrays that
    ``compute`` hands out are counted."""
    read_bytes: int
    """What is fetched from files, in bytes as they are stored."""
    seconds: float
    """How long it takes, about, without loading libraries and compiling loops."""
    tasks: int
    """How many pieces of work Dask is given; most make a tile each."""
    scratch_bytes: int
    """What is kept in temporary files, in bytes; 0 where memory holds all that is kept."""


SavedAs: TypeAlias = "str | tuple[str, Mapping[str, Any]] | None"
"""A format, or a format and its options; None for an array."""


def estimate(*images: Image, sink: SavedAs | Sequence[SavedAs] = None, **options: Any) -> Estimate:
    """What computing ``images`` together, or saving them in one run, will take. Reads no pixels.

    ``sink`` is the format that they are saved in (``"tiff"``), or one and its options (``("jpeg", {"quality": 80})``), None
    for arrays, or a list with one of these for each image. Keywords are those of ``imgrs.options`` and, for all that are
    saved, those that ``save`` takes; what stands beside a format goes before them.

    The forecast of memory is no lower than what is measured, and at most twice that, or 32 MiB where it is small: images of
    any size, made larger or smaller, with no more workers than there are processors. It is more for pixels that compress to
    next to nothing, which no header tells: those of one color, or that an enlargement repeats.

    It is the memory of ``explain()``, which ``memory_limit`` bounds, with the arrays that are handed out and the machinery:
    threads, Dask's graph, tables of codecs; 4 MiB and 3 for each worker, 16 MiB at most. The first run of a process takes
    more: libraries are loaded, and NumPy does little work until it pays to load compiled loops. Seconds are those of the
    machine on which costs were measured.

    Raises ``MemoryBudgetError`` where no plan fits ``memory_limit``, and ``ArgumentError`` for what a format cannot hold.

    >>> import imgrs
    >>> img = imgrs.new("RGB", (4000, 3000), (200, 120, 40)).blur(2)
    >>> forecast = imgrs.estimate(img, sink="tiff", memory_limit="256MiB")
    >>> forecast.peak_bytes <= 256 << 20, forecast.read_bytes, forecast.scratch_bytes
    (True, 0, 0)
    """
    from imgrs.plan.choose import plan
    from imgrs.run.save import sink_of

    if not images or not all(isinstance(image, Image) for image in images):
        raise ArgumentTypeError("estimate: needs imgrs images, at least one")
    named = _for_each(sink, len(images))
    if len(named) != len(images):
        raise ArgumentError(f"estimate: sink must be one format for all images or {len(images)}, got {len(named)}")
    engine, given = config.parted(options)
    sinks = []
    for image, one in zip(images, named, strict=True):
        format, own = with_options(one, "estimate: sink must be a format")
        shared = {} if format is None and any(named) else given  # an array beside what is saved has no options
        sinks.append(sink_of(image._foreseen(format, {**shared, **own}, "estimate")))
    settings = config.settings(**engine)
    made = plan([image._node for image in images], settings, sinks)
    forecast = made.forecast
    return Estimate(
        peak_bytes=forecast.peak_bytes + forecast.handed_bytes + machinery(settings.workers),
        read_bytes=forecast.read_bytes,
        seconds=forecast.seconds,
        tasks=forecast.tasks,
        scratch_bytes=forecast.kept_bytes if made.scratch else 0,
    )


def _for_each(sink: Any, count: int) -> list[SavedAs]:
    """What each of ``count`` images is saved as: one for all of them, alone or with its options, or a list."""
    paired = isinstance(sink, tuple) and len(sink) == 2 and isinstance(sink[1], Mapping)
    return list(sink) if isinstance(sink, Sequence) and not isinstance(sink, str) and not paired else [sink] * count
