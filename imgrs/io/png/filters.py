"""PNG's filters (PNG Specification, Third Edition, 9): chosen and applied, and undone for several rows at once.

A pixel is restored from those at its left and above it, so that those of a row follow one after another. Those of the next row
can be restored meanwhile, one pixel behind: a slant of pixels, of which none needs another, fits a vector, whatever the filter
of each. It is written in LLVM's own language, as neither NumPy nor numba can say it; before it is worth loading LLVM, libpng
does the work.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Callable
from typing import cast

import numpy as np
import numpy.typing as npt

from imgrs.compiled import LLVM, Load
from imgrs.io.png.chunks import Bytes, stored_png
from imgrs.machine_code import assembled

_LIKE = {1: (8, 0), 2: (8, 4), 3: (8, 2), 4: (8, 6), 6: (16, 2), 8: (16, 6)}
"""Bits and color type of an image whose pixels are so many bytes: filters know no more of an image than that."""
_PAETH = 4
"""The last of the filters: none, Sub, Up, Average, Paeth."""
_LANES = 32
"""Samples of a slant: 16 bits each, for sums and differences of bytes."""

_load = Load(16, LLVM)


def filtered(rows: npt.NDArray[np.uint8], pixel: int) -> memoryview:
    """Rows of bytes with PNG's filters: each by Sub or Up, whichever leaves less; none where ``pixel`` (bytes) is 0.

    What they leave is estimated from every eighth byte: four times as fast, and the files are as small. The first row
    never looks at the one above it, which another task has.
    """
    height, width = rows.shape
    out = np.empty((height, width + 1), np.uint8)
    if not pixel:
        out[:, 0], out[:, 1:] = 0, rows
        return out.reshape(-1).data
    here, beside = (np.ascontiguousarray(part[:, ::8]) for part in (rows[:, pixel:], rows[:, : width - pixel]))
    up = np.zeros(height, bool)
    up[1:] = _left(here[1:] - here[:-1]) < _left(here - beside)[1:]
    out[:, 0] = 1 + up
    for y in range(height):
        if up[y]:
            np.subtract(rows[y], rows[y - 1], out=out[y, 1:])
        else:
            out[y, 1 : 1 + pixel] = rows[y, :pixel]
            np.subtract(rows[y, pixel:], rows[y, :-pixel], out=out[y, 1 + pixel :])
    return out.reshape(-1).data


def _left(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """What a filter leaves in each row: the sum of its bytes as distances from 0, as the PNG specification advises."""
    total: npt.NDArray[np.int64] = np.minimum(rows, 0 - rows).sum(axis=1, dtype=np.int64)
    return total


def unfiltered(rows: Bytes, above: Bytes, pixel: int) -> Bytes:
    """Rows of bytes from rows that a filter leaves, each behind its filter's number; ``pixel`` is in bytes.

    ``above`` is the row above the first, zeros where there is none. Raises ``ValueError`` for a filter that does not exist.
    """
    if rows[:, 0].max() > _PAETH:
        raise ValueError(f"bad filter {rows[:, 0].max()}")
    if _load.pays(rows.size):
        return by_slants(rows, above, pixel)
    return by_libpng(rows, above, pixel)


def by_libpng(rows: Bytes, above: Bytes, pixel: int) -> Bytes:
    """Rows that are no image of ours, as those of one with pixels of as many bytes, below an unfiltered one."""
    import imagecodecs

    whole = np.empty((1 + len(rows), rows.shape[1]), np.uint8)
    whole[0, 0], whole[0, 1:], whole[1:] = 0, above, rows
    bits, color = _LIKE[pixel]
    png = stored_png(above.size // pixel, len(whole), bits, color, whole.reshape(-1))
    pixels = imagecodecs.png_decode(cast(bytes, png))  # it takes any buffer
    return pixels.astype(pixels.dtype.newbyteorder(">"), copy=False).view(np.uint8).reshape(len(whole), -1)[1:]


def by_slants(rows: Bytes, above: Bytes, pixel: int) -> Bytes:
    """The same by vectors of pixels of several rows."""
    height, width = len(rows), above.size
    room = _room(pixel)
    group = _LANES // room
    out = np.empty((1 + height, width), np.uint8)
    out[0] = above
    filters = np.zeros((-(-height // group) * group, room), np.int16)
    filters[:height] = rows[:, :1]
    source = rows.ctypes.data + 1, rows.strides[0]
    _slants(pixel)(*source, out.ctypes.data, width, width // pixel, height, filters.ctypes.data)
    return out[1:]


def _room(pixel: int) -> int:
    """Samples of a slant that a pixel takes."""
    return 4 if pixel <= 4 else 8


_FUNCTION = string.Template(
    """
    declare <32 x i16> @llvm.abs.v32i16(<32 x i16>, i1)
    declare i64 @llvm.umin.i64(i64, i64)

    define void @$name(ptr %source, i64 %source.step, ptr %target, i64 %target.step, i64 %width, i64 %rows, ptr %filters) {
    entry:
      br label %group
    group:
      %top = phi i64 [ 0, %entry ], [ %top.next, %group.end ]
      %above.offset = mul i64 %top, %target.step
      %above = getelementptr i8, ptr %target, i64 %above.offset
      %filters.offset = mul i64 %top, $room
      %filters.at = getelementptr i16, ptr %filters, i64 %filters.offset
      %filter = load <32 x i16>, ptr %filters.at, align 2
      %is.sub = icmp eq <32 x i16> %filter, splat (i16 1)
      %is.up = icmp eq <32 x i16> %filter, splat (i16 2)
      %is.average = icmp eq <32 x i16> %filter, splat (i16 3)
      %is.paeth = icmp eq <32 x i16> %filter, splat (i16 4)
      $begin_rows
      %rows.left = sub i64 %rows, %top
      %count = call i64 @llvm.umin.i64(i64 %rows.left, i64 $group)
      %behind = sub i64 %count, 1
      %steps = add i64 %width, %behind
      br label %step
    step:
      %t = phi i64 [ 0, %group ], [ %t.next, %step.end ]
      %a = phi <32 x i16> [ zeroinitializer, %group ], [ %now, %step.end ]
      %c = phi <32 x i16> [ zeroinitializer, %group ], [ %b, %step.end ]
      %above.is.in = icmp ult i64 %t, %width
      br i1 %above.is.in, label %above.load, label %above.end
    above.load:
      %above.byte = mul i64 %t, $pixel
      %above.at = getelementptr i8, ptr %above, i64 %above.byte
      %above.raw = load $raw, ptr %above.at, align 1
      %above.pixel = $widen %above.raw $to_held
      br label %above.end
    above.end:
      %above.held = phi $held [ 0, %step ], [ %above.pixel, %above.load ]
      %above.vector = insertelement <$group x $held> zeroinitializer, $held %above.held, i64 0
      %above.bytes = bitcast <$group x $held> %above.vector to <32 x i8>
      %above.wide = zext <32 x i8> %above.bytes to <32 x i16>
      $load_rows
      %stored.bytes = bitcast <$group x $held> %stored$last to <32 x i8>
      %stored = zext <32 x i8> %stored.bytes to <32 x i16>
      %b = shufflevector <32 x i16> %above.wide, <32 x i16> %a, <32 x i32> <$shift>
      %b.less.c = sub <32 x i16> %b, %c
      %a.less.c = sub <32 x i16> %a, %c
      %both = add <32 x i16> %b.less.c, %a.less.c
      %pa = call <32 x i16> @llvm.abs.v32i16(<32 x i16> %b.less.c, i1 true)
      %pb = call <32 x i16> @llvm.abs.v32i16(<32 x i16> %a.less.c, i1 true)
      %pc = call <32 x i16> @llvm.abs.v32i16(<32 x i16> %both, i1 true)
      %b.nearer = icmp ule <32 x i16> %pb, %pc
      %b.or.c = select <32 x i1> %b.nearer, <32 x i16> %b, <32 x i16> %c
      %least = select <32 x i1> %b.nearer, <32 x i16> %pb, <32 x i16> %pc
      %a.nearest = icmp ule <32 x i16> %pa, %least
      %paeth = select <32 x i1> %a.nearest, <32 x i16> %a, <32 x i16> %b.or.c
      %sum = add <32 x i16> %a, %b
      %average = lshr <32 x i16> %sum, splat (i16 1)
      %guess.4 = select <32 x i1> %is.paeth, <32 x i16> %paeth, <32 x i16> zeroinitializer
      %guess.3 = select <32 x i1> %is.average, <32 x i16> %average, <32 x i16> %guess.4
      %guess.2 = select <32 x i1> %is.up, <32 x i16> %b, <32 x i16> %guess.3
      %guess.1 = select <32 x i1> %is.sub, <32 x i16> %a, <32 x i16> %guess.2
      %found = add <32 x i16> %stored, %guess.1
      %now = and <32 x i16> %found, splat (i16 255)
      %now.bytes = trunc <32 x i16> %now to <32 x i8>
      %now.pixels = bitcast <32 x i8> %now.bytes to <$group x $held>
      $store_rows
      %t.next = add i64 %t, 1
      %more = icmp ult i64 %t.next, %steps
      br i1 %more, label %step, label %group.end
    group.end:
      %top.next = add i64 %top, $group
      %more.rows = icmp ult i64 %top.next, %rows
      br i1 %more.rows, label %group, label %done
    done:
      ret void
    }
    """
)
_BEGIN = string.Template(
    """
      %y$r = add i64 %top, $r
      %is.in$r = icmp ult i64 %y$r, %rows
      %end$r = select i1 %is.in$r, i64 %width, i64 0
      %from.offset$r = mul i64 %y$r, %source.step
      %from$r = getelementptr i8, ptr %source, i64 %from.offset$r
      %below$r = add i64 %y$r, 1
      %to.offset$r = mul i64 %below$r, %target.step
      %to$r = getelementptr i8, ptr %target, i64 %to.offset$r
    """
)
_LOAD = string.Template(
    """
      %x$r = sub i64 %t, $r
      %byte$r = mul i64 %x$r, $pixel
      %lives$r = icmp ult i64 %x$r, %end$r
      br i1 %lives$r, label %load$r, label %loaded$r
    load$r:
      %from.at$r = getelementptr i8, ptr %from$r, i64 %byte$r
      %raw$r = load $raw, ptr %from.at$r, align 1
      %pixel$r = $widen %raw$r $to_held
      br label %loaded$r
    loaded$r:
      %held$r = phi $held [ 0, %$before ], [ %pixel$r, %load$r ]
      %stored$r = insertelement <$group x $held> $vector, $held %held$r, i64 $r
    """
)
_STORE = string.Template(
    """
      br i1 %lives$r, label %store$r, label %$after
    store$r:
      %to.at$r = getelementptr i8, ptr %to$r, i64 %byte$r
      %now.held$r = extractelement <$group x $held> %now.pixels, i64 $r
      %now.raw$r = $narrow %now.held$r $to_raw
      store $raw %now.raw$r, ptr %to.at$r, align 1
      br label %$after
    $after:
    """
)
"""What is done for each row of a group: finding it, loading a pixel of it where the slant is within the image, storing it."""


@functools.cache
def _slants(pixel: int) -> Callable[..., None]:
    room = _room(pixel)
    group, raw, held = _LANES // room, f"i{8 * pixel}", f"i{8 * room}"
    sizes = {"pixel": pixel, "room": room, "group": group, "raw": raw, "held": held, "last": group - 1}
    if raw == held:
        sizes |= {"widen": f"add {raw}", "to_held": ", 0", "narrow": f"add {raw}", "to_raw": ", 0"}
    else:
        sizes |= {"widen": f"zext {raw}", "to_held": f"to {held}", "narrow": f"trunc {held}", "to_raw": f"to {raw}"}
    parts = {"begin_rows": "", "load_rows": "", "store_rows": ""}
    for r in range(group):
        names = {**sizes, "r": r, "before": "above.end", "vector": "zeroinitializer", "after": f"kept{r}"}
        if r:
            names |= {"before": f"loaded{r - 1}", "vector": f"%stored{r - 1}"}
        if r == group - 1:
            names["after"] = "step.end"
        parts["begin_rows"] += _BEGIN.substitute(names)
        parts["load_rows"] += _LOAD.substitute(names)
        parts["store_rows"] += _STORE.substitute(names)
    shift = ", ".join(f"i32 {k if k < room else _LANES + k - room}" for k in range(_LANES))
    name = f"unfilter_{pixel}"
    text = _FUNCTION.substitute(sizes, name=name, shift=shift, **parts)
    return assembled(name, text)
