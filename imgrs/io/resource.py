"""Where bytes come from: a file with the identity it had when it was opened, or bytes in memory.

A resource pickles: a path travels as its name and identity, and is opened again where it is read.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from imgrs.errors import (
    ArgumentError,
    ArgumentTypeError,
    ImageNotFoundError,
    SourceChangedError,
    UnsupportedFormatError,
)
from imgrs.io.mapping import mapped

HANDLES = 32
"""File descriptors that a process keeps open for reading, at most."""
LAST = 4096
"""Bytes that are looked at for the mark by which a file ends."""
MAPPED_ABOVE = 64 << 20
"""Bytes of a file above which it is mapped, and not read, where a decoder wants all of it at once."""

_counting: ContextVar[list[int] | None] = ContextVar("imgrs_bytes_read", default=None)


@contextmanager
def counted(total: list[int]) -> Iterator[None]:
    """Add to ``total[0]`` the bytes that are read of files and URLs inside, in this thread."""
    token = _counting.set(total)
    try:
        yield
    finally:
        _counting.reset(token)


def count(size: int) -> None:
    """Note that ``size`` bytes were read."""
    total = _counting.get()
    if total is not None:
        total[0] += size


class Resource(ABC):
    """A readable run of bytes that knows who it is."""

    name: str
    """How messages call it: the path, or ``"<bytes>"``."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Length in bytes."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """Equal for equal content, as far as can be told without reading a file: name, size and time of change."""

    @property
    def tells_changes(self) -> bool:
        """Whether ``identity`` is another one whenever the content is: not where only a part of it is known."""
        return True

    @abstractmethod
    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes from ``offset``; fewer than ``length`` at the end. Raises ``SourceChangedError``."""

    def check(self) -> None:  # noqa: B027  # bytes in memory never change
        """Raise ``SourceChangedError`` unless this is still what was opened, where that can be told at little cost."""

    def confirm(self) -> None:  # noqa: B027  # reads of local files tell
        """Raise ``SourceChangedError`` unless this is still what was opened, where reads cannot tell: at both ends of a run."""

    @contextmanager
    def buffer(self) -> Iterator[Any]:
        """All bytes as one buffer, for decoders that want it so."""
        yield self.read()

    @property
    def buffer_bytes(self) -> int:
        """The memory that ``buffer`` takes."""
        return self.size


@dataclass(frozen=True)
class FileResource(Resource):
    """A file on disk as it was when it was opened; ``read`` refuses it once size or time of change differ."""

    path: str
    length: int
    mtime_ns: int
    host_identity: tuple[int, int] | None = field(default=None, compare=False)
    """Device and inode, for the host that opened it; other hosts see other numbers, so it is left out of pickles."""

    @classmethod
    def stat(cls, path: str | os.PathLike[str]) -> FileResource:
        """Take the identity of the file at ``path``. Raises ``ImageNotFoundError`` or ``UnsupportedFormatError``."""
        resolved = os.path.abspath(os.fspath(path))
        try:
            status = os.stat(resolved)
        except FileNotFoundError:
            raise ImageNotFoundError(errno.ENOENT, "no such file", os.fspath(path)) from None
        except OSError as error:
            raise UnsupportedFormatError(f"{resolved}: {error.strerror}") from None
        if not os.path.isfile(resolved):
            kind = "is a directory" if os.path.isdir(resolved) else "is not a regular file"
            raise UnsupportedFormatError(f"{resolved} {kind}, not an image")
        return cls(resolved, status.st_size, status.st_mtime_ns, (status.st_dev, status.st_ino))

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "length": self.length, "mtime_ns": self.mtime_ns, "host_identity": None}

    @property
    def name(self) -> str:  # type: ignore[override]  # a property serves where the base declares an attribute
        return self.path

    @property
    def size(self) -> int:
        return self.length

    @property
    def identity(self) -> str:
        return f"{self.path}:{self.length}:{self.mtime_ns}"

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        if offset >= self.length:  # by a pointer that lies, which may be more than the system takes
            return b""
        length = self.length - offset if length is None else length
        with _handles.lease(self) as descriptor:
            parts = []
            while length > 0:
                part = os.pread(descriptor, length, offset)
                if not part:
                    if offset < self.length:
                        raise SourceChangedError(f"{self.path} became shorter while it was read; open it again")
                    break
                count(len(part))
                parts.append(part)
                offset += len(part)
                length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @contextmanager
    def buffer(self) -> Iterator[Any]:
        if self.length <= MAPPED_ABOVE:
            yield self.read()
            return
        with _handles.lease(self) as descriptor, mapped(descriptor, self.length) as memory:
            count(self.length)
            yield memory

    @property
    def buffer_bytes(self) -> int:
        return min(self.length, MAPPED_ABOVE)

    def check(self) -> None:
        """Raise ``SourceChangedError`` unless the file at the path is still the one that was opened."""
        try:
            status = os.stat(self.path)
        except OSError:
            raise SourceChangedError(f"{self.path} was deleted or moved after it was opened; open it again") from None
        same = (status.st_size, status.st_mtime_ns) == (self.length, self.mtime_ns)
        if same and self.host_identity is not None:
            same = (status.st_dev, status.st_ino) == self.host_identity
        if not same:
            raise SourceChangedError(f"{self.path} changed after it was opened; open it again to use its new content")


@dataclass(frozen=True)
class BytesResource(Resource):
    """Bytes in memory: what ``open`` makes of ``bytes``, ``BytesIO`` and file objects."""

    data: bytes = field(repr=False)
    name: str = "<bytes>"

    @property
    def size(self) -> int:
        return len(self.data)

    @cached_property
    def _digest(self) -> str:
        return hashlib.blake2b(self.data, digest_size=16).hexdigest()

    @property
    def identity(self) -> str:
        return f"bytes:{self._digest}"

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        return self.data[offset:] if length is None else self.data[offset : offset + length]


def ends_with(resource: Resource, mark: bytes) -> bool:
    """Whether ``mark`` is among the last bytes of a file, behind which others may have written something."""
    start = max(0, resource.size - LAST)
    return mark in resource.read(start, LAST)


class _File(io.RawIOBase):
    """A resource as a file object; what is read is fetched, and no more than a buffer beyond it."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset + {0: 0, 1: self._position, 2: self._resource.size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = self._resource.read(self._position, len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class _Buffered(io.BufferedReader):
    """A reader that sets memory aside for what there is to read, not for what a header claims."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(_File(resource), 1 << 16)
        self._size = resource.size

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > 1 << 16:
            size = min(size, max(0, self._size - self.tell()))
        return super().read(size)


def as_file(resource: Resource) -> io.BufferedReader:
    """A resource as a binary file object, for the parsers of others."""
    return _Buffered(resource)


class _Handles:
    """The process's open descriptors, least recently used closed first; never more than ``limit`` when idle."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._idle: OrderedDict[FileResource, list[int]] = OrderedDict()
        self._count = 0
        self._lock = threading.Lock()

    @contextmanager
    def lease(self, resource: FileResource) -> Iterator[int]:
        """A descriptor of the very file that ``resource`` describes, checked on every lease (1.5 us)."""
        resource.check()
        with self._lock:
            idle = self._idle.get(resource)
            descriptor = None
            if idle is not None:
                descriptor = idle.pop()
                self._count -= 1
                if not idle:
                    del self._idle[resource]
        if descriptor is None:
            try:
                descriptor = os.open(resource.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            except OSError:
                raise SourceChangedError(f"{resource.path} can no longer be opened; open it again") from None
        try:
            status = os.fstat(descriptor)
            if (status.st_size, status.st_mtime_ns) != (resource.length, resource.mtime_ns):
                raise SourceChangedError(f"{resource.path} changed after it was opened; open it again")
            yield descriptor
        except BaseException:
            os.close(descriptor)
            raise
        self._put_back(resource, descriptor)

    def _put_back(self, resource: FileResource, descriptor: int) -> None:
        surplus = []
        with self._lock:
            self._idle.setdefault(resource, []).append(descriptor)
            self._idle.move_to_end(resource)
            self._count += 1
            while self._count > self._limit:
                oldest, descriptors = next(iter(self._idle.items()))
                surplus.append(descriptors.pop())
                self._count -= 1
                if not descriptors:
                    del self._idle[oldest]
        for descriptor in surplus:
            os.close(descriptor)


_handles = _Handles(HANDLES)


def resource_of(source: object) -> Resource:
    """A path, a URL, bytes, or an object with ``read`` as a resource.

    A file object is read from its start to its end, and is left where it stood.
    """
    if isinstance(source, str) and "://" in source:
        from imgrs.io.remote import resource_at

        return resource_at(source)
    if isinstance(source, (str, os.PathLike)):
        if not os.fspath(source):
            raise ArgumentError("open: the path is empty")
        if os.path.isdir(source):
            from imgrs.io.folder import LocalFolder

            return LocalFolder.stat(source)
        return FileResource.stat(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return BytesResource(bytes(source))
    read = getattr(source, "read", None)
    if not callable(read):
        raise ArgumentTypeError(f"open: source must be a path, bytes or a file object, got {type(source).__name__}")
    seek, tell = getattr(source, "seek", None), getattr(source, "tell", None)
    position = None
    if callable(seek) and callable(tell):
        position = tell()
        seek(0)
    data = read()
    if position is not None and callable(seek):
        seek(position)
    if not isinstance(data, bytes):
        raise ArgumentTypeError(f"open: the file object must be binary, its read() gave {type(data).__name__}")
    return BytesResource(data, name=str(getattr(source, "name", "<bytes>")))
