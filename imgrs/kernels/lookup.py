"""A table of 256 bytes applied to samples many at a time: the table lies in vector registers, whose bytes are permuted.

Written in LLVM's own language, as neither NumPy nor numba can say it. With AVX-512 VBMI two permutations look 64 samples up;
with AVX2 sixteen look 32 up, each among the 16 entries whose upper four bits it stands for. Other processors have neither.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from imgrs.compiled import LLVM, Load
from imgrs.machine_code import assembled, processor_has

Bytes = npt.NDArray[np.uint8]

_FUNCTION = string.Template(
    """
    declare <64 x i8> @llvm.x86.avx512.vpermi2var.qi.512(<64 x i8>, <64 x i8>, <64 x i8>)
    declare <32 x i8> @llvm.x86.avx2.pshuf.b(<32 x i8>, <32 x i8>)
    declare <32 x i8> @llvm.uadd.sat.v32i8(<32 x i8>, <32 x i8>)

    define void @$name(ptr %source, i64 %source.step, ptr %target, i64 %target.step, i64 %rows, i64 %length,
                       ptr %table, ptr %kept) {
    entry:
      $loads
      %pattern = load <$lanes x i8>, ptr %kept, align 1
      %keeps = icmp ne <$lanes x i8> %pattern, zeroinitializer
      %rest = and i64 %length, ${lanes_less_1}
      %vectors = sub i64 %length, %rest
      br label %row
    row:
      %y = phi i64 [ 0, %entry ], [ %y.next, %row.end ]
      %source.offset = mul i64 %y, %source.step
      %from = getelementptr i8, ptr %source, i64 %source.offset
      %target.offset = mul i64 %y, %target.step
      %to = getelementptr i8, ptr %target, i64 %target.offset
      br label %vector
    vector:
      %x = phi i64 [ 0, %row ], [ %x.next, %vector.do ]
      %in = icmp ult i64 %x, %vectors
      br i1 %in, label %vector.do, label %single
    vector.do:
      %from.x = getelementptr i8, ptr %from, i64 %x
      %to.x = getelementptr i8, ptr %to, i64 %x
      %v = load <$lanes x i8>, ptr %from.x, align 1
      $look_up
      %result = select <$lanes x i1> %keeps, <$lanes x i8> %v, <$lanes x i8> %found
      store <$lanes x i8> %result, ptr %to.x, align 1
      %x.next = add i64 %x, $lanes
      br label %vector
    single:
      %i = phi i64 [ %vectors, %vector ], [ %i.next, %single.do ]
      %i.in = icmp ult i64 %i, %length
      br i1 %i.in, label %single.do, label %row.end
    single.do:
      %from.i = getelementptr i8, ptr %from, i64 %i
      %to.i = getelementptr i8, ptr %to, i64 %i
      %sample = load i8, ptr %from.i
      %sample.wide = zext i8 %sample to i64
      %entry.at = getelementptr i8, ptr %table, i64 %sample.wide
      %sample.found = load i8, ptr %entry.at
      %lane = sub i64 %i, %vectors
      %keep.at = getelementptr i8, ptr %kept, i64 %lane
      %keep = load i8, ptr %keep.at
      %looked.up = icmp eq i8 %keep, 0
      %sample.result = select i1 %looked.up, i8 %sample.found, i8 %sample
      store i8 %sample.result, ptr %to.i
      %i.next = add i64 %i, 1
      br label %single
    row.end:
      %y.next = add i64 %y, 1
      %more = icmp ult i64 %y.next, %rows
      br i1 %more, label %row, label %done
    done:
      ret void
    }
    """
)
_KEPT = {bands: np.tile(np.arange(bands) == bands - 1, 64 // bands).astype(np.uint8) for bands in (2, 4)}
"""For each of 64 samples whether it is an alpha, by the number of bands; rows begin with whole pixels."""
_NONE_KEPT = np.zeros(64, np.uint8)

_load = Load(64, LLVM)


def pays(pixels: npt.NDArray[Any], out: npt.NDArray[Any], table: npt.NDArray[Any]) -> bool:
    """Whether ``apply`` takes these arrays on this processor, and it is worth loading LLVM (0.05 s) for it."""
    if pixels.dtype != np.uint8 or table.ndim != 1 or pixels.size == 0 or not (_dense(pixels) and _dense(out)):
        return False
    return _load.pays(pixels.size) and _lanes() > 0


def apply(pixels: Bytes, table: Bytes, colors: int, out: Bytes) -> None:
    """Write to ``out`` the entry in ``table`` of each sample of the first ``colors`` bands; the last band may be kept.

    ``pixels`` and ``out`` are (height, width, bands); their rows may lie apart.
    """
    height, width, bands = pixels.shape
    kept = _NONE_KEPT if colors == bands else _KEPT[bands]
    function = _function(_lanes())
    table = np.ascontiguousarray(table)
    row, addresses = width * bands, (pixels.ctypes.data, out.ctypes.data)
    steps = pixels.strides[0], out.strides[0]
    function(addresses[0], steps[0], addresses[1], steps[1], height, row, table.ctypes.data, kept.ctypes.data)


def _dense(pixels: npt.NDArray[Any]) -> bool:
    """Whether the samples of a row follow each other in memory."""
    return pixels.strides[1:] == (pixels.shape[2], 1)


def _lanes() -> int:
    """How many samples this processor looks up at once."""
    return 64 if processor_has("avx512vbmi") else 32 if processor_has("avx2") else 0


@functools.cache
def _function(lanes: int) -> Callable[..., None]:
    name = f"lookup_{lanes}"
    loads, look_up = _permuted_64() if lanes == 64 else _permuted_32()
    parts = {"loads": "\n".join(loads), "look_up": "\n".join(look_up)}
    text = _FUNCTION.substitute(name=name, lanes=lanes, lanes_less_1=lanes - 1, **parts)
    return assembled(name, text)


def _permuted_64() -> tuple[list[str], list[str]]:
    """A permutation of 128 entries by the lower seven bits, for each half of the table."""
    loads = []
    for k in range(4):
        loads.append(f"%at{k} = getelementptr i8, ptr %table, i64 {64 * k}")
        loads.append(f"%t{k} = load <64 x i8>, ptr %at{k}, align 1")
    permute = "call <64 x i8> @llvm.x86.avx512.vpermi2var.qi.512"
    return loads, [
        f"%low = {permute}(<64 x i8> %t0, <64 x i8> %v, <64 x i8> %t1)",
        f"%high = {permute}(<64 x i8> %t2, <64 x i8> %v, <64 x i8> %t3)",
        "%upper = icmp slt <64 x i8> %v, zeroinitializer",
        "%found = select <64 x i1> %upper, <64 x i8> %high, <64 x i8> %low",
    ]


def _permuted_32() -> tuple[list[str], list[str]]:
    """A permutation of 16 entries gives 0 where the index has its highest bit: that is so for all but one of sixteen."""
    twice = ", ".join(f"i32 {i % 16}" for i in range(32))
    loads, look_up = [], []
    for k in range(16):
        loads.append(f"%at{k} = getelementptr i8, ptr %table, i64 {16 * k}")
        loads.append(f"%half{k} = load <16 x i8>, ptr %at{k}, align 1")
        loads.append(f"%t{k} = shufflevector <16 x i8> %half{k}, <16 x i8> poison, <32 x i32> <{twice}>")
        upper, beyond = (", ".join([f"i8 {value}"] * 32) for value in (16 * k, 0x70))
        look_up += [
            f"%x{k} = xor <32 x i8> %v, <{upper}>",
            f"%i{k} = call <32 x i8> @llvm.uadd.sat.v32i8(<32 x i8> %x{k}, <32 x i8> <{beyond}>)",
            f"%f{k} = call <32 x i8> @llvm.x86.avx2.pshuf.b(<32 x i8> %t{k}, <32 x i8> %i{k})",
        ]
    for k in range(1, 16):
        before = "%f0" if k == 1 else f"%or{k - 1}"
        look_up.append(f"{'%found' if k == 15 else f'%or{k}'} = or <32 x i8> {before}, %f{k}")
    return loads, look_up
