"""Results that are kept from one run to the next: tiles by key, bounded in bytes, in memory or in a folder.

A key is a digest of all that a tile is made from (operations, parameters, the identity of files) and its place, so a
changed source has other keys, and what is found under a key is right whenever it is found. What runs do with a cache is
in ``imgrs.run.caching``, and what is worth storing in ``imgrs.plan.caching``.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import threading
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from imgrs.errors import ArgumentError, ArgumentTypeError
from imgrs.sizes import bytes_of, size_text
from imgrs.types import Pixels

MARKER = "imgrs-cache.txt"
"""The file that tells that a folder is a cache of ours."""
_DIGEST = 16


class Store(Protocol):
    """Where entries are: bounded in bytes, for any number of threads. Callers must not write to the arrays."""

    @property
    def bytes(self) -> int: ...

    def holds(self, key: str) -> bool: ...

    def find(self, key: str) -> bool: ...

    def get(self, key: str) -> Pixels | None: ...

    def put(self, key: str, pixels: Pixels) -> None: ...

    def clear(self) -> None: ...


class Cache:
    """Keep results between runs, ``limit`` bytes of them at most: in memory, or in ``folder`` to outlive the process.

    ``limit`` is a number of bytes, or text such as ``"64MiB"``. Give a cache to ``imgrs.options(cache=...)``, ``compute``
    or ``save``: tiles that are worth it are stored, and taken from there when they are needed again, by this pipeline
    or by another that begins alike. What has not been used for longest goes first. Pixels are the same with and without.

    The bytes in memory come on top of ``memory_limit``. A folder needs the package ``diskcache``, takes its bytes on disk
    and none in memory, and may be shared by processes. It is made where there is none; one with other files in it is
    refused. Raises ``ArgumentError`` for a limit or a folder that will not do.

    >>> import imgrs
    >>> cache = imgrs.Cache("64MiB")
    >>> img = imgrs.new("RGB", (640, 480), (200, 120, 40)).rotate(3)
    >>> with imgrs.options(cache=cache):
    ...     first, second = img.compute(), img.compute()
    >>> cache
    <Cache in memory: 900.0 KiB of 64.0 MiB, 1 hit, 1 miss>
    """

    def __init__(self, limit: int | str, folder: str | os.PathLike[str] | None = None) -> None:
        self.limit: int = bytes_of("Cache: limit", limit)
        """Bytes that it holds, at most."""
        self.folder: str | None = None if folder is None else _path(folder)
        """Where its entries are; None in memory."""
        self._store: Store = InMemory(self.limit) if self.folder is None else OnDisk(self.limit, self.folder)
        self._lock = threading.Lock()
        self._hits = self._misses = 0

    @property
    def hits(self) -> int:
        """How many tiles were wanted and found."""
        return self._hits

    @property
    def misses(self) -> int:
        """How many tiles were wanted, and had to be made."""
        return self._misses

    @property
    def bytes(self) -> int:
        """How many bytes its entries take now."""
        return self._store.bytes

    def clear(self) -> None:
        """Forget all entries, and count hits and misses from 0."""
        self._store.clear()
        with self._lock:
            self._hits = self._misses = 0

    def holds(self, key: str) -> bool:
        """Whether there is an entry, without counting or using it."""
        return self._store.holds(key)

    def find(self, key: str) -> bool:
        """Whether there is an entry, which is then a hit, and goes last of all."""
        found = self._store.find(key)
        self.count(int(found), int(not found))
        return found

    def count(self, hits: int, misses: int) -> None:
        """Count these, too."""
        with self._lock:
            self._hits += hits
            self._misses += misses

    def get(self, key: str) -> Pixels | None:
        """The pixels of an entry, not to be written to; None where it is gone or damaged. Counts nothing."""
        return self._store.get(key)

    def put(self, key: str, pixels: Pixels) -> None:
        """Keep an array of shape (height, width, bands), and forget others to make room; nothing where it does not fit."""
        if pixels.nbytes <= self.limit:
            self._store.put(key, pixels)

    def __repr__(self) -> str:
        hits, misses = (f"{n} {one if n == 1 else more}" for n, one, more in self._counts())
        return f"<Cache in {self.folder or 'memory'}: {size_text(self.bytes)} of {size_text(self.limit)}, {hits}, {misses}>"

    def _counts(self) -> tuple[tuple[int, str, str], ...]:
        return (self.hits, "hit", "hits"), (self.misses, "miss", "misses")

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process has the same folder, or memory of its own: one cache of a limit for all that reaches it."""
        return (of_process, (self.limit,)) if self.folder is None else (_in_folder, (self.limit, self.folder))


def _path(folder: Any) -> str:
    """A folder as an absolute path, where it is one."""
    path = os.fspath(folder) if isinstance(folder, (str, os.PathLike)) else None
    if not isinstance(path, str):
        raise ArgumentTypeError(f"Cache: folder must be a path or None, got {folder!r}")
    return os.path.abspath(path)


@functools.cache
def of_process(limit: int) -> Cache:
    """The cache in memory that all of this process share who ask for ``limit`` bytes."""
    return Cache(limit)


@functools.cache
def _in_folder(limit: int, folder: str) -> Cache:
    return Cache(limit, folder)


def checked(value: Any) -> Cache | None:
    """The option ``cache``: a cache, a limit of one for this process, or ``False`` for none."""
    if isinstance(value, Cache):
        return value
    if value is False:
        return None
    if isinstance(value, (str, int)) and value is not True:
        return of_process(bytes_of("options: cache", value))
    wanted = 'an imgrs.Cache, bytes or text such as "64MiB", or False'
    raise ArgumentTypeError(f"options: cache must be {wanted}, got {value!r}")


class InMemory:
    """Arrays in memory: the least recently used goes first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[str, Pixels] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        return self._size

    def holds(self, key: str) -> bool:
        return key in self._kept

    def find(self, key: str) -> bool:
        return self.get(key) is not None

    def get(self, key: str) -> Pixels | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: str, pixels: Pixels) -> None:
        owner = _owner(pixels)
        if owner.base is not None or owner.nbytes > pixels.nbytes:
            pixels = pixels.copy()  # a part of something larger would keep all of it
        pixels = pixels.view()
        pixels.flags.writeable = False
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = pixels
            self._size += pixels.nbytes
            while self._size > self._limit:
                _, oldest = self._kept.popitem(last=False)
                self._size -= oldest.nbytes

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
            self._size = 0


def _owner(pixels: Pixels) -> Pixels:
    """The array that holds the memory of another, or that views memory which no array holds."""
    while isinstance(pixels.base, np.ndarray):
        pixels = pixels.base
    return pixels


class OnDisk:
    """Entries in a folder, kept by ``diskcache`` (SQLite and files): those of other versions of what computes are not found.

    An entry is a line of JSON that says what follows, a digest, and the samples. Damage is a miss. Nothing is unpickled.
    """

    def __init__(self, limit: int, folder: str) -> None:
        self._folder = folder
        self._limit = limit
        self._entries = _opened(limit, folder)
        self._failures = self._entries.failures
        self._said = False

    @property
    def bytes(self) -> int:
        try:
            return int(self._entries.volume())
        except self._failures as error:
            self._tell(error)
            return 0

    def holds(self, key: str) -> bool:
        try:
            return _named(key) in self._entries
        except self._failures as error:
            self._tell(error)
            return False

    def find(self, key: str) -> bool:
        try:
            found = self._entries.get(_named(key), read=True)  # which marks it as used, and reads no pixels
        except self._failures as error:
            self._tell(error)
            return False
        if hasattr(found, "close"):
            found.close()
        elif found is None and self.holds(key):  # in the index alone: its file is gone
            self._forget(key)
        return found is not None

    def get(self, key: str) -> Pixels | None:
        try:
            data = self._entries.get(_named(key))
        except self._failures as error:
            self._tell(error)
            return None
        if data is None:
            return None
        pixels = _decoded(key, data)
        if pixels is None:
            self._forget(key)
        return pixels

    def put(self, key: str, pixels: Pixels) -> None:
        try:
            self._entries.set(_named(key), _encoded(key, pixels))
            self._entries.make_room()
        except self._failures as error:
            self._tell(error)

    def clear(self) -> None:
        self._entries.clear()

    def _forget(self, key: str) -> None:
        try:
            self._entries.delete(_named(key))
        except self._failures as error:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        """Say once that the folder does not work; runs go on without it."""
        if not self._said:
            self._said = True
            warnings.warn(f"cache: {self._folder} cannot be used ({error}); results are computed instead", stacklevel=3)


def _opened(limit: int, folder: str) -> Any:
    """The folder as a ``diskcache.Cache``; one whose index is damaged is begun anew."""
    import sqlite3

    try:
        import diskcache
    except ImportError:
        raise ArgumentError("Cache: folder needs diskcache; pip install 'imgrs-lazy[cache]'") from None

    class Raw(diskcache.Disk):  # type: ignore[misc]  # diskcache has no type information
        """Bytes only: what somebody else may have written to the folder is never unpickled."""

        def fetch(self, mode: int, filename: str, value: Any, read: bool) -> Any:
            if mode == diskcache.core.MODE_PICKLE:
                return None
            return super().fetch(mode, filename, value, read)

    class Entries(diskcache.Cache):  # type: ignore[misc]  # diskcache has no type information
        failures = (sqlite3.Error, OSError, diskcache.Timeout)

        def make_room(self) -> None:
            """Forget the oldest, one at a time: diskcache forgets ten at once, which may be all that there are."""
            while self.volume() > limit and len(self):
                with self._transact() as (sql, cleanup):
                    self._cull(0.0, sql, cleanup, 1)

    def opened() -> Any:
        policy = {"eviction_policy": "least-recently-used", "cull_limit": 0}  # nothing but make_room() forgets
        return Entries(folder, disk=Raw, size_limit=limit, sqlite_mmap_size=0, **policy)

    try:
        _take(folder)
        try:
            return opened()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # it is not damage
                raise
            for pattern in ("cache.db*", "*/*/*.val"):
                for path in Path(folder).glob(pattern):
                    path.unlink()
            return opened()
    except (OSError, sqlite3.Error) as error:
        raise ArgumentError(f"Cache: folder {folder!r} cannot be used: {error}; give another") from None


def _take(folder: str) -> None:
    """Mark a folder as a cache of imgrs, which is new or empty; others are refused, for what is damaged is deleted.

    The mark comes before all else, so that of two processes that begin at once neither takes the other's files for foreign.
    """
    os.makedirs(folder, exist_ok=True)
    if os.listdir(folder):
        if not os.path.isfile(os.path.join(folder, MARKER)):
            raise ArgumentError(f"Cache: folder {folder!r} is not an imgrs cache and not empty; give another")
        return
    Path(folder, MARKER).write_text(
        "Made by imgrs.Cache, which may delete any file in this folder.\n", encoding="utf-8"
    )


def _named(key: str) -> str:
    return f"{versions()} {key}"


@functools.cache
def versions() -> str:
    """A digest of what decides about the last bit of a result: versions of packages, and the processor."""
    from importlib.metadata import PackageNotFoundError, version

    from imgrs.machine_code import processor

    found = []
    for name in _PACKAGES:
        try:
            found.append(version(name))
        except PackageNotFoundError:
            found.append("")
    return hashlib.blake2b(repr((found, processor())).encode(), digest_size=8).hexdigest()


_PACKAGES = (
    *("imgrs-lazy", "numpy", "scipy", "numba", "opencv-python-headless", "scikit-image"),
    *("pillow", "tifffile", "imagecodecs", "isal", "zarr", "openslide-bin"),
)


def _encoded(key: str, pixels: Pixels) -> bytes:
    data = np.ascontiguousarray(pixels).data.cast("B") if pixels.size else b""
    head = json.dumps([pixels.dtype.name, *pixels.shape]).encode() + b"\n"
    return head + _digest(key, head, data) + bytes(data)


def _decoded(key: str, stored: Any) -> Pixels | None:
    """The pixels of an entry; None where any of it is not as it was written."""
    if not isinstance(stored, bytes):
        return None
    head, _, rest = stored.partition(b"\n")
    head, data = head + b"\n", memoryview(rest)[_DIGEST:]
    if rest[:_DIGEST] != _digest(key, head, data):
        return None
    dtype, *shape = json.loads(head)
    return np.frombuffer(data, dtype).reshape(shape)


def _digest(key: str, head: bytes, data: Any) -> bytes:
    digest = hashlib.blake2b(key.encode() + head, digest_size=_DIGEST)
    digest.update(data)
    return digest.digest()
