"""What peers that work on arrays have in common: tables, matrices and rounding as somebody writes them with NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.steps import Step, affine, matrix, runs, table

StepFunction = Callable[[Any, Sequence[Step]], Any]


def applied(array: Any, chain: Sequence[Step], steps: Mapping[str, StepFunction]) -> Any:
    for name, group in runs(chain):
        array = steps[name](array, group)
    return array


def rounded(array: Any, dtype: Any) -> Any:
    """Back to an integer dtype, half up and clipped; floats as float32."""
    import numpy as np

    if np.dtype(dtype).kind == "f":
        return array.astype(dtype, copy=False)
    array = array + 0.5
    return np.clip(array, 0, np.iinfo(dtype).max, out=array).astype(dtype)


def tone(array: Any, run: Sequence[Step]) -> Any:
    import numpy as np

    if array.dtype.kind == "f":
        scale, offset = affine(run)
        return array * np.float32(scale) + np.float32(offset)
    return table(run, array.dtype.name)[array]


def color(array: Any, steps: Sequence[Step]) -> Any:
    import numpy as np

    return rounded(array @ np.array(matrix(steps[0]), np.float32).T, array.dtype)


def crop(array: Any, steps: Sequence[Step]) -> Any:
    left, top, right, bottom = steps[0][1]
    return array[top:bottom, left:right]
