"""Files as memory of which little is resident, for decoders that want one long buffer to read from or to write to.

Pages of a mapped file count as the process's own until they are dropped; their content stays with the file.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

INTERVAL = 0.005
"""Seconds after which used pages are dropped: a decoder writes some megabytes in that time."""


@contextmanager
def mapped(descriptor: int, length: int, writable: bool = False) -> Iterator[mmap.mmap]:
    """The first ``length`` bytes of an open file as a buffer; a thread drops its pages from memory again and again."""
    memory = mmap.mmap(descriptor, length, access=mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ)
    done = threading.Event()

    def drop() -> None:
        while not done.wait(INTERVAL):
            memory.madvise(mmap.MADV_DONTNEED)

    dropper = threading.Thread(target=drop, name="imgrs-drop-pages", daemon=True) if _can_drop() else None
    if dropper is not None:
        dropper.start()
    try:
        yield memory
    finally:
        done.set()
        if dropper is not None:
            dropper.join()
        with suppress(BufferError):  # an error on its way out may hold views; the map goes when they do
            memory.close()


def _can_drop() -> bool:
    """Whether the system drops pages when told to; elsewhere they are resident until the end."""
    return hasattr(mmap.mmap, "madvise") and hasattr(mmap, "MADV_DONTNEED")
