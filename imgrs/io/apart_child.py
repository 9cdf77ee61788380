"""The child process of ``imgrs.io.apart``, run as a script: it decodes what comes in, and needs nothing of this package.

A request is the pickle of a decoder's name, the data, a shape and a dtype; an answer, a ``+`` and the pixels, or ``?`` or
``-`` and what was wrong: the shape or type, or something else. Each stands behind its length.
"""

from __future__ import annotations

import os
import pickle
import struct
import sys
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

LENGTH = struct.Struct("<Q")


def lerc(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """LERC as libtiff writes it: NaN is a mask, of each band where they differ; and so is alpha that is 0 or 255."""
    ways = [shape]
    if len(shape) == 3:
        ways += [(shape[2], *shape[:2]), (*shape[:2], shape[2] - 1)]
    mismatch: Exception | None = None
    for way in ways:
        out = np.empty(way, dtype)
        try:
            _, valid = imagecodecs.lerc_decode(data, masks=True, out=out)
        except ValueError as error:
            mismatch = error
            continue
        if valid is not None and out.dtype.kind == "f":
            out[~valid] = np.nan
        if way == shape:
            return out
        if way[1:] == shape[:2]:
            return np.moveaxis(out, 0, 2)
        alpha = np.full(shape[:2], 255, dtype) if valid is None else (valid * 255).astype(dtype)
        return np.dstack((out, alpha))
    raise ValueError(str(mismatch))


def jpegxr(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    out = np.empty(shape, dtype)
    imagecodecs.jpegxr_decode(data, out=out)
    return out


DECODERS = {"lerc": lerc, "jpegxr": jpegxr}


def answer(request: bytes) -> bytes:
    name, data, shape, dtype = pickle.loads(request)
    try:
        return b"+" + DECODERS[name](data, shape, dtype).tobytes()
    except Exception as error:  # for the parent to raise, whatever it is
        return (b"?" if isinstance(error, ValueError) else b"-") + str(error).encode()


def serve() -> None:
    """Answer until the parent ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what decoders print is no answer
    while head := sys.stdin.buffer.read(LENGTH.size):
        made = answer(sys.stdin.buffer.read(*LENGTH.unpack(head)))
        answers.write(LENGTH.pack(len(made)))
        answers.write(made)
        answers.flush()


if __name__ == "__main__":
    serve()
