"""TIFF's horizontal predictor (TIFF 6.0, section 14): differences between neighbors in a row, and sums of them.

A sum needs the one before it, but sixteen pixels take only four steps, each of which adds pixels twice as far apart. They are
written in LLVM's own language, as neither NumPy nor numba can say them; before it is worth loading LLVM, imagecodecs does it.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Callable

import numpy as np

from imgrs.compiled import LLVM, Load
from imgrs.machine_code import assembled
from imgrs.types import Pixels

_VECTOR = 64
"""The most bytes that are added at once."""

_load = Load(64, LLVM)

_FUNCTION = string.Template(
    """
    define void @$name(ptr %source, ptr %target, i64 %rows, i64 %width) {
    entry:
      %rest = and i64 %width, $pixels_less_1
      %whole = sub i64 %width, %rest
      %samples = mul i64 %width, $bands
      %vectors = mul i64 %whole, $bands
      br label %row
    row:
      %y = phi i64 [ 0, %entry ], [ %y.next, %row.end ]
      %offset = mul i64 %y, %samples
      %from = getelementptr $sample, ptr %source, i64 %offset
      %to = getelementptr $sample, ptr %target, i64 %offset
      br label %vector
    vector:
      %x = phi i64 [ 0, %row ], [ %x.next, %vector.do ]
      %carried = phi $vector [ zeroinitializer, %row ], [ %carry, %vector.do ]
      %more = icmp ult i64 %x, %vectors
      br i1 %more, label %vector.do, label %single
    vector.do:
      %from.x = getelementptr $sample, ptr %from, i64 %x
      %sum0 = load $vector, ptr %from.x, align 1
      $add
      %sum = add $vector %sum$steps, %carried
      %carry = shufflevector $vector %sum, $vector poison, <$lanes x i32> <$last>
      %to.x = getelementptr $sample, ptr %to, i64 %x
      store $vector %sum, ptr %to.x, align 1
      %x.next = add i64 %x, $lanes
      br label %vector
    single:
      %i = phi i64 [ %vectors, %vector ], [ %i.next, %single.end ]
      %i.more = icmp ult i64 %i, %samples
      br i1 %i.more, label %single.do, label %row.end
    single.do:
      %from.i = getelementptr $sample, ptr %from, i64 %i
      %difference = load $sample, ptr %from.i, align 1
      %has.left = icmp uge i64 %i, $bands
      br i1 %has.left, label %single.left, label %single.end
    single.left:
      %left.i = sub i64 %i, $bands
      %left.at = getelementptr $sample, ptr %to, i64 %left.i
      %left.sample = load $sample, ptr %left.at, align 1
      br label %single.end
    single.end:
      %left = phi $sample [ 0, %single.do ], [ %left.sample, %single.left ]
      %single.sum = add $sample %difference, %left
      %to.i = getelementptr $sample, ptr %to, i64 %i
      store $sample %single.sum, ptr %to.i, align 1
      %i.next = add i64 %i, 1
      br label %single
    row.end:
      %y.next = add i64 %y, 1
      %y.more = icmp ult i64 %y.next, %rows
      br i1 %y.more, label %row, label %done
    done:
      ret void
    }
    """
)


def differences(pixels: Pixels) -> Pixels:
    """Each sample less that of the pixel at its left, of shape (height, width, bands); integers wrap."""
    out = np.empty(pixels.shape, pixels.dtype)
    bands = pixels.shape[2]
    rows, differing = (a.reshape(len(a), -1) for a in (pixels, out))
    differing[:, :bands] = rows[:, :bands]
    np.subtract(rows[:, bands:], rows[:, :-bands], out=differing[:, bands:])
    return out


def sums(pixels: Pixels) -> Pixels:
    """Samples from what ``differences`` leaves of them."""
    if pixels.shape[2] * pixels.itemsize <= _VECTOR // 2 and _load.pays(pixels.size):
        return sums_by_steps(pixels)
    import imagecodecs

    found: Pixels = imagecodecs.delta_decode(pixels, axis=-2)
    return found


def sums_by_steps(pixels: Pixels) -> Pixels:
    """The same by vectors, of pixels of at most half of one."""
    pixels = np.ascontiguousarray(pixels)
    out = np.empty(pixels.shape, pixels.dtype)
    if not out.size:
        return out
    _sums(pixels.shape[2], pixels.itemsize)(pixels.ctypes.data, out.ctypes.data, *pixels.shape[:2])
    return out


@functools.cache
def _sums(bands: int, itemsize: int) -> Callable[..., None]:
    steps = (_VECTOR // (bands * itemsize)).bit_length() - 1
    lanes, sample = bands << steps, f"i{8 * itemsize}"
    vector, add = f"<{lanes} x {sample}>", ""
    for step in range(steps):
        apart = bands << step
        indices = ", ".join(f"i32 {lanes + i - apart if i >= apart else 0}" for i in range(lanes))
        add += (
            f"%far{step} = shufflevector {vector} zeroinitializer, {vector} %sum{step}, <{lanes} x i32> <{indices}>\n"
        )
        add += f"%sum{step + 1} = add {vector} %sum{step}, %far{step}\n"
    last = ", ".join(f"i32 {lanes - bands + i % bands}" for i in range(lanes))
    name = f"sums_of_{bands}_by_{8 * itemsize}_bits"
    sizes = {"pixels_less_1": (1 << steps) - 1, "steps": steps, "bands": bands, "lanes": lanes}
    text = _FUNCTION.substitute(sizes, name=name, sample=sample, vector=vector, add=add, last=last)
    return assembled(name, text)
