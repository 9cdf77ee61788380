"""The steps that chains are made of, and their arithmetic written out by hand for peers that have no such operation.

A step is a name and its arguments, as a method call of ours has them: ``("resize", (800, 600), "lanczos")``. A chain is
steps in order. Both are plain values, so that a job travels to another interpreter as JSON.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

Step: TypeAlias = tuple[Any, ...]
Chain: TypeAlias = tuple[Step, ...]
Rows: TypeAlias = list[list[float]]

CURVES: dict[str, Callable[..., Any]] = {
    "brightness": lambda x, amount: x + amount,
    "contrast": lambda x, factor: (x - 128.0) * factor + 128.0,
    "invert": lambda x, amount: x * (1.0 - amount) + (255.0 - x) * amount,
    "gamma": lambda x, gamma: 255.0 * (x / 255.0) ** (1.0 / gamma),
}
"""Tone steps: formulas on the 0..255 scale, sample by sample."""
AFFINE: dict[str, Callable[[float], tuple[float, float]]] = {
    "brightness": lambda amount: (1.0, amount),
    "contrast": lambda factor: (factor, 128.0 - 128.0 * factor),
    "invert": lambda amount: (1.0 - 2.0 * amount, 255.0 * amount),
}
"""Tone steps that are ``a x + b``: those that are the same work on float images for everyone."""


def _turned(degrees: float) -> Rows:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [
        [0.213 + c * 0.787 - s * 0.213, 0.715 - c * 0.715 - s * 0.715, 0.072 - c * 0.072 + s * 0.928],
        [0.213 - c * 0.213 + s * 0.143, 0.715 + c * 0.285 + s * 0.140, 0.072 - c * 0.072 - s * 0.283],
        [0.213 - c * 0.213 - s * 0.787, 0.715 - c * 0.715 + s * 0.715, 0.072 + c * 0.928 + s * 0.072],
    ]


def _mixed(amount: float, whole: Rows) -> Rows:
    """The identity and ``whole``, in the proportion of ``amount``."""
    return [[(1 - amount) * (i == j) + amount * v for j, v in enumerate(row)] for i, row in enumerate(whole)]


_LUMA = [0.213, 0.715, 0.072]
_SEPIA = [[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]]
MATRICES: dict[str, Callable[[float], Rows]] = {
    "saturate": lambda amount: _mixed(1 - amount, [_LUMA] * 3),
    "sepia": lambda amount: _mixed(amount, _SEPIA),
    "hue_rotate": _turned,
}
"""Color steps: 3 x 3 matrices of W3C Filter Effects, section 9.6."""
MASKS: dict[str, Callable[..., tuple[Rows, float]]] = {
    "sharpen": lambda s: ([[0.0, -s, 0.0], [-s, 1.0 + 4.0 * s, -s], [0.0, -s, 0.0]], 1.0),
    "convolve": lambda rows, scale: ([list(row) for row in rows], scale),
}
"""Small filters: rows of weights, and what their sum is divided by."""


def runs(chain: Sequence[Step]) -> Iterator[tuple[str, list[Step]]]:
    """The chain with neighboring tone steps together, as somebody who writes tables by hand does them.

    Yields ``("tone", [...])``, or the name of one step and the step alone.
    """
    for tone, group in itertools.groupby(chain, key=lambda step: step[0] in CURVES):
        steps = list(group)
        if tone:
            yield "tone", steps
        else:
            yield from ((step[0], [step]) for step in steps)


def table(run: Sequence[Step], dtype: str) -> np.ndarray[Any, Any]:
    """What becomes of each value of an integer dtype: every step rounds half up and clips."""
    import numpy as np

    top = np.iinfo(dtype).max
    values = np.arange(top + 1, dtype=np.float64)
    for name, *args in run:
        result = CURVES[name](values * (255.0 / top), *args) * (top / 255.0)
        values = np.clip(np.floor(result + 0.5), 0, top)
    return values.astype(dtype)


def affine(run: Sequence[Step]) -> tuple[float, float]:
    """A run of affine tone steps on a float image (0..1), as one ``a x + b``."""
    scale, offset = 1.0, 0.0
    for name, value in run:
        a, b = AFFINE[name](value)
        scale, offset = scale * a, offset * a + b / 255.0
    return scale, offset


def matrix(step: Step) -> Rows:
    return MATRICES[step[0]](*step[1:])


def mask(step: Step) -> tuple[Rows, float]:
    return MASKS[step[0]](*step[1:])


def whole_mask(step: Step) -> tuple[list[list[int]], int]:
    """The same mask in whole numbers over a whole scale, for integer arithmetic."""
    rows, scale = mask(step)
    parts = [[Fraction(v).limit_denominator(1000) / Fraction(scale) for v in row] for row in rows]
    common = math.lcm(*(v.denominator for row in parts for v in row))
    return [[int(v * common) for v in row] for row in parts], common


WINDOW = 512
"""Pixels of a side of a window."""


def window(width: int, height: int, number: int) -> tuple[int, int, int, int]:
    """The box of one of several windows, spread over an image so that no two share a tile of the file."""
    across, down = min(WINDOW, width), min(WINDOW, height)
    left = (width // 3 + number * 1409) % max(1, width - across)
    top = (height // 5 + number * 2003) % max(1, height - down)
    return left, top, left + across, top + down
