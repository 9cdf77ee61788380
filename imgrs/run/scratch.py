"""Pixels that do not fit in memory, in files that live as long as a run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from imgrs.io.mapping import mapped
from imgrs.types import Pixels

PIECE = 64 << 20
"""Bytes that are read at a time, at most: systems read no more than 2 GiB."""


@dataclass(frozen=True)
class Scratch:
    """An array of shape (height, width, bands) in a file: its samples, row by row, and nothing else. It pickles."""

    path: str
    shape: tuple[int, int, int]
    dtype: str

    @classmethod
    def create(cls, folder: str, shape: tuple[int, ...], dtype: str) -> Scratch:
        """A new file in ``folder``, all 0; it takes no room until it is written."""
        height, width, bands = shape
        descriptor, path = tempfile.mkstemp(".pixels", dir=folder)
        os.truncate(descriptor, height * width * bands * np.dtype(dtype).itemsize)
        os.close(descriptor)
        return cls(path, (height, width, bands), dtype)

    @contextmanager
    def mapped(self) -> Iterator[Pixels]:
        """The array to be written to, little of it in memory at any time. Views of it must be gone at the end."""
        with open(self.path, "r+b") as file, mapped(file.fileno(), os.path.getsize(self.path), writable=True) as memory:
            yield np.frombuffer(memory, self.dtype).reshape(self.shape)

    def read(self, rows: slice, columns: slice) -> Pixels:
        """A part, read to memory of its own: a map of the file would keep more of it in memory than was asked for."""
        _, width, bands = self.shape
        part = np.empty((rows.stop - rows.start, columns.stop - columns.start, bands), self.dtype)
        pixel = bands * part.itemsize
        at = (rows.start * width + columns.start) * pixel
        with open(self.path, "rb", buffering=0) as file:
            if part.shape[1] == width:
                _read(file.fileno(), part.data.cast("B"), at)
            else:
                for row in part:
                    _read(file.fileno(), row.data.cast("B"), at)
                    at += width * pixel
        return part


def _read(descriptor: int, left: memoryview, at: int) -> None:
    while left:
        count = os.preadv(descriptor, [left[:PIECE]], at)
        if not count:
            raise OSError(f"a scratch file ends at byte {at:,}")
        left, at = left[count:], at + count
