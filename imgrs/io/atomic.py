"""Writing without damage: what is new is made beside the old and takes its name when it is whole."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from imgrs.errors import ImgrsError, SaveError

_LOCK = "lock"
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux's renameat2
_HERE = -100  # AT_FDCWD: paths are as they are


@contextmanager
def working_folder(path: str) -> Iterator[str]:
    """A temporary folder beside ``path``: what is made in it takes its name by ``take_place``.

    Raises ``SaveError`` for what the system refuses; ``KeyboardInterrupt`` and imgrs's own errors propagate.
    """
    beside = os.path.dirname(os.path.realpath(path))
    with refusals_told(path), temporary_folder(beside, ".imgrs-work") as folder:
        yield folder


@contextmanager
def temporary_folder(beside: str, name: str) -> Iterator[str]:
    """A folder in ``beside`` that begins with ``name``, removed in the end with whatever is still in it.

    Before, those of this host go whose processes were killed: while a process lives, it holds a lock in its folder. Those
    of other hosts are left alone, as a shared disk need not show their locks.
    """
    import fcntl

    ours = f"{name}-{re.sub(r'[^a-zA-Z0-9.]', '_', platform.node())}-"
    _sweep(beside, ours)
    folder = tempfile.mkdtemp(prefix=f"{name}.new-", dir=beside)  # no sweep knows it by this name
    lock = open(os.path.join(folder, _LOCK), "w")  # noqa: SIM115  # closed before the folder goes, as NFS wants it
    try:
        # Where there are no locks, a sweep gets none either, and lets all folders be.
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        known = os.path.join(beside, f"{ours}{os.getpid()}-{folder.rpartition('-')[2]}")
        os.rename(folder, known)
        folder = known
        yield folder
    finally:
        with contextlib.suppress(OSError):
            # Tasks of a run that failed may still write: under another name, they cannot while it is emptied.
            os.rename(folder, f"{folder}-gone")
        lock.close()
        remove(f"{folder}-gone")


@contextmanager
def refusals_told(path: str) -> Iterator[None]:
    """What the system refuses while ``path`` is written, as a ``SaveError`` that says so."""
    try:
        yield
    except ImgrsError:
        raise
    except OSError as error:
        kept = "; the old one is untouched" if os.path.exists(path) else ""
        raise SaveError(f"{path} could not be written: {error.strerror or error}{kept}") from error


def take_place(temporary: str, target: str, like: str | None = None) -> None:
    """Let a finished file or folder have the name ``target``, in one step; a folder that had it is then ``temporary-old``.

    Mode bits of what is replaced are kept, or those of ``like``.
    """
    folder = os.path.dirname(target)
    if os.path.isdir(temporary):
        os.chmod(temporary, _mode(like or target, 0o777))
        os.sync()
        if os.path.isdir(target):
            moving = f"{temporary}-old"  # a save that goes on must not find old tiles among its own
            remove(moving)
            os.rename(temporary, moving)
            _exchange(moving, target)
        else:
            os.rename(temporary, target)
    else:
        os.chmod(temporary, _mode(like or target, 0o666))
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    _sync(folder)


def remove(path: str) -> None:
    """Remove a file or a folder, as far as the system lets us: it is called where something else may be on its way."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.unlink(path)


def _exchange(one: str, other: str) -> None:
    """Swap the names of two folders, in one step where the system can (Linux); else the old name is gone for a moment."""
    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if os.name == "posix" else None
    if swap is not None and swap(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return
    aside = f"{one}-aside"
    os.rename(other, aside)
    os.rename(one, other)
    os.rename(aside, one)


def _mode(target: str, usual: int) -> int:
    """The mode bits of what is replaced, else those that the umask leaves of ``usual``."""
    try:
        return stat.S_IMODE(os.stat(target).st_mode)
    except OSError:
        umask = os.umask(0)
        os.umask(umask)
        return usual & ~umask


def _sweep(folder: str, ours: str) -> None:
    """Remove the temporary folders of this host in ``folder`` that no process holds a lock in."""
    import fcntl

    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if not (entry.name.startswith(ours) and entry.is_dir(follow_symlinks=False)):
                continue
            with contextlib.suppress(OSError):  # it is held, is another user's, or went in the meantime
                with open(os.path.join(entry.path, _LOCK), "r+") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(entry.path)


def _sync(path: str) -> None:
    """Bring a file or a folder to the disk."""
    with contextlib.suppress(OSError):  # some file systems cannot do it for folders
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
