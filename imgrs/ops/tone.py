"""Tone: ops whose result at a sample depends on that sample alone. Each is a formula on the 0..255 scale."""

from __future__ import annotations

import itertools
from dataclasses import field
from typing import Any

import numpy as np
import numpy.typing as npt

from imgrs.errors import ArgumentError
from imgrs.graph.op import Sample, op
from imgrs.graph.parameters import checked, number, whole
from imgrs.types import Pixels, Spec

F64 = npt.NDArray[np.float64]

INTEGERS = ("uint8", "uint16")
"""Depths at which a curve that is the identity but for rounding in float64 changes nothing at all."""


@op
class Brightness(Sample):
    """Add ``amount`` to every sample: ``x + amount``, in 8-bit units (20 is 20 of 255 at every depth)."""

    amount: float = number(-255, 255, example=20)

    @property
    def affine(self) -> tuple[float, float]:
        return 1.0, self.amount

    def curve(self, x: F64) -> F64:
        return x + self.amount


@op
class Contrast(Sample):
    """Stretch around the middle: ``(x - 128) * factor + 128``; 1 changes nothing, 0 leaves flat gray."""

    factor: float = number(0, example=1.2)

    @property
    def affine(self) -> tuple[float, float]:
        return self.factor, 128.0 - 128.0 * self.factor

    def curve(self, x: F64) -> F64:
        return (x - 128.0) * self.factor + 128.0


@op
class Gamma(Sample):
    """Bend the curve: ``255 (x/255)^(1/gamma)``; above 1 is brighter. Samples below 0 stay as they are."""

    gamma: float = number(0.01, 100, example=2.2)

    def does_nothing(self, *specs: Spec) -> bool:
        return self.gamma == 1 and specs[0].dtype in INTEGERS

    def curve(self, x: F64) -> F64:
        return np.where(x < 0, x, 255.0 * (np.maximum(x, 0.0) / 255.0) ** (1.0 / self.gamma))


@op
class ExposureAdjust(Sample):
    """Add ``stops`` of exposure: ``x * 2^stops`` in linear light (the sRGB transfer function of IEC 61966-2-1)."""

    stops: float = number(-20, 20, example=0.5)

    def does_nothing(self, *specs: Spec) -> bool:
        return self.stops == 0 and specs[0].dtype in INTEGERS

    def curve(self, x: F64) -> F64:
        v = np.maximum(x / 255.0, 0.0)
        linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4) * 2.0**self.stops
        encoded: F64 = 255.0 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1.0 / 2.4) - 0.055)
        return encoded


@op
class Invert(Sample):
    """Invert, by ``amount`` from 0 (not) to 1 (wholly): ``x (1 - amount) + (255 - x) amount``."""

    amount: float = number(0, 1, default=1.0)

    @property
    def affine(self) -> tuple[float, float]:
        return 1.0 - 2.0 * self.amount, 255.0 * self.amount

    def curve(self, x: F64) -> F64:
        return x * (1.0 - self.amount) + (255.0 - x) * self.amount


@op
class Solarize(Sample):
    """Invert samples from ``threshold`` (0..255) on."""

    threshold: float = number(0, 255, default=128.0)

    def curve(self, x: F64) -> F64:
        return np.where(x >= self.threshold, 255.0 - x, x)


@op
class Posterize(Sample):
    """Keep the ``bits`` (1..8) highest of 8 bits, as Pillow's ``posterize``; deeper images keep as many of theirs."""

    bits: int = whole(1, 8, example=3)

    def does_nothing(self, *specs: Spec) -> bool:
        return self.bits == 8 and specs[0].dtype == "uint8"

    def prepare(self, *specs: Spec) -> Any:
        depth = {"uint8": 8, "uint16": 16}.get(specs[0].dtype)
        if depth is None:
            return None
        values = np.arange(1 << depth)
        return (values & ~((1 << (depth - self.bits)) - 1)).astype(specs[0].dtype)

    def curve(self, x: F64) -> F64:
        step = 256.0 / 2**self.bits
        kept: F64 = np.floor(np.clip(x, 0.0, 255.0) / step) * step
        return kept


@op
class Threshold(Sample):
    """Full intensity from ``level`` (0..255) on, 0 below."""

    level: float = number(0, 255, example=128)

    def curve(self, x: F64) -> F64:
        return np.where(x >= self.level, 255.0, 0.0)


@op
class Levels(Sample):
    """Map ``black`` to 0 and ``white`` to 255, then apply ``gamma``; samples outside are clipped to the ends."""

    black: float = number(0, 254, default=0.0)
    white: float = number(1, 255, default=255.0)
    gamma: float = number(0.01, 100, default=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.white <= self.black:
            raise ArgumentError(f"levels: white must be above black, got black={self.black:g}, white={self.white:g}")

    def does_nothing(self, *specs: Spec) -> bool:
        return (self.black, self.white, self.gamma) == (0, 255, 1) and specs[0].dtype in INTEGERS

    def curve(self, x: F64) -> F64:
        v = np.clip((x - self.black) / (self.white - self.black), 0.0, 1.0)
        bent: F64 = 255.0 * v ** (1.0 / self.gamma)
        return bent


def _points(value: Any) -> tuple[tuple[float, float], ...]:
    points = tuple((float(x), float(y)) for x, y in value)
    inputs = [x for x, _ in points]
    if len(points) < 2 or any(b <= a for a, b in itertools.pairwise(inputs)):
        raise ValueError("must be at least two (input, output) points with rising inputs")
    if not all(0 <= v <= 255 for point in points for v in point):
        raise ValueError("must have inputs and outputs from 0 to 255")
    return points


@op
class Curve(Sample):
    """A monotone cubic (Fritsch-Carlson, as SciPy's ``PchipInterpolator``) through ``points`` of (input, output), 0..255.

    Beyond the first and last point the curve is flat.
    """

    points: tuple[tuple[float, float], ...] = checked(_points, example=((0, 0), (64, 48), (192, 214), (255, 255)))

    def curve(self, x: F64) -> F64:
        from scipy.interpolate import PchipInterpolator

        inputs, outputs = zip(*self.points, strict=True)
        result: F64 = PchipInterpolator(inputs, outputs)(np.clip(x, inputs[0], inputs[-1]))
        return result


@op
class Table(Sample):
    """A merged run of tone ops: the entry for every value of an integer dtype. Made by the optimizer."""

    entries: bytes = field(repr=False)
    dtype: str
    of: tuple[str, ...]
    """The names of the ops that it stands for, in order."""

    def check(self, specs: Any) -> None:
        super().check(specs)
        if specs[0].dtype != self.dtype:
            raise ArgumentError(f'table: made for {self.dtype}, got {specs[0].dtype}; astype("{self.dtype}") first')

    def prepare(self, *specs: Spec) -> Pixels:
        return np.frombuffer(self.entries, self.dtype)

    def curve(self, x: F64) -> F64:
        unit = float(np.iinfo(self.dtype).max) / 255.0
        table = np.frombuffer(self.entries, self.dtype)
        return table[np.clip(np.floor(x * unit + 0.5), 0, len(table) - 1).astype(np.int64)] / unit
