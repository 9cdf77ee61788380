"""Images that are folders of many files, as Zarr's are: which files they have, and who they are.

A folder knows no format. It reads its files by name, and refuses them once it can tell that something in it changed.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from abc import abstractmethod
from collections import deque
from dataclasses import dataclass

from imgrs.errors import CorruptImageError, SourceChangedError, UnsupportedFormatError
from imgrs.io.resource import Resource

MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
"""Files that make a folder an image: Zarr's documents."""
MOST_LISTED = 10_000
"""Files of a local folder that are looked at when it is opened (some 3 us each)."""


class Folder(Resource):
    """An image that is a folder. Its content is in its files, so that it has no bytes of its own."""

    remote: bool
    """Whether reading a file takes a journey, so that several should be under way at once."""
    marks: tuple[str, ...]
    """Which of ``MARKS`` it has."""
    stored: int | None = None
    """Bytes of all its files, where that is known."""

    @property
    def size(self) -> int:
        return 0

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        return b""

    @abstractmethod
    def file(self, name: str, start: int | None = None, end: int | None = None) -> bytes | None:
        """Bytes ``start`` to ``end`` (as slices have them) of the file ``name``, such as ``"0/zarr.json"``.

        None where there is no such file. Raises ``SourceChangedError``.
        """

    @abstractmethod
    def folders(self) -> list[str]:
        """The names of the folders in it, in order; none where that cannot be found out."""

    @abstractmethod
    def outer(self) -> Folder:
        """The folder that it lies in, for what that says about it. Its ``marks`` and identity are not looked up."""

    @abstractmethod
    def check(self) -> None:
        """Raise ``SourceChangedError`` where the folder is no longer the one that was opened."""


def safe(folder: Folder, name: str) -> str:
    """``name`` unless it leads out of the folder: documents name files too."""
    if name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/"):
        raise CorruptImageError(f"{folder.name}: {name!r} lies outside the folder")
    return name


@dataclass(frozen=True)
class LocalFolder(Folder):
    """A folder on disk as it was when it was opened.

    Its identity is a digest of the names, sizes and times of change of its files, up to
    ``MOST_LISTED`` of them. A file that was changed or made later than the newest of them, and a folder that lost one, are
    refused when they are met. A folder with more files is known by its documents alone: a chunk of it that is overwritten
    is read as it is then.
    """

    path: str
    digest: str
    documents: tuple[tuple[str, tuple[int, int] | None], ...]
    """Size and time of change of the documents in it and in the folder around it; None where there is none."""
    newest: int | None
    """When the newest of its files and folders was changed; None where not all were looked at."""
    stored: int | None

    remote = False

    @classmethod
    def stat(cls, path: str | os.PathLike[str]) -> LocalFolder:
        """Take the identity of the folder at ``path``. Raises ``UnsupportedFormatError`` where it holds no image."""
        resolved = os.path.abspath(os.fspath(path))
        names = [os.path.join(place, mark) for place in ("", os.pardir) for mark in MARKS]
        try:
            documents = tuple((name, _document(os.path.join(resolved, name))) for name in names)
            if not any(status for _, status in documents[: len(MARKS)]):
                if os.path.isfile(os.path.join(resolved, "info.json")):
                    raise UnsupportedFormatError(
                        f"{resolved} is IIIF, which is written only, for viewers, and not read"
                    )
                raise UnsupportedFormatError(f"{resolved} is a directory without {' or '.join(MARKS)}, not an image")
            digest, newest, stored = _listed(resolved) or (_digest(documents), None, None)
        except OSError as error:
            if isinstance(error, UnsupportedFormatError):
                raise
            raise UnsupportedFormatError(f"{error.filename or resolved}: {error.strerror}") from None
        return cls(resolved, digest, documents, newest, stored)

    @property
    def name(self) -> str:  # type: ignore[override]  # a property serves where the base declares an attribute
        return self.path

    @property
    def identity(self) -> str:
        return f"{self.path}:{self.digest}"

    @property
    def tells_changes(self) -> bool:
        return self.newest is not None

    @property
    def marks(self) -> tuple[str, ...]:  # type: ignore[override]  # a property serves where the base declares an attribute
        return tuple(name for name, status in self.documents if status and name in MARKS)

    def file(self, name: str, start: int | None = None, end: int | None = None) -> bytes | None:
        path = os.path.join(self.path, safe(self, name))
        try:
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                self._refuse_newer(path, status.st_mtime_ns)
                first, last, _ = slice(start, end).indices(status.st_size)
                file.seek(first)
                return file.read(max(last - first, 0))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            self._refuse_loss(path)
            return None
        except PermissionError as error:
            raise SourceChangedError(f"{path} cannot be read: {error.strerror}") from error

    def _refuse_newer(self, path: str, changed: int) -> None:
        if self.newest is not None and changed > self.newest:
            raise SourceChangedError(f"{path} changed after {self.path} was opened; open it again")

    def _refuse_loss(self, path: str) -> None:
        """A file that is not there may never have been: then the folder that would hold it is as it was."""
        folder = os.path.dirname(path)
        while not os.path.isdir(folder) and len(folder) > len(self.path):
            folder = os.path.dirname(folder)
        try:
            self._refuse_newer(folder, os.stat(folder).st_mtime_ns)
        except FileNotFoundError:
            raise SourceChangedError(f"{self.path} was deleted or moved after it was opened; open it again") from None

    def folders(self) -> list[str]:
        return sorted(entry.name for entry in os.scandir(self.path) if entry.is_dir())

    def outer(self) -> LocalFolder:
        return LocalFolder(os.path.dirname(self.path), "", (), None, None)

    def check(self) -> None:
        if any(_document(os.path.join(self.path, name)) != status for name, status in self.documents):
            raise SourceChangedError(f"{self.path} changed after it was opened; open it again to use its new content")


def _document(path: str) -> tuple[int, int] | None:
    """Size and time of change of a file; None where there is none."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_size, status.st_mtime_ns


def _digest(documents: tuple[tuple[str, tuple[int, int] | None], ...]) -> str:
    return hashlib.blake2b(repr(documents).encode(), digest_size=16).hexdigest()


def _listed(root: str) -> tuple[str, int, int] | None:
    """A digest of a folder's listing, the newest time of change in it, and its bytes; None where there are too many files."""
    digest, newest, stored, seen = hashlib.blake2b(digest_size=16), 0, 0, 0
    waiting = deque([""])
    while waiting:
        inside = waiting.popleft()
        newest = max(newest, os.stat(os.path.join(root, inside)).st_mtime_ns)
        with os.scandir(os.path.join(root, inside)) as entries:
            found = list(itertools.islice(entries, MOST_LISTED + 1 - seen))
        seen += len(found)
        if seen > MOST_LISTED:
            return None
        for entry in sorted(found, key=lambda entry: entry.name):
            name = os.path.join(inside, entry.name)
            if entry.is_dir():
                waiting.append(name)
                continue
            status = entry.stat()
            digest.update(f"{name}:{status.st_size}:{status.st_mtime_ns}\n".encode())
            newest, stored = max(newest, status.st_mtime_ns), stored + status.st_size
    return digest.hexdigest(), newest, stored
