"""Where a finished file goes: to a path in one step, to a URL, or into a file object."""

from __future__ import annotations

import os
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from imgrs.errors import ArgumentError, ArgumentTypeError, SaveError
from imgrs.io.atomic import refusals_told, take_place, temporary_folder, working_folder
from imgrs.io.files import FolderEncoder
from imgrs.io.format import Encoder
from imgrs.run.journal import Journal, forget, journal_of

STDOUT = "-"


def path_of(target: Any) -> str | None:
    """The path or URL that a target is; None for a file object, and for ``"-"``, the standard output."""
    if isinstance(target, (str, os.PathLike)):
        path = os.fspath(target)
        return None if path == STDOUT else path
    if callable(getattr(target, "write", None)):
        return None
    raise ArgumentTypeError(f"target must be a path, a URL or a binary file object, got {type(target).__name__}")


def names(target: Any, encoder: Encoder) -> list[str]:
    """What a save writes, by names that are equal for equal files; nothing of file objects and streams."""
    path = path_of(target)
    if path is None or _is_stream(path):
        return []
    return list(encoder.parts(path if "://" in path else os.path.realpath(path)).values())


@contextmanager
def landing(target: Any, encoder: Encoder) -> Iterator[str]:
    """The path at which ``encoder`` writes; when the block ends well, what is there goes to ``target``."""
    path = path_of(target)
    if path is not None and "://" in path:
        if encoder.folder:
            with _beside(path, encoder) as place:
                yield place
            return
        from imgrs.io.remote import put

        with _staged() as staged:
            yield staged
            put(staged, path)
    elif path is None or _is_stream(path):
        if encoder.folder:
            raise ArgumentError("save: this format is a folder of files; it needs a path or a URL")
        with _staged() as staged:
            yield staged
            _copy(staged, sys.stdout.buffer if target == STDOUT else target)
    else:
        resolved = os.path.realpath(path)
        _check_replaceable(resolved, encoder)
        with working_folder(resolved) as work:
            staged = os.path.join(work, "image")
            yield staged
            _land(staged, resolved, encoder)
        forget(resolved)


@contextmanager
def resumable(target: Any, encoder: Encoder) -> Iterator[Journal]:
    """The journal of a save to ``target``; when the block ends well, its image goes there, else it stays for next time."""
    path = path_of(target)
    if path is None or "://" in path or _is_stream(path):
        raise ArgumentError(f"save: resume=True needs a path on this host, got {target!r}")
    resolved = os.path.realpath(path)
    _check_replaceable(resolved, encoder)
    with journal_of(resolved) as journal:
        yield journal
        _land(journal.image, resolved, encoder)


def _land(staged: str, target: str, encoder: Encoder) -> None:
    """Let what was written take its names.

    Of several parts, the old document goes first and the new one comes last: a process that is killed between leaves no
    image, rather than one of old and new parts.
    """
    *others, (document, name) = (
        (os.path.join(staged, part) if part else staged, name) for part, name in encoder.parts(target).items()
    )
    with refusals_told(target):
        old = f"{document}-old"
        if others and os.path.exists(name):
            os.rename(name, old)
        try:
            for part, place in others:
                take_place(part, place)
        except OSError:
            if os.path.exists(old):
                os.rename(old, name)
            raise
        take_place(document, name, like=old if others else None)


@contextmanager
def _beside(url: str, encoder: Encoder) -> Iterator[str]:
    """Where a folder of files is written that goes to a URL: right there if there is no image yet, its document last.

    Else it is written beside the old one, which goes when the new one is whole, and takes its name: an error until then
    leaves the old one as it is. The move is not one step: a process that is killed in it leaves a URL without an image,
    and one that is killed before leaves what it wrote, in files that begin with ``.imgrs-work``. An object store moves by
    copying, as it cannot rename.
    """
    from imgrs.io.remote import discard, forget, holds, move

    places = encoder.parts(url)
    if not any(holds(place, encoder.folder) for place in places.values()):
        yield url
        return
    path, chained, archive = url.rstrip("/").partition("::")
    parent, _, name = path.rpartition("/")
    staged = f"{parent}/.imgrs-work-{uuid.uuid4().hex}-{name}{chained}{archive}"
    new = encoder.parts(staged)
    try:
        yield staged
    except BaseException:
        for part in new.values():
            with suppress(SaveError):  # the error that ended the save is the one to be told
                discard(part)
        raise
    for place in reversed(list(places.values())):
        forget(place, encoder.folder)
    for name, place in places.items():
        move(new[name], place, encoder.folder)


def _check_replaceable(target: str, encoder: Encoder) -> None:
    """A folder is replaced by a format of folders only, and only where an image of that format is in it; a file by a file.

    Raises ``SaveError``, also where the folder that it goes into is not there.
    """
    around = os.path.dirname(target)
    if not os.path.isdir(around):
        raise SaveError(f"{target} could not be written: there is no folder {around}; create the folder first")
    documents = encoder.documents() if isinstance(encoder, FolderEncoder) else {}
    for part, name in encoder.parts(target).items():
        if encoder.folder and part not in documents and os.path.isfile(name):
            raise SaveError(
                f"{name} is a file, and this format is a folder; remove the file or save under another name"
            )
        if os.path.isdir(name) and not (encoder.folder and os.path.exists(os.path.join(name, encoder.folder))):
            raise SaveError(f"{name} is a folder, not an image of this format; remove it or save under another name")


def _is_stream(path: str) -> bool:
    """Whether a path is a pipe or a device: those are written, never replaced."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


@contextmanager
def _staged() -> Iterator[str]:
    with temporary_folder(tempfile.gettempdir(), "imgrs-save") as folder:
        yield os.path.join(folder, "image")


def _copy(path: str, target: Any) -> None:
    try:
        with open(path, "rb") as file, _opened(target) as out:
            while part := file.read(1 << 22):
                out.write(part)
            if out is sys.stdout.buffer:
                out.flush()  # at the end of the process nobody would hear that it fails
    except OSError as error:
        name = "the standard output" if target is sys.stdout.buffer else target
        raise SaveError(f"{name} could not be written: {error}") from error


@contextmanager
def _opened(target: Any) -> Iterator[Any]:
    if not isinstance(target, (str, os.PathLike)):
        yield target
        return
    with open(target, "wb") as stream:
        yield stream
