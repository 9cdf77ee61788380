"""Decoded tiles that several tasks need: kept for a while, bounded in bytes, and decoded once even if asked for at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from imgrs.types import Pixels

LIMIT = 64 << 20
"""Bytes of decoded tiles that a process keeps."""


class Shared:
    """A least-recently-used store of arrays with single flight: one thread decodes, the others wait for it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[Hashable, Pixels] = OrderedDict()
        self._flying: dict[Hashable, threading.Event] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, decode: Callable[[], Pixels]) -> Pixels:
        """The array of ``key``, decoded if it is not kept. Callers must not write to it."""
        while True:
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key]
                waiting = self._flying.get(key)
                if waiting is None:
                    self._flying[key] = threading.Event()
            if waiting is None:
                return self._fly(key, decode)
            waiting.wait()

    def _fly(self, key: Hashable, decode: Callable[[], Pixels]) -> Pixels:
        try:
            pixels = decode()
            with self._lock:
                if pixels.nbytes <= self._limit // 4:
                    self._kept[key] = pixels
                    self._size += pixels.nbytes
                while self._size > self._limit:
                    _, oldest = self._kept.popitem(last=False)
                    self._size -= oldest.nbytes
            return pixels
        finally:
            with self._lock:
                self._flying.pop(key).set()


_shared = Shared(LIMIT)


def shared(key: Hashable, decode: Callable[[], Pixels]) -> Pixels:
    """The array of ``key`` from this process's store."""
    return _shared.get(key, decode)
