"""The pass across of a resize at 8 bits, where the processor sums four products at once (AVX-512 VNNI and VBMI).

It multiplies bytes by bytes, and an integer weight of 23 bits is three of them: each sum is made once for every part, and the
parts are put together in the end. So results are those of ``resample``, to the bit. What several pixels need is gathered from
64 bytes of a row at a time, without transposing. Written in LLVM's own language, as neither NumPy nor numba can say it.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imgrs.compiled import LLVM, Load
from imgrs.machine_code import assembled, processor_has

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]
Weights = npt.NDArray[np.int32]

_VECTOR, _LANES = 64, 16
"""Bytes of a vector; and its sums, of 32 bits, each of four bytes."""
_PARTS = 3
"""Bytes of a weight."""

_STRIP = 32
"""Rows that are done from left to right: they stay in the cache, for neighbors read much the same."""
_ROWS = 4
"""Rows that are summed side by side, with the same weights."""

_load = Load(8, LLVM)

_FUNCTION = string.Template(
    """
    declare <64 x i8> @llvm.masked.load.v64i8.p0(ptr, i32, <64 x i1>, <64 x i8>)
    declare void @llvm.masked.store.v16i8.p0(<16 x i8>, ptr, i32, <16 x i1>)
    declare <64 x i8> @llvm.x86.avx512.permvar.qi.512(<64 x i8>, <64 x i8>)
    declare <16 x i32> @llvm.x86.avx512.permvar.si.512(<16 x i32>, <16 x i32>)
    declare <16 x i32> @llvm.x86.avx512.vpdpbusd.512(<16 x i32>, <16 x i32>, <16 x i32>)
    declare <16 x i32> @llvm.smax.v16i32(<16 x i32>, <16 x i32>)
    declare <16 x i32> @llvm.smin.v16i32(<16 x i32>, <16 x i32>)
    declare i64 @llvm.umin.i64(i64, i64)

    define void @across_$precision(
        ptr %source, i64 %source.step, ptr %target, i64 %target.step, i64 %rows, i64 %groups, i64 %steps, ptr %starts,
        i64 %start.step, ptr %gathers, ptr %within, ptr %weights, i64 %pixels.step, ptr %kept, i64 %folds, ptr %moves
    ) {
    entry:
      %last.row = sub i64 %rows, 1
      br label %group
    group:
      %g = phi i64 [ 0, %entry ], [ %g.next, %group.end ]
      %start.at = getelementptr i64, ptr %starts, i64 %g
      %start = load i64, ptr %start.at
      %from = getelementptr i8, ptr %source, i64 %start
      %gather.at = getelementptr <64 x i8>, ptr %gathers, i64 %g
      %gather = load <64 x i8>, ptr %gather.at, align 1
      %group.steps = mul i64 %g, %steps
      %within.g = getelementptr i64, ptr %within, i64 %group.steps
      %group.parts = mul i64 %group.steps, 3
      %weights.g = getelementptr <16 x i32>, ptr %weights, i64 %group.parts
      %kept.at = getelementptr i16, ptr %kept, i64 %g
      %kept.bits = load i16, ptr %kept.at
      %keeps = bitcast i16 %kept.bits to <16 x i1>
      %keeps.all = icmp eq i16 %kept.bits, -1
      %to.offset = mul i64 %g, %pixels.step
      %to = getelementptr i8, ptr %target, i64 %to.offset
      br label %row
    row:
      %y = phi i64 [ 0, %group ], [ %y.next, %stored$last ]
      $rows
      br label %step
    step:
      %s = phi i64 [ 0, %row ], [ %s.next, %step ]
      $sums
      %ahead = mul i64 %s, %start.step
      %within.at = getelementptr i64, ptr %within.g, i64 %s
      %within.bits = load i64, ptr %within.at
      %is.within = bitcast i64 %within.bits to <64 x i1>
      %part = mul i64 %s, 3
      $loads
      $products
      %s.next = add i64 %s, 1
      %s.more = icmp ult i64 %s.next, %steps
      br i1 %s.more, label %step, label %folding
    folding:
      $joins
      br label %fold
    fold:
      %f = phi i64 [ 0, %folding ], [ %f.next, %fold.do ]
      $totals
      %f.more = icmp ult i64 %f, %folds
      br i1 %f.more, label %fold.do, label %folded
    fold.do:
      %move.at = getelementptr <16 x i32>, ptr %moves, i64 %f
      %move = load <16 x i32>, ptr %move.at, align 1
      $folds
      %f.next = add i64 %f, 1
      br label %fold
    folded:
      $ends
      %y.next = add i64 %y, $count
      %y.more = icmp ult i64 %y.next, %rows
      br i1 %y.more, label %row, label %group.end
    group.end:
      %g.next = add i64 %g, 1
      %g.more = icmp ult i64 %g.next, %groups
      br i1 %g.more, label %group, label %done
    done:
      ret void
    }
    """
)
_OF_ROW = {
    "rows": string.Template(
        """
      %y.at$r = add i64 %y, $r
      %y$r = call i64 @llvm.umin.i64(i64 %y.at$r, i64 %last.row)
      %from.offset$r = mul i64 %y$r, %source.step
      %from$r = getelementptr i8, ptr %from, i64 %from.offset$r
      %to.offset$r = mul i64 %y$r, %target.step
      %to$r = getelementptr i8, ptr %to, i64 %to.offset$r"""
    ),
    "loads": string.Template(
        """
      %at.s$r = getelementptr i8, ptr %from$r, i64 %ahead
      %bytes$r = call <64 x i8> @llvm.masked.load.v64i8.p0(ptr %at.s$r, i32 1, <64 x i1> %is.within, <64 x i8> zeroinitializer)
      %gathered$r = call <64 x i8> @llvm.x86.avx512.permvar.qi.512(<64 x i8> %bytes$r, <64 x i8> %gather)
      %samples$r = bitcast <64 x i8> %gathered$r to <16 x i32>"""
    ),
    "joins": string.Template(
        """
      %middle$r = shl <16 x i32> %next$r.1, splat (i32 8)
      %high$r = shl <16 x i32> %next$r.2, splat (i32 16)
      %lower$r = add <16 x i32> %next$r.0, %middle$r
      %joined$r = add <16 x i32> %lower$r, %high$r"""
    ),
    "totals": string.Template("%total$r = phi <16 x i32> [ %joined$r, %folding ], [ %folded$r, %fold.do ]"),
    "folds": string.Template(
        """
      %moved$r = call <16 x i32> @llvm.x86.avx512.permvar.si.512(<16 x i32> %total$r, <16 x i32> %move)
      %folded$r = add <16 x i32> %total$r, %moved$r"""
    ),
    "ends": string.Template(
        """
      %halfway$r = add <16 x i32> %total$r, splat (i32 $half)
      %scaled$r = ashr <16 x i32> %halfway$r, splat (i32 $precision)
      %positive$r = call <16 x i32> @llvm.smax.v16i32(<16 x i32> %scaled$r, <16 x i32> zeroinitializer)
      %limited$r = call <16 x i32> @llvm.smin.v16i32(<16 x i32> %positive$r, <16 x i32> splat (i32 255))
      %pixels$r = trunc <16 x i32> %limited$r to <16 x i8>
      br i1 %keeps.all, label %store.all$r, label %store.some$r
    store.all$r:
      store <16 x i8> %pixels$r, ptr %to$r, align 1
      br label %stored$r
    store.some$r:
      call void @llvm.masked.store.v16i8.p0(<16 x i8> %pixels$r, ptr %to$r, i32 1, <16 x i1> %keeps)
      br label %stored$r
    stored$r:"""
    ),
}
"""What is done for each of the rows that are read together."""


def pays(source: npt.NDArray[Any], starts: Numbers, weights: npt.NDArray[Any]) -> bool:
    """Whether ``across`` takes these arrays on this processor, and it is worth loading LLVM for it."""
    fits = source.dtype == np.uint8 and weights.dtype == np.int32 and source.shape[2] <= _LANES // 4
    if not fits or source.size == 0 or starts.min() < 0:
        return False
    beyond = starts[:, None] + np.arange(weights.shape[1]) >= source.shape[1]
    if weights[beyond].any() or np.abs(weights).max() >= 127 << 16:
        return False
    return _load.pays(source.size) and is_able()


@functools.cache
def is_able() -> bool:
    """Whether this processor has the instructions."""
    return processor_has("avx512vnni") and processor_has("avx512vbmi")


def across(source: Bytes, starts: Numbers, weights: Weights, precision: int) -> Bytes:
    """For each column ``i`` of the result, the sum of ``weights[i, t] * source[:, starts[i] + t]`` in 2^-``precision``.

    It is rounded half up, and limited. ``source`` is (height, width, bands); weights beyond it are 0.
    """
    height, width, bands = source.shape
    out, strip = np.empty((height, len(starts), bands), np.uint8), np.empty((_STRIP, width, bands), np.uint8)
    layout = _laid_out(starts, weights, width, bands)
    function, arguments = _function(precision), layout.arguments
    source_step, target_step = strip.strides[0], out.strides[0]
    for top in range(0, height, _STRIP):
        rows = source[top : top + _STRIP]
        strip[: len(rows)] = rows  # memory is read in order, and the strip then is in the cache
        target = out.ctypes.data + top * target_step
        function(strip.ctypes.data, source_step, target, target_step, len(rows), *arguments)
    return out


@dataclass(frozen=True, eq=False)
class _Layout:
    """Where the products of each group of pixels lie in vectors."""

    starts: Numbers
    """The first byte of a row that each group reads."""
    ahead: int
    """Bytes from one step of a group to the next."""
    gathers: Bytes
    """Which of the bytes that are read each place of a vector takes: (groups, sums, 4)."""
    within: npt.NDArray[np.uint64]
    """Which bytes of a step are within the row, by bits: (groups, steps)."""
    weights: npt.NDArray[np.int8]
    """(groups, steps, parts, sums, 4)."""
    made: int
    """Bytes that a group makes."""
    kept: npt.NDArray[np.uint16]
    """Which of 16 bytes are within the row, by bits; those behind a group are written again by the next one."""
    folds: int
    """How often one half of the sums is added to the other."""
    moves: npt.NDArray[np.int32]
    """Where each sum finds the one that is added: (folds, sums)."""

    @property
    def arguments(self) -> tuple[int, ...]:
        """As the loop takes them."""
        groups, steps = self.within.shape
        read = self.starts.ctypes.data, self.ahead, self.gathers.ctypes.data, self.within.ctypes.data
        written = self.made, self.kept.ctypes.data, self.folds, self.moves.ctypes.data
        return groups, steps, *read, self.weights.ctypes.data, *written


def _laid_out(starts: Numbers, weights: Weights, width: int, bands: int) -> _Layout:
    """A vector's sums are for each of some fours of taps, each pixel of a group, and each band, in this order."""
    quads, group = _shape(starts, weights.shape[1], bands)
    groups, used, number = -(-len(starts) // group), quads * group * bands, len(starts)
    missing = groups * group - number
    starts = np.pad(starts, (0, missing), mode="edge").reshape(groups, group)
    parts = _parts(np.pad(weights, ((0, missing), (0, -weights.shape[1] % (4 * quads)))))
    steps = parts.shape[1] // quads
    parts = parts.reshape(groups, group, steps, quads, _PARTS, 4).transpose(0, 2, 4, 3, 1, 5)
    laid = np.zeros((groups, steps, _PARTS, _LANES, 4), np.int8)
    laid[..., :used, :] = np.repeat(parts.reshape(groups, steps, _PARTS, -1, 4), bands, axis=3)
    taps = 4 * np.arange(quads)[:, None, None, None] + np.arange(4)
    pixels = (starts - starts[:, :1])[:, None, :, None, None] + taps
    gathers = np.zeros((groups, _LANES, 4), np.uint8)
    gathers[:, :used] = (pixels * bands + np.arange(bands)[:, None]).reshape(groups, used, 4)
    first, ahead, made, folds = starts[:, 0] * bands, 4 * quads * bands, group * bands, quads.bit_length() - 1
    within = np.clip(width * bands - first[:, None] - ahead * np.arange(steps), 0, _VECTOR)
    kept = np.clip(number * bands - made * np.arange(groups), 0, _LANES)
    moves = [(np.arange(_LANES) + (used >> fold + 1)) % _LANES for fold in range(folds)]
    return _Layout(
        first,
        ahead,
        gathers,
        _ones(within),
        laid,
        made,
        _ones(kept).astype(np.uint16),
        folds,
        np.array(moves, np.int32),
    )


def _shape(starts: Numbers, taps: int, bands: int) -> tuple[int, int]:
    """How many fours of taps, and of how many pixels, are summed at once: what takes the fewest steps."""
    best, shape = np.inf, (1, 1)
    for quads in (1, 2, 4):
        for group in range(min(_LANES // (bands * quads), len(starts)), 0, -1):
            reach = int((starts[group - 1 :] - starts[: len(starts) - group + 1]).max()) + 4 * quads
            if reach * bands <= _VECTOR:
                work = (-(-taps // (4 * quads)) * 5 + 10 + 2 * quads.bit_length()) / group
                if work < best:
                    best, shape = work, (quads, group)
                break
    return shape


def _parts(weights: Weights) -> npt.NDArray[np.int8]:
    """Bytes whose sum, the next ones times 256 and 65,536, is the weight: of shape (outputs, fours of taps, parts, 4)."""
    left = np.pad(weights, ((0, 0), (0, -weights.shape[1] % 4)))
    parts = []
    for _ in range(_PARTS):
        parts.append(left.astype(np.int8))
        left = (left - parts[-1]) >> 8
    return np.ascontiguousarray(np.stack(parts, axis=-1).reshape(len(weights), -1, 4, _PARTS).swapaxes(2, 3))


def _ones(counts: Numbers) -> npt.NDArray[np.uint64]:
    """Numbers whose lowest bits, so many, are 1."""
    whole = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
    return np.where(counts > 0, whole >> np.minimum(64 - counts, 63).astype(np.uint64), np.uint64(0))


@functools.cache
def _function(precision: int) -> Callable[..., None]:
    return assembled(f"across_{precision}", _text(precision))


def _text(precision: int) -> str:
    parts: dict[str, list[str]] = {
        name: [] for name in ("rows", "sums", "loads", "products", "joins", "totals", "folds", "ends")
    }
    for part in range(_PARTS):
        parts["loads"] += [
            f"%at{part} = add i64 %part, {part}",
            f"%weight.at{part} = getelementptr <16 x i32>, ptr %weights.g, i64 %at{part}",
            f"%weight{part} = load <16 x i32>, ptr %weight.at{part}, align 1",
        ]
    for row in range(_ROWS):
        names = {"r": row, "half": 1 << precision - 1, "precision": precision, "after": f"stored{row}"}
        for name, template in _OF_ROW.items():
            parts[name].append(template.substitute(names))
        for part in range(_PARTS):
            sum_, next_ = f"%sum{row}.{part}", f"%next{row}.{part}"
            parts["sums"].append(f"{sum_} = phi <16 x i32> [ zeroinitializer, %row ], [ {next_}, %step ]")
            call = "call <16 x i32> @llvm.x86.avx512.vpdpbusd.512"
            parts["products"].append(
                f"{next_} = {call}(<16 x i32> {sum_}, <16 x i32> %samples{row}, <16 x i32> %weight{part})"
            )
    texts = {name: "\n".join(lines) for name, lines in parts.items()}
    return _FUNCTION.substitute(texts, last=_ROWS - 1, count=_ROWS, precision=precision)
