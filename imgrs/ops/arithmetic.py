"""Arithmetic on raw sample values: saturating on integers, alpha untouched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from imgrs.errors import ArgumentError
from imgrs.graph.op import SAMPLES, Point, Sample, op
from imgrs.graph.parameters import choice, flag, number
from imgrs.kernels import color, tone
from imgrs.types import Pixels, Spec

F64 = npt.NDArray[np.float64]

FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply}
NAMES = {name: name for name in FUNCTIONS}


class _Raw(Sample):
    """A sample op in the image's own units, so 10 is 10 at every depth."""

    def raw(self, x: F64) -> F64:
        """The formula on raw values."""
        raise NotImplementedError

    def prepare(self, *specs: Spec) -> Any:
        unit = specs[0].full_scale / 255.0
        if specs[0].dtype == "float32":
            return None
        return tone.table_of(lambda x: self.raw(np.rint(x * unit)) / unit, specs[0].dtype)

    def curve(self, x: F64) -> F64:
        return self.raw(x / 255.0) * 255.0


@op
class WithNumber(_Raw):
    """Add, subtract or multiply every sample by ``value``; ``swapped`` computes ``value - x``."""

    function: str = choice(NAMES, example="add")
    value: float = number(example=10)
    swapped: bool = flag(default=False)

    def does_nothing(self, *specs: Spec) -> bool:
        return not self.swapped and (self.function, self.value) in (("add", 0), ("subtract", 0), ("multiply", 1))

    def raw(self, x: F64) -> F64:
        first, second = (self.value, x) if self.swapped else (x, self.value)
        result: F64 = FUNCTIONS[self.function](first, second)
        return result


@op
class Absolute(_Raw):
    """The magnitude of every sample."""

    def raw(self, x: F64) -> F64:
        return np.abs(x)


@op
class Combine(Point):
    """Add, subtract or multiply two images of one size, mode and depth, sample by sample."""

    takes = SAMPLES
    arity: ClassVar[tuple[int, int]] = (2, 2)
    function: str = choice(NAMES, example="add")

    def infer(self, *specs: Spec) -> Spec:
        first, second = specs
        if (first.bands, first.dtype, first.alpha) != (second.bands, second.dtype, second.alpha):
            depth = (first.bands, first.alpha) == (second.bands, second.alpha)
            way = f'astype("{first.dtype}") the second one' if depth else "convert() one"
            raise ArgumentError(f"{self.function}: images must be alike, got {first} and {second}; {way} first")
        return super().infer(*specs)

    def apply(self, *pixels: Pixels, spec: Spec, prepared: Any) -> Pixels:
        wide = np.int64 if spec.dtype != "float32" else np.float32
        result = FUNCTIONS[self.function](pixels[0].astype(wide), pixels[1].astype(wide))
        if wide is np.int64:
            result = np.clip(result, 0, int(spec.full_scale)).astype(spec.dtype)
        if spec.alpha:
            result[..., -1] = pixels[0][..., -1]
        return color.to_dtype(result, spec.dtype)
