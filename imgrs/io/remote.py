"""Files behind URLs, through fsspec: ``https://``, ``s3://``, ``memory://``, members of archives (``zip://a.tif::b.zip``).

Only the ranges that are needed are fetched, in blocks that the process keeps for a while.
"""

from __future__ import annotations

import errno
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from imgrs.errors import ImageNotFoundError, ImgrsError, SourceChangedError, UnsupportedFormatError
from imgrs.io.resource import Resource
from imgrs.io.segments import Shared

BLOCK = 256 << 10
"""Bytes that are fetched at a time, at least: a header, and the small tiles around the one that is wanted."""

_blocks = Shared(32 << 20)


@dataclass(frozen=True)
class UrlResource(Resource):
    """A file behind a URL as it was when it was opened: by its entity tag, or else by size and time of change."""

    url: str
    length: int
    stamp: str

    @classmethod
    def stat(cls, url: str) -> UrlResource:
        """Take the identity of what is behind ``url``. Raises ``ImageNotFoundError`` or ``UnsupportedFormatError``."""
        info = _info(url)
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

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        end = self.length if length is None else min(offset + length, self.length)
        if end <= offset:
            return b""
        if end - offset > 4 * BLOCK:
            return self._fetched(offset, end)
        first, last = offset // BLOCK, (end - 1) // BLOCK
        data = b"".join(self._block(i) for i in range(first, last + 1))
        return data[offset - first * BLOCK : end - first * BLOCK]

    def _block(self, index: int) -> bytes:
        def fetch() -> np.ndarray[Any, Any]:
            fetched = self._fetched(index * BLOCK, min((index + 1) * BLOCK, self.length))
            return np.frombuffer(fetched, np.uint8)

        return _blocks.get((self.identity, index), fetch).tobytes()

    def _fetched(self, start: int, end: int) -> bytes:
        _checked(self)
        system, path = _system(self.url)
        try:
            data: bytes = system.cat_file(path, start=start, end=end)
        except Exception as error:  # every file system of fsspec has its own
            raise SourceChangedError(f"{self.url} can no longer be read: {error}; open it again") from error
        if len(data) != end - start:
            raise SourceChangedError(f"{self.url} changed after it was opened; open it again to use its new content")
        return data


@functools.lru_cache(maxsize=256)
def _checked(resource: UrlResource) -> None:
    """Once in each process: is it still what was opened? Asking at every read would double the requests."""
    if _stamp(_info(resource.url)) != resource.stamp:
        raise SourceChangedError(f"{resource.url} changed after it was opened; open it again to use its new content")


@functools.lru_cache(maxsize=256)
def _system(url: str) -> tuple[Any, str]:
    import fsspec.core

    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise UnsupportedFormatError(f"open: {url}: {error}") from None
    except FileNotFoundError:
        raise ImageNotFoundError(errno.ENOENT, "no such file", url) from None
    return system, path


def _info(url: str) -> dict[str, Any]:
    system, path = _system(url)
    try:
        system.invalidate_cache()
        found: dict[str, Any] = system.info(path)
    except FileNotFoundError:
        raise ImageNotFoundError(errno.ENOENT, "no such file", url) from None
    except ImgrsError:
        raise
    except Exception as error:  # every file system of fsspec has its own
        raise UnsupportedFormatError(f"{url} cannot be read: {error}") from error
    return found


def _stamp(info: dict[str, Any]) -> str:
    for name in ("ETag", "etag", "mtime", "LastModified", "last_modified", "created", "CRC"):
        if info.get(name) is not None:
            return f"{name}:{info[name]}"
    return ""


def pipe(url: str, data: bytes) -> None:
    """Write a small file behind a URL."""
    system, target = _system(url)
    system.pipe_file(target, data)


def put(path: str, url: str) -> None:
    """Copy a finished file to a URL."""
    system, target = _system(url)
    system.put_file(path, target)
