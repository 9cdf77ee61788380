"""Workloads drawn at random: odd sizes, other tiles, other chains, so that nothing is tuned to the table.

Each belongs to a family of the table and has that family's target. The same seed draws the same ones.
"""

from __future__ import annotations

import random
from typing import Any

from benchmarks.peers import VIPS
from benchmarks.targets import Target
from benchmarks.workloads import BEST, DEFLATE, LEAN, SHARPENED, Workload, fixed, resized, tone_targets

LOOSE = {"Pillow": (SHARPENED, "three box passes"), "imgrs 0.3.8": (12.0, "its own formulas")}


def workloads(seed: int, side: int) -> list[Workload]:
    """Seven rows for images of about ``side`` pixels a side."""
    draw = random.Random(seed)

    def size() -> tuple[int, int]:
        return tuple(draw.randrange(side * 6 // 10, side * 12 // 10) | 1 for _ in range(2))  # type: ignore[return-value]  # it has two

    def chunks() -> dict[str, Any]:
        return {"chunks": (draw.randrange(300, 3000) | 1, draw.randrange(300, 3000) | 1)}

    tone = _tone(draw, draw.randrange(2, 12))
    sigma = round(draw.uniform(0.7, 9.0), 2)
    factor = round(draw.uniform(0.15, 1.9), 3)
    mixed = _mixed(draw)
    rows = [
        Workload("drawn tone", "drawn", fixed(*tone), targets=tone_targets(), tolerance=1.0),
        Workload("drawn tone, odd tiles", "drawn", fixed(*tone), settings=chunks(), targets=(BEST,), tolerance=1.0),
        Workload(f"drawn blur {sigma}", "drawn", fixed(("blur", sigma)), targets=(Target(0.75, VIPS), BEST), tolerance=1.0),
        Workload(f"drawn resize {factor}", "drawn", resized(factor), targets=(Target(1.0, VIPS), BEST), tolerance=1.5),
        Workload("drawn chain", "drawn", fixed(*mixed), targets=(Target(0.4, VIPS), BEST), tolerance=SHARPENED),
        Workload(
            "drawn chain, odd tiles", "drawn", fixed(*mixed), settings=chunks(), targets=(BEST,), tolerance=SHARPENED
        ),
        Workload(
            "drawn chain, TIFF", "drawn", fixed(*mixed), "file", source="tif", options={**DEFLATE, "tile": 256},
            tile=16 * draw.randrange(8, 60), targets=(Target(0.4, VIPS), LEAN, BEST), tolerance=SHARPENED,
        ),
    ]  # fmt: skip
    return [_with(row, size(), LOOSE) for row in rows]


def _with(row: Workload, size: tuple[int, int], looser: dict[str, tuple[float, str]]) -> Workload:
    from dataclasses import replace

    return replace(row, size=size, looser=looser)


def _tone(draw: random.Random, length: int) -> list[Any]:
    kinds = {
        "brightness": lambda: draw.randrange(-25, 25),
        "contrast": lambda: round(draw.uniform(0.8, 1.3), 2),
        "invert": lambda: round(draw.uniform(0.0, 0.2), 2),
        "saturate": lambda: round(draw.uniform(0.7, 1.4), 2),
        "sepia": lambda: round(draw.uniform(0.1, 0.5), 2),
    }
    names = [draw.choice(list(kinds)) for _ in range(length)]
    return [(name, kinds[name]()) for name in names]


def _mixed(draw: random.Random) -> list[Any]:
    """Filters with tone between them."""
    filters = [("blur", round(draw.uniform(0.6, 4.0), 2)), ("sharpen", round(draw.uniform(0.2, 1.0), 2))]
    draw.shuffle(filters)
    chain: list[Any] = []
    for step in filters:
        chain += [step, *_tone(draw, draw.randrange(1, 4))]
    return chain
