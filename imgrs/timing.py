"""How long an image takes to compute: calls of verbs build a graph, and timing those measures graph building."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

from imgrs.errors import ArgumentError, ArgumentTypeError
from imgrs.image import Image


@dataclass(frozen=True)
class Benchmark:
    """What computing an image several times took."""

    seconds: float
    """The median of all runs but the first."""
    first: float
    """Seconds of the first run, which loads libraries and compiles loops that no run of this process has used."""
    runs: tuple[float, ...]
    """Seconds of each of the others."""
    megapixels: float
    """Of the image, in millions of pixels."""

    @property
    def rate(self) -> float:
        """Megapixels a second."""
        return self.megapixels / self.seconds

    def as_dict(self) -> dict[str, Any]:
        """What is known as plain values, the rate among them."""
        return {**asdict(self), "rate": self.rate}

    def __str__(self) -> str:
        return f"{self.seconds:.3g} s ({self.rate:,.1f} megapixels/s); first run {self.first:.3g} s"


def benchmark(image: Image, runs: int = 5, **options: Any) -> Benchmark:
    """Compute ``image`` once, and then ``runs`` times more, and tell what that took. Pixels are thrown away.

    Keywords are the engine's, as in ``imgrs.options``; no cache is used unless ``cache`` is given here, for that would be
    what is timed. Raises ``ArgumentError`` for fewer than one run.

    >>> import imgrs
    >>> made = imgrs.benchmark(imgrs.new("L", (64, 64), 7).blur(1), runs=3)
    >>> len(made.runs), made.megapixels
    (3, 0.004096)
    """
    if not isinstance(image, Image):
        raise ArgumentTypeError(f"benchmark: image must be an imgrs.Image, got {type(image).__name__}")
    if isinstance(runs, bool) or not isinstance(runs, int) or runs < 1:
        raise ArgumentError(f"benchmark: runs must be a whole number of at least 1, got {runs!r}")
    options.setdefault("cache", False)
    taken = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        image.compute(**options)
        taken.append(time.perf_counter() - start)
    first, *others = taken
    return Benchmark(statistics.median(others), first, tuple(others), image.width * image.height / 1e6)
