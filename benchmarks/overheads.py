"""What the engine takes beside pixels: building nodes, optimizing, planning, and running a tile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

NODES = 10_000
PLANNED = 1_000
"""Ops of the chain that is optimized and planned."""
TILES = 1_024


def figures() -> dict[str, float]:
    """Seconds of each, by name."""
    import imgrs
    from imgrs import config
    from imgrs.optimize import optimize
    from imgrs.plan.choose import plan

    base = imgrs.new("RGB", (10_000, 10_000), (1, 2, 3))
    node = _chain(base, PLANNED)._node
    settings = config.settings()
    optimizing = best(lambda: optimize((node,), "exact"))
    small = imgrs.new("L", (32 * 8, TILES // 32 * 8), 9).invert()
    return {
        "build a node": best(lambda: _chain(base, NODES)) / NODES,
        f"optimize {PLANNED:,} ops": optimizing,
        f"plan {PLANNED:,} ops": best(lambda: plan([node], settings)) - optimizing,
        "run a tile of 8 x 8 pixels": best(lambda: small.compute(chunks=(8, 8), scheduler="threads")) / TILES,
    }


def _chain(image: Any, length: int) -> Any:
    for i in range(length):
        name, value = STEPS[i % len(STEPS)]
        image = getattr(image, name)(value)
    return image


STEPS = (("brightness", 3), ("contrast", 1.1), ("saturate", 1.1), ("sharpen", 0.1), ("sepia", 0.1))


def best(work: Callable[[], Any], times: int = 5) -> float:
    """Seconds of the quickest of some runs."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
