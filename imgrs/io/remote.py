"""Files behind URLs, through fsspec: ``https://``, ``s3://``, ``memory://``, members of archives (``zip://a.tif::b.zip``).

Only the ranges that are needed are fetched, in blocks that the process keeps for a while.
"""

from __future__ import annotations

import errno
import functools
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from imgrs.errors import (
    CorruptImageError,
    ImageNotFoundError,
    ImgrsError,
    LimitError,
    SaveError,
    SourceChangedError,
    UnsupportedFormatError,
)
from imgrs.io.folder import MARKS, Folder, safe
from imgrs.io.resource import Resource, count
from imgrs.io.segments import Shared

BLOCK = 256 << 10
"""Bytes that are fetched at a time, at least: a header, and the small tiles around the one that is wanted."""

STAMPS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "created", "CRC")
"""What file systems of fsspec call the entity tag of a file, or its time of change."""

_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)
"""What archives raise whose content is not what was put in."""

WHOLE = 256 << 20
"""Bytes of a file up to which it is read from a server that sends all of it for each part that is asked for."""

_blocks = Shared(32 << 20)
_wholes = Shared(WHOLE, largest=WHOLE)
"""What such servers sent."""


@dataclass(frozen=True)
class UrlResource(Resource):
    """A file behind a URL as it was when it was opened: by its entity tag, or else by size and time of change."""

    url: str
    length: int
    stamp: str

    @classmethod
    def stat(cls, url: str) -> UrlResource:
        """Take the identity of what is behind ``url``. Raises ``ImageNotFoundError`` or ``UnsupportedFormatError``."""
        info = _info(*_system(url), url)
        if info.get("type") == "directory" or not isinstance(info.get("size"), int):
            raise UnsupportedFormatError(f"{url} is not a file of known size, not an image")
        return cls(url, info["size"], _stamp(info))

    @property
    def name(self) -> str:  # type: ignore[override]  # a property serves where the base declares an attribute
        return self.url

    @property
    def size(self) -> int:
        return self.length

    @property
    def identity(self) -> str:
        return f"{self.url}:{self.length}:{self.stamp}"

    @property
    def tells_changes(self) -> bool:
        return "=" in self.stamp  # else its server tells the size alone

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        end = self.length if length is None else min(offset + length, self.length)
        if end <= offset:
            return b""
        if end - offset > 4 * BLOCK:
            return self._fetched(offset, end)
        first, last = offset // BLOCK, (end - 1) // BLOCK
        data = b"".join(self._block(i) for i in range(first, last + 1))
        return data[offset - first * BLOCK : end - first * BLOCK]

    def check(self) -> None:
        if _stamp(_info(*_system(self.url), self.url)) != self.stamp:
            raise SourceChangedError(f"{self.url} changed after it was opened; open it again to use its new content")

    def confirm(self) -> None:
        self.check()

    def _block(self, index: int) -> bytes:
        def fetch() -> np.ndarray[Any, Any]:
            fetched = self._fetched(index * BLOCK, min((index + 1) * BLOCK, self.length))
            return np.frombuffer(fetched, np.uint8)

        return _blocks.get((self.identity, index), fetch).tobytes()

    def _fetched(self, start: int, end: int) -> bytes:
        _checked(self)
        whole = _wholes.kept(self.identity)
        if whole is not None:
            return whole[start:end].tobytes()
        system, path = _system(self.url)
        try:
            data, everything = _part(system, path, self.url, start, end)
            count(len(data))
        except _DAMAGED as error:
            raise CorruptImageError(f"{self.url} cannot be read, the archive is damaged: {error}") from error
        except ImgrsError:
            raise
        except Exception as error:  # every file system of fsspec has its own
            raise SourceChangedError(f"{self.url} can no longer be read: {error}; open it again") from error
        if everything and len(data) == self.length:
            _wholes.get(self.identity, lambda: np.frombuffer(data, np.uint8))
            return data[start:end]
        if len(data) != end - start:
            raise SourceChangedError(f"{self.url} changed after it was opened; open it again to use its new content")
        return data


@dataclass(frozen=True)
class UrlFolder(Folder):
    """A folder behind a URL as it was when it was opened.

    Its identity is that of its own documents (entity tags, sizes, times of change), as listing a store may take minutes:
    a chunk that is overwritten while the documents stay is read as it is then.
    """

    url: str
    stamps: tuple[tuple[str, str], ...]

    remote = True

    @classmethod
    def found(cls, url: str) -> UrlFolder | None:
        """The folder behind ``url``, if it holds an image."""
        folder = cls(url.rstrip("/") if "::" not in url else url, ())
        stamps = []
        for mark in MARKS:
            try:
                stamp = folder._stamp(mark)
            except UnsupportedFormatError:  # stores that may not be listed refuse what they do not have
                continue
            if stamp is not None:
                stamps.append((mark, stamp))
            if stamps and mark == MARKS[0]:
                break  # version 3 has no other documents
        return cls(folder.url, tuple(stamps)) if stamps else None

    @property
    def name(self) -> str:  # type: ignore[override]  # a property serves where the base declares an attribute
        return self.url

    @property
    def marks(self) -> tuple[str, ...]:  # type: ignore[override]  # a property serves where the base declares an attribute
        return tuple(mark for mark, _ in self.stamps)

    @property
    def identity(self) -> str:
        return f"{self.url}:{self.stamps}"

    @property
    def tells_changes(self) -> bool:
        return False

    def file(self, name: str, start: int | None = None, end: int | None = None) -> bytes | None:
        system, path = self._at(safe(self, name))
        if start is None or start >= 0 or end is not None:
            return self._fetched(system, path, start, end)

        def fetch() -> np.ndarray[Any, Any]:
            return np.frombuffer(self._fetched(system, path, start, end) or b"", np.uint8)

        # The index at the end of a shard: each read of a piece of the shard asks for it again.
        return _blocks.get((self.identity, name, start), fetch).tobytes() or None

    def _fetched(self, system: Any, path: str, start: int | None, end: int | None) -> bytes | None:
        try:
            data, everything = _part(system, path, path, start, end)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except _DAMAGED as error:
            raise CorruptImageError(f"{path} of {self.url} cannot be read, the archive is damaged: {error}") from error
        except ImgrsError:
            raise
        except Exception as error:  # every file system of fsspec has its own
            raise SourceChangedError(f"{path} of {self.url} can no longer be read: {error}; open it again") from error
        return data[start:end] if everything else data

    def folders(self) -> list[str]:
        system, path = self._at("")
        try:
            entries = system.ls(path, detail=True)
        except Exception:  # servers need not list what they have; every file system of fsspec says so in its own way
            return []
        return sorted(entry["name"].rstrip("/").rpartition("/")[2] for entry in entries if entry["type"] == "directory")

    def outer(self) -> UrlFolder:
        inner, chained, archive = self.url.partition("::")
        return UrlFolder(inner.rstrip("/").rpartition("/")[0] + chained + archive, ())

    def check(self) -> None:
        _unchanged(self)

    def confirm(self) -> None:
        if any(self._stamp(mark) != stamp for mark, stamp in self.stamps):
            raise SourceChangedError(f"{self.url} changed after it was opened; open it again to use its new content")

    def _at(self, name: str) -> tuple[Any, str]:
        system, path = _system(self.url)
        return system, "/".join(part for part in (path.rstrip("/"), name) if part)

    def _stamp(self, name: str) -> str | None:
        try:
            info = _info(*self._at(name), f"{self.url}/{name}")
        except ImageNotFoundError:
            return None
        return f"{info.get('size')} {' '.join(f'{key}={info[key]}' for key in STAMPS if info.get(key) is not None)}"


@functools.lru_cache(maxsize=256)
def _checked(resource: UrlResource) -> None:
    """Once in each process: is it still what was opened? A run asks at its ends; at every read would double the requests."""
    resource.check()


@functools.lru_cache(maxsize=256)
def _unchanged(folder: UrlFolder) -> None:
    """Once in each process: does the folder still have the documents that were opened?"""
    folder.confirm()


def resource_at(url: str) -> Resource:
    """What is behind ``url``: a file, or a folder that holds an image.

    A web server may answer for a folder with a page that lists it, so where the name is Zarr's its documents are looked
    for first. Raises ``ImageNotFoundError`` or ``UnsupportedFormatError``.
    """
    named = ".zarr" in url
    folder = UrlFolder.found(url) if named else None
    if folder is not None:
        return folder
    try:
        return UrlResource.stat(url)
    except (ImageNotFoundError, UnsupportedFormatError) as error:
        unreachable = isinstance(error.__cause__, OSError)
        folder = None if named or unreachable else UrlFolder.found(url)
        if folder is None:
            raise
        return folder


@functools.lru_cache(maxsize=256)
def _system(url: str) -> tuple[Any, str]:
    import fsspec.core

    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        protocol = url.rpartition("::")[2].partition("://")[0]
        extra = {"http": "http", "https": "http", "s3": "s3"}.get(protocol) if isinstance(error, ImportError) else None
        way_out = f"; pip install 'imgrs-lazy[{extra}]'" if extra else ""
        raise UnsupportedFormatError(f"open: {url}: {error}{way_out}") from None
    except FileNotFoundError as error:
        raise _not_found(error, url) from _reason(error)
    except Exception as error:  # an archive is opened here, and each kind has its own errors
        raise UnsupportedFormatError(f"{url} cannot be opened: {error}") from error
    return system, path


def _part(system: Any, path: str, name: str, start: int | None, end: int | None) -> tuple[bytes, bool]:
    """Bytes of a file; or all of them, and True, from a web server that does not serve ranges (RFC 9110 lets it).

    Raises ``LimitError`` where such a file is long, and what the file system raises.
    """
    if (start is None and end is None) or "http" not in system.protocol:
        return system.cat_file(path, start=start, end=end), False
    import fsspec.asyn

    if start is not None and start < 0 and end is None:
        wanted = f"bytes={start}"
    else:
        wanted = f"bytes={start or 0}-{'' if end is None else end - 1}"

    async def fetch() -> tuple[bytes, bool]:
        session = await system.set_session()
        headers = {**system.kwargs.get("headers", {}), "Range": wanted, "Accept-Encoding": "identity"}
        async with session.get(system.encode_url(path), **{**system.kwargs, "headers": headers}) as response:
            if response.status == 404:
                raise FileNotFoundError(path)
            response.raise_for_status()
            everything = response.status != 206
            length = response.content_length
            if everything and (length is None or length > WHOLE):
                raise LimitError(
                    f"{name}: its server does not serve ranges of bytes and sends all of the file for each part of it, "
                    f"which is done up to {WHOLE:,} bytes; download the file and open that"
                )
            return await response.read(), everything

    found: tuple[bytes, bool] = fsspec.asyn.sync(system.loop, fetch)
    return found


def _info(system: Any, path: str, name: str) -> dict[str, Any]:
    try:
        system.invalidate_cache()
        found: dict[str, Any] = system.info(path)
    except FileNotFoundError as error:
        raise _not_found(error, name) from _reason(error)
    except ImgrsError:
        raise
    except Exception as error:  # every file system of fsspec has its own
        raise UnsupportedFormatError(f"{name} cannot be read: {error}") from error
    return found


def _reason(error: FileNotFoundError) -> BaseException | None:
    """Why a file was not found, where that is not because there is none: fsspec says so of all that a web server refuses."""
    cause = error.__cause__
    missing = isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) in (404, 410)
    return None if missing else cause


def _not_found(error: FileNotFoundError, name: str) -> ImgrsError:
    reason = _reason(error)
    if reason is None:
        return ImageNotFoundError(errno.ENOENT, "no such file", name)
    status = getattr(reason, "status", None)
    if status is None:
        return UnsupportedFormatError(f"{name} cannot be read: {str(reason) or type(reason).__name__}")
    told = f"{status} {getattr(reason, 'message', '')}".strip()
    return UnsupportedFormatError(f"{name} cannot be read: the server answers {told}")


def _stamp(info: dict[str, Any]) -> str:
    for name in STAMPS:
        if info.get(name) is not None:
            return f"{name}:{info[name]}"
    return ""


def pipe(url: str, data: bytes) -> None:
    """Write a small file behind a URL. Raises ``SaveError``."""
    system, target = _system(url)
    with _refusals_told(url, "written"):
        system.makedirs(target.rpartition("/")[0], exist_ok=True)
        system.pipe_file(target, data)


def holds(url: str, mark: str) -> bool:
    """Whether there is a file behind a URL, or a folder that has the file ``mark``. Raises ``SaveError``."""
    system, target = _system(url)
    with _refusals_told(url, "replaced"):
        system.invalidate_cache()
        return bool(system.exists(f"{target}/{mark}") or system.isfile(target))


def forget(url: str, mark: str) -> None:
    """Remove the file behind a URL, or the folder if it has the file ``mark``; else nothing. Raises ``SaveError``."""
    system, target = _system(url)
    with _refusals_told(url, "replaced"):
        system.invalidate_cache()
        if system.exists(f"{target}/{mark}"):
            system.rm(f"{target}/{mark}", recursive=True)  # it is no image from here on
            system.rm(target, recursive=True)
        elif system.isfile(target):
            system.rm(target)


def discard(url: str) -> None:
    """Remove what is behind a URL, if anything. Raises ``SaveError``."""
    system, target = _system(url)
    with _refusals_told(url, "removed"):
        system.invalidate_cache()
        if system.exists(target):
            system.rm(target, recursive=True)


def move(url: str, to: str, mark: str) -> None:
    """Let a file or a folder behind a URL have another URL, at which there is nothing. Raises ``SaveError``.

    Object stores cannot rename: there each file is copied within the store, ``mark`` last, before the first one goes.
    """
    import fsspec

    (system, path), (_, target) = _system(url), _system(to)
    with _refusals_told(to, f"replaced (what is new is behind {url})"):
        system.invalidate_cache()
        if type(system).mv is not fsspec.AbstractFileSystem.mv:
            system.mv(path, target, recursive=True)
            return
        names = system.find(path)
        for part in ([n for n in names if n != f"{path}/{mark}"], [n for n in names if n == f"{path}/{mark}"]):
            if part:
                system.copy(part, [target + name.removeprefix(path) for name in part], on_error="raise")
        system.rm(path, recursive=True)


def put(path: str, url: str) -> None:
    """Copy a finished file to a URL. Raises ``SaveError``."""
    system, target = _system(url)
    with _refusals_told(url, "written"):
        system.put_file(path, target)


@contextmanager
def _refusals_told(url: str, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # every file system of fsspec has its own
        raise SaveError(f"{url} could not be {what}: {error}") from error
