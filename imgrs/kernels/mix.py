"""A color matrix on 8-bit pixels, sixteen at a time: they are split into bands and joined again in registers.

Written in LLVM's own language, as numba reads every third sample one by one. Sums are those of ``color.matrix``, to the bit.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from imgrs.machine_code import assembled

Bytes = npt.NDArray[np.uint8]

_PIXELS = 16

_FUNCTION = string.Template(
    """
    declare i64 @llvm.umin.i64(i64, i64)

    define void @$name(ptr %source, i64 %source.step, ptr %target, i64 %target.step, i64 %rows, i64 %width, ptr %matrix) {
    entry:
      $factors
      %last = sub i64 %width, $pixels
      br label %row
    row:
      %y = phi i64 [ 0, %entry ], [ %y.next, %row.end ]
      %source.offset = mul i64 %y, %source.step
      %source.row = getelementptr i8, ptr %source, i64 %source.offset
      %target.offset = mul i64 %y, %target.step
      %target.row = getelementptr i8, ptr %target, i64 %target.offset
      br label %vector
    vector:
      %x = phi i64 [ 0, %row ], [ %x.next, %vector ]
      %pixel = call i64 @llvm.umin.i64(i64 %x, i64 %last)
      %offset = mul i64 %pixel, $bands
      %from = getelementptr i8, ptr %source.row, i64 %offset
      %to = getelementptr i8, ptr %target.row, i64 %offset
      %pixels = load <$samples x i8>, ptr %from, align 1
      $split
      $sums
      %left = shufflevector <16 x i8> %made0, <16 x i8> %made1, <32 x i32> <$joined>
      %right = shufflevector <16 x i8> %made2, <16 x i8> $fourth, <32 x i32> <$joined>
      %mixed = shufflevector <32 x i8> %left, <32 x i8> %right, <$samples x i32> <$interleaved>
      store <$samples x i8> %mixed, ptr %to, align 1
      %x.next = add i64 %x, $pixels
      %more = icmp ult i64 %x.next, %width
      br i1 %more, label %vector, label %row.end
    row.end:
      %y.next = add i64 %y, 1
      %more.rows = icmp ult i64 %y.next, %rows
      br i1 %more.rows, label %row, label %done
    done:
      ret void
    }
    """
)
_BAND = string.Template(
    """
      %red$b = fmul <16 x float> %factor$b.0, %value0
      %green$b = fmul <16 x float> %factor$b.1, %value1
      %blue$b = fmul <16 x float> %factor$b.2, %value2
      %two$b = fadd <16 x float> %red$b, %green$b
      %three$b = fadd <16 x float> %two$b, %blue$b
      %sum$b = fadd <16 x float> %three$b, %factor$b.3
      %halfway$b = fadd <16 x float> %sum$b, splat (float 0.5)
      %is.positive$b = fcmp ogt <16 x float> %halfway$b, zeroinitializer
      %positive$b = select <16 x i1> %is.positive$b, <16 x float> %halfway$b, <16 x float> zeroinitializer
      %is.less$b = fcmp olt <16 x float> %positive$b, splat (float 255.0)
      %limited$b = select <16 x i1> %is.less$b, <16 x float> %positive$b, <16 x float> splat (float 255.0)
      %whole$b = fptosi <16 x float> %limited$b to <16 x i32>
      %made$b = trunc <16 x i32> %whole$b to <16 x i8>"""
)


def matrix(pixels: Bytes, m: npt.NDArray[np.float32], out: Bytes) -> None:
    """Write ``color.matrix`` of ``pixels`` to ``out``: (height, width, bands) with three bands or four.

    Their rows may lie apart, and they share no memory: the last sixteen pixels of a row may be made of some that were made.
    """
    height, width, bands = pixels.shape
    if not pixels.size:
        return
    if width < _PIXELS:
        padded = np.zeros((2, height, _PIXELS, bands), np.uint8)
        padded[0, :, :width] = pixels
        matrix(padded[0], m, padded[1])
        out[...] = padded[1, :, :width]
        return
    m = np.ascontiguousarray(m, np.float32)
    source, target = (pixels.ctypes.data, pixels.strides[0]), (out.ctypes.data, out.strides[0])
    _function(bands)(*source, *target, height, width, m.ctypes.data)


@functools.cache
def _function(bands: int) -> Callable[..., None]:
    factors, split = [], []
    for i in range(12):
        name = f"{i // 4}.{i % 4}"
        factors += [
            f"%at{name} = getelementptr float, ptr %matrix, i64 {i}",
            f"%one{name} = load float, ptr %at{name}",
            f"%first{name} = insertelement <16 x float> poison, float %one{name}, i64 0",
            f"%factor{name} = shufflevector <16 x float> %first{name}, <16 x float> poison, <16 x i32> zeroinitializer",
        ]
    samples = f"<{_PIXELS * bands} x i8>"
    for band in range(bands):
        places = _indices(range(band, _PIXELS * bands, bands))
        split.append(f"%band{band} = shufflevector {samples} %pixels, {samples} poison, <16 x i32> <{places}>")
        split.append(f"%value{band} = uitofp <16 x i8> %band{band} to <16 x float>")
    text = _FUNCTION.substitute(
        name=f"matrix_of_{bands}",
        pixels=_PIXELS,
        bands=bands,
        samples=_PIXELS * bands,
        factors="\n".join(factors),
        split="\n".join(split),
        sums="\n".join(_BAND.substitute(b=band) for band in range(3)),
        joined=_indices(range(2 * _PIXELS)),
        fourth="%band3" if bands == 4 else "poison",
        interleaved=_indices(_PIXELS * band + i for i in range(_PIXELS) for band in range(bands)),
    )
    return assembled(f"matrix_of_{bands}", text)


def _indices(values: Iterable[int]) -> str:
    return ", ".join(f"i32 {value}" for value in values)
