"""Decoded tiles that several tasks need: kept for a while, bounded in bytes, and decoded once even if asked for at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from imgrs.types import Pixels

Key = TypeVar("Key", bound=Hashable)

LIMIT = 64 << 20
"""Bytes of decoded tiles that a process keeps."""


class Shared:
    """A least-recently-used store of arrays with single flight: one thread decodes, the others wait for it.

    It holds ``limit`` bytes, of arrays of at most ``largest`` bytes: a quarter of them unless given.
    """

    def __init__(self, limit: int, largest: int | None = None) -> None:
        self._limit = limit
        self._largest = limit // 4 if largest is None else largest
        self._size = 0
        self._rooms: list[int] = []
        self._kept: OrderedDict[Hashable, Pixels] = OrderedDict()
        self._flying: dict[Hashable, threading.Event] = {}
        self._lock = threading.Lock()

    @contextmanager
    def room(self, size: int) -> Iterator[None]:
        """Keep no more than ``size`` bytes as long as the block runs; or than all blocks together that run at a time."""
        with self._lock:
            self._rooms.append(size)
            self._make_room()
        try:
            yield
        finally:
            with self._lock:
                self._rooms.remove(size)
                self._make_room()

    def _make_room(self) -> None:
        limit = min(self._limit, sum(self._rooms)) if self._rooms else self._limit
        while self._size > limit:
            _, oldest = self._kept.popitem(last=False)
            self._size -= oldest.nbytes

    def get(self, key: Hashable, decode: Callable[[], Pixels]) -> Pixels:
        """The array of ``key``, decoded if it is not kept. Callers must not write to it."""
        return self.get_all([key], lambda _: [decode()])[0]

    def kept(self, key: Hashable) -> Pixels | None:
        """The array of ``key`` where it is kept."""
        with self._lock:
            return self._kept.get(key)

    def get_all(self, keys: Sequence[Key], decode: Callable[[Sequence[Key]], Sequence[Pixels]]) -> list[Pixels]:
        """The arrays of different ``keys``; those that are not kept, and that no other thread decodes, are decoded at once."""
        found: dict[Key, Pixels] = {}
        while len(found) < len(keys):
            claimed: list[Key] = []
            waiting: threading.Event | None = None
            with self._lock:
                for key in keys:
                    if key in found:
                        continue
                    if key in self._kept:
                        self._kept.move_to_end(key)
                        found[key] = self._kept[key]
                    elif key in self._flying:
                        waiting = self._flying[key]
                    else:
                        self._flying[key] = threading.Event()
                        claimed.append(key)
            if claimed:
                found.update(zip(claimed, self._fly(claimed, decode), strict=True))
            elif waiting is not None:
                waiting.wait()
        return [found[key] for key in keys]

    def _fly(self, keys: Sequence[Key], decode: Callable[[Sequence[Key]], Sequence[Pixels]]) -> Sequence[Pixels]:
        try:
            arrays = decode(keys)
            with self._lock:
                for key, pixels in zip(keys, arrays, strict=True):
                    if pixels.nbytes <= self._largest:
                        self._kept[key] = pixels
                        self._size += pixels.nbytes
                self._make_room()
            return arrays
        finally:
            with self._lock:
                for key in keys:
                    self._flying.pop(key).set()


_shared = Shared(LIMIT)


def room(size: int) -> AbstractContextManager[None]:
    """Keep at most ``size`` bytes in this process's store as long as a block runs."""
    return _shared.room(size)


def shared(key: Hashable, decode: Callable[[], Pixels]) -> Pixels:
    """The array of ``key`` from this process's store."""
    return _shared.get(key, decode)


def shared_all(keys: Sequence[Key], decode: Callable[[Sequence[Key]], Sequence[Pixels]]) -> list[Pixels]:
    """The arrays of different ``keys`` from this process's store; ``decode`` makes those that it lacks, at once."""
    return _shared.get_all(keys, decode)
