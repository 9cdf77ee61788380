"""Color: ops that mix the bands of a pixel, and conversions between modes and depths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from imgrs.errors import ArgumentError
from imgrs.graph.op import ANY, COLOR, Point, op
from imgrs.graph.parameters import checked, choice, number
from imgrs.kernels import color
from imgrs.types import Pixels, Spec

Matrix = tuple[tuple[float, ...], ...]


class _Weighted(Point):
    """Multiply the color of each pixel by a 3x3 matrix; gray images are left as they are.

    Values are the encoded (sRGB) ones; coefficients are those of W3C Filter Effects Module Level 1, section 9.6.
    """

    takes = COLOR

    def weights(self) -> Matrix:
        """Rows of three weights and, optionally, an offset on the 0..255 scale."""
        raise NotImplementedError

    def does_nothing(self, *specs: Spec) -> bool:
        if specs[0].encoding == "gray":
            return True
        if specs[0].dtype == "float32":
            return False  # 0 * inf is not 0
        return all(v == (i == j) for i, row in enumerate(self.weights()) for j, v in enumerate(row))

    def prepare(self, *specs: Spec) -> Any:
        matrix = np.zeros((3, 4))
        rows = np.array(self.weights())
        matrix[:, : rows.shape[1]] = rows
        matrix[:, 3] *= specs[0].full_scale / 255.0
        return matrix.astype(np.float32)

    def apply(self, *pixels: Pixels, spec: Spec, prepared: Any) -> Pixels:
        return pixels[0] if spec.encoding == "gray" else color.matrix(pixels[0], prepared)

    def apply_into(self, target: Pixels, *pixels: Pixels, spec: Spec, prepared: Any) -> None:
        if spec.encoding == "gray":
            target[...] = pixels[0]
        else:
            color.matrix_into(target, pixels[0], prepared)


@op
class Saturate(_Weighted):
    """Scale the saturation: 0 is gray, 1 changes nothing, above 1 is more vivid (W3C ``saturate``)."""

    amount: float = number(0, example=1.2)

    def weights(self) -> Matrix:
        s = self.amount
        return (
            (0.213 + 0.787 * s, 0.715 - 0.715 * s, 0.072 - 0.072 * s),
            (0.213 - 0.213 * s, 0.715 + 0.285 * s, 0.072 - 0.072 * s),
            (0.213 - 0.213 * s, 0.715 - 0.715 * s, 0.072 + 0.928 * s),
        )


@op
class Grayscale(_Weighted):
    """Drain the color, by ``amount`` from 0 (not) to 1 (wholly); the mode stays (W3C ``grayscale``)."""

    amount: float = number(0, 1, default=1.0)

    def weights(self) -> Matrix:
        k = 1.0 - self.amount
        return (
            (0.2126 + 0.7874 * k, 0.7152 - 0.7152 * k, 0.0722 - 0.0722 * k),
            (0.2126 - 0.2126 * k, 0.7152 + 0.2848 * k, 0.0722 - 0.0722 * k),
            (0.2126 - 0.2126 * k, 0.7152 - 0.7152 * k, 0.0722 + 0.9278 * k),
        )


@op
class Sepia(_Weighted):
    """Tint like an old photograph, by ``amount`` from 0 to 1 (W3C ``sepia``)."""

    amount: float = number(0, 1, default=1.0)

    def weights(self) -> Matrix:
        k = 1.0 - self.amount
        return (
            (0.393 + 0.607 * k, 0.769 - 0.769 * k, 0.189 - 0.189 * k),
            (0.349 - 0.349 * k, 0.686 + 0.314 * k, 0.168 - 0.168 * k),
            (0.272 - 0.272 * k, 0.534 - 0.534 * k, 0.131 + 0.869 * k),
        )


@op
class HueRotate(_Weighted):
    """Turn the hue by ``degrees`` (W3C ``hue-rotate``)."""

    degrees: float = number(example=15)

    def weights(self) -> Matrix:
        c, s = math.cos(math.radians(self.degrees)), math.sin(math.radians(self.degrees))
        return (
            (0.213 + c * 0.787 - s * 0.213, 0.715 - c * 0.715 - s * 0.715, 0.072 - c * 0.072 + s * 0.928),
            (0.213 - c * 0.213 + s * 0.143, 0.715 + c * 0.285 + s * 0.140, 0.072 - c * 0.072 - s * 0.283),
            (0.213 - c * 0.213 - s * 0.787, 0.715 - c * 0.715 + s * 0.715, 0.072 + c * 0.928 + s * 0.072),
        )


def _matrix(value: Any) -> Matrix:
    rows = tuple(tuple(float(v) for v in row) for row in value)
    if (len(rows), {len(row) for row in rows}) not in ((3, {3}), (3, {4}), (4, {5})):
        raise ValueError("must be 3 rows of 3 or 4 numbers, or 4 rows of 5")
    if not all(math.isfinite(v) for row in rows for v in row):
        raise ValueError("must be finite numbers")
    return rows


@op
class ColorMatrix(_Weighted):
    """Multiply each pixel by ``matrix``: 3x3; 3x4, whose last column is added; or 4x5, as W3C ``feColorMatrix``.

    What is added is on the 0..255 scale. A 4x5 matrix mixes straight color and alpha; images without alpha are opaque
    to it, and stay without. Gray images are left as they are.
    """

    matrix: Matrix = checked(_matrix, example=((0.9, 0.1, 0), (0, 1, 0.2), (0.1, 0, 0.8)))

    def weights(self) -> Matrix:
        return self.matrix

    def prepare(self, *specs: Spec) -> Any:
        if len(self.matrix) == 3:
            return super().prepare(*specs)
        rows = np.array(self.matrix)
        rows[:, 4] *= specs[0].full_scale / 255.0
        return rows.astype(np.float32)

    def apply(self, *pixels: Pixels, spec: Spec, prepared: Any) -> Pixels:
        if len(self.matrix) == 3 or spec.encoding == "gray":
            return super().apply(*pixels, spec=spec, prepared=prepared)
        return color.matrix_with_alpha(pixels[0], prepared, spec.full_scale)


MODES = {"l": "L", "la": "LA", "rgb": "RGB", "rgba": "RGBA", "cmyk": "CMYK", "f": "F", "i;16": "I;16", "1": "1"}


@op
class Convert(Point):
    """Change the mode, as Pillow's ``convert``: gray by Rec. 601 luma, the depth kept.

    Dropping alpha drops it. ``"I;16"`` and ``"F"`` rescale full range to full range (Pillow clips); ``"1"`` is
    ``x >= 128``, without dithering. CMYK is Pillow's, without a color profile.
    """

    takes = ANY
    mode: str = choice(MODES, example="L")

    def does_nothing(self, *specs: Spec) -> bool:
        return self.infer(*specs) == specs[0]

    def infer(self, *specs: Spec) -> Spec:
        (spec,) = specs
        if spec.encoding not in ("gray", "srgb", "cmyk"):
            raise ArgumentError(f"convert: {spec.mode} images cannot be converted to {self.mode}")
        dtype = {"F": "float32", "I;16": "uint16", "1": "bool"}.get(self.mode)
        if dtype is None:
            dtype = "uint8" if spec.dtype == "bool" else spec.dtype
        if self.mode == "CMYK":
            return Spec(*spec.size, 4, False, dtype, "cmyk")
        alpha = self.mode in ("LA", "RGBA")
        colors = 3 if self.mode in ("RGB", "RGBA") else 1
        return Spec(*spec.size, colors + alpha, alpha, dtype, "srgb" if colors == 3 else "gray")

    def apply(self, *pixels: Pixels, spec: Spec, prepared: Any) -> Pixels:
        target = self.infer(spec)
        image = pixels[0]
        if spec.encoding == target.encoding == "cmyk":
            return image
        if spec.dtype == "bool":
            image = depth(image, "uint8")
        colors, alpha = (image[..., :-1], image[..., -1:]) if spec.alpha else (image, None)
        if spec.encoding == "cmyk":
            colors = color.rgb_of_cmyk(colors)
        if target.encoding == "cmyk":
            return color.cmyk(colors)
        if colors.shape[2] == 3 and target.dtype == "bool":
            return color.bilevel(colors)
        if colors.shape[2] == 3 and target.colors == 1:
            colors = color.gray(np.ascontiguousarray(colors))
        elif colors.shape[2] == 1 and target.colors == 3:
            colors = np.repeat(colors, 3, axis=2)
        if target.alpha:
            opaque = color.full_of(image.dtype)
            alpha = np.full_like(image[..., :1], opaque) if alpha is None else alpha
            colors = np.concatenate([colors, alpha], axis=2)
        return np.ascontiguousarray(depth(colors, target.dtype))


@op
class AsType(Point):
    """Change the depth of samples, full range to full range: uint8, uint16 or float32 (which is not clipped)."""

    name = "astype"
    takes = ANY
    dtype: str = choice({"uint8": "uint8", "uint16": "uint16", "float32": "float32"}, example="uint16")

    def does_nothing(self, *specs: Spec) -> bool:
        return specs[0].dtype == self.dtype

    def infer(self, *specs: Spec) -> Spec:
        (spec,) = specs
        return Spec(*spec.size, spec.bands, spec.alpha, self.dtype, spec.encoding)

    def apply(self, *pixels: Pixels, spec: Spec, prepared: Any) -> Pixels:
        return depth(pixels[0], self.dtype)


def depth(pixels: Pixels, dtype: str) -> Pixels:
    """Samples rescaled from the full range of their dtype to that of ``dtype``; integers half up and clipped."""
    if pixels.dtype == dtype:
        return pixels
    if dtype == "bool":
        full = 1.0 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
        return np.greater_equal(pixels, 128 / 255 * full)
    if pixels.dtype.kind == "b":
        full = 1.0 if dtype == "float32" else np.iinfo(dtype).max
        spread: Pixels = pixels.astype(dtype) * np.asarray(full, dtype)
        return spread
    if dtype == "float32":
        scaled: Pixels = pixels / np.float64(np.iinfo(pixels.dtype).max)
        return scaled.astype(np.float32)
    if pixels.dtype.kind == "f":
        return color.to_dtype(pixels.astype(np.float64) * np.iinfo(dtype).max, dtype)
    if dtype == "uint16":
        return pixels.astype(np.uint16) * np.uint16(257)
    return ((pixels.astype(np.uint32) * 2 + 257) // 514).astype(np.uint8)
