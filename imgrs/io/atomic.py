"""Writing without damage: the new file is written beside the old one and takes its name when it is whole."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from imgrs.errors import SaveError

_NAME = re.compile(r"\.imgrs-(\d+)-")


@contextmanager
def replacing(path: str) -> Iterator[str]:
    """A temporary path in the folder of ``path``; when the block ends well it becomes ``path``.

    Whatever goes wrong, the temporary is removed and ``path`` is as it was. Mode bits of an existing file are kept,
    symbolic links are followed, pipes and devices are written directly. Raises ``SaveError`` for what the system
    refuses; ``KeyboardInterrupt`` and imgrs's own errors propagate.
    """
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        if os.path.isdir(target):
            raise SaveError(f"{path} is a directory")
        yield target
        return
    folder = os.path.dirname(target)
    _sweep(folder)
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".imgrs-{os.getpid()}-", dir=folder)
        os.close(descriptor)
        os.chmod(temporary, _mode(target))
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
        temporary = None
        _sync_folder(folder)
    except (SaveError, FileNotFoundError, OSError) as error:
        if isinstance(error, SaveError) or type(error).__module__.startswith("imgrs"):
            raise
        raise SaveError(f"{path} could not be written: {error.strerror or error}; the old file is untouched") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _mode(target: str) -> int:
    """The mode bits of the file that is replaced, else those that the umask leaves a new file."""
    try:
        return stat.S_IMODE(os.stat(target).st_mode)
    except OSError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask


def _sweep(folder: str) -> None:
    """Remove temporaries that processes which no longer run have left in ``folder``."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            found = _NAME.match(entry.name)
            if found and not _runs(int(found[1])):
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync_folder(folder: str) -> None:
    with contextlib.suppress(OSError):  # some file systems cannot
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
