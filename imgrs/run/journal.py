"""What of a save is done, so that it can go on where a process was killed.

A folder beside the target, named after it, holds the unfinished image, the smaller copies that are still needed, and a
journal: a line that says what is being saved, then one for each piece of work whose tiles are in the image. A line
carries a checksum of those tiles, and they are compared with it before it is believed.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, NamedTuple

import numpy as np

from imgrs.errors import SaveError
from imgrs.io.atomic import refusals_told, remove
from imgrs.io.format import Placed, TileEncoder
from imgrs.types import Pixels


class Entry(NamedTuple):
    """A piece of work that is done."""

    job: str
    offset: int
    """The next free offset of the file behind its tiles."""
    placed: list[Placed]


@dataclass(frozen=True)
class Journal:
    """The journal in ``folder``. It holds no open file, so it pickles into tasks."""

    folder: str

    @property
    def image(self) -> str:
        """Where the unfinished image is."""
        return os.path.join(self.folder, "image")

    def tile(self) -> tuple[int, int] | None:
        """The compute tile of the save that was begun; None where none was."""
        head = self._head()
        return None if head is None else (head["tile"][0], head["tile"][1])

    def begin(self, what: str, tile: tuple[int, int]) -> bool:
        """Go on with the save of ``what`` in tiles of ``tile``: True where it was begun before.

        Raises ``SaveError`` where the journal is of another save.
        """
        wanted = {"save": hashlib.blake2b(what.encode(), digest_size=16).hexdigest(), "tile": list(tile)}
        head = self._head()
        if head is not None:
            if head != wanted:
                raise SaveError(
                    f"{self.folder} holds part of another save: the pipeline, its source or an option changed since; "
                    "remove that folder, or save without resume=True"
                )
            return True
        remove(self.image)
        os.makedirs(os.path.join(self.folder, "rests"), exist_ok=True)
        with open(self._path, "w", encoding="ascii") as file:
            file.write(json.dumps(wanted) + "\n")
        return False

    def record(self, entry: Entry, encoder: TileEncoder, rest: Pixels | None) -> None:
        """Note that work is done; ``rest`` is the smaller copy that it hands on."""
        if rest is not None:
            np.save(self._rest(entry.job), rest)
        line = json.dumps([*entry, _checksum(encoder, self.image, entry.placed)])
        with open(self._path, "a", encoding="ascii") as file:
            file.write(line + "\n")

    def entries(self, encoder: TileEncoder) -> list[Entry]:
        """What is done and still as it was written; where tiles stand behind each other, up to the first that is not.

        The journal says no more than that afterward.
        """
        head, *_ = lines = self._lines()
        found, kept = [], [head]
        for line in lines[1:]:
            try:
                job, offset, placed, checksum = json.loads(line)
            except ValueError:
                break  # the process was killed while it wrote this line
            entry = Entry(job, offset, [(number, at, length) for number, at, length in placed])
            if _checksum(encoder, self.image, entry.placed) == checksum:
                found.append(entry)
                kept.append(line)
            elif not encoder.scattered:
                break
        with open(f"{self._path}-new", "w", encoding="ascii") as file:
            file.write("".join(f"{line}\n" for line in kept))
        os.replace(f"{self._path}-new", self._path)
        return found

    def rest(self, job: str) -> Pixels:
        """The smaller copy that finished work had handed on."""
        pixels: Pixels = np.load(self._rest(job))
        return pixels

    @property
    def _path(self) -> str:
        return os.path.join(self.folder, "journal")

    def _rest(self, job: str) -> str:
        return os.path.join(self.folder, "rests", f"{job}.npy")

    def _head(self) -> dict[str, list[int]] | None:
        lines = self._lines()
        try:
            return dict(json.loads(lines[0])) if lines else None
        except ValueError:
            return None

    def _lines(self) -> list[str]:
        try:
            with open(self._path, encoding="ascii") as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []


def _checksum(encoder: TileEncoder, path: str, placed: Sequence[Placed]) -> int | None:
    """A checksum of tiles as they are stored; None where one is missing."""
    total = 0
    try:
        for row in placed:
            total = zlib.crc32(encoder.stored(path, row), total)
    except FileNotFoundError:
        return None
    return total


@contextmanager
def journal_of(target: str) -> Iterator[Journal]:
    """The journal of saves to ``target``, for this process alone; it goes when the save ends well.

    Raises ``SaveError`` where another process is writing there.
    """
    import fcntl

    folder, is_ours = _folder(target), False
    with refusals_told(target):
        while not is_ours:
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, "lock"), "w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise SaveError(f"{target} is being written by another process") from None
                is_ours = _is_at(lock, folder)
                if is_ours:
                    yield Journal(folder)
                    remove(folder)


def forget(target: str) -> None:
    """Remove what is left of a save to ``target`` that was not gone on with, unless another process is at it."""
    import fcntl

    folder = _folder(target)
    with suppress(OSError), open(os.path.join(folder, "lock"), "r+") as lock:  # there may be none
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(folder)


def _is_at(lock: IO[str], folder: str) -> bool:
    """Whether the lock is still there: who held it before may have removed it with the folder."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), os.stat(os.path.join(folder, "lock")))
    except FileNotFoundError:
        return False


def _folder(target: str) -> str:
    return os.path.join(os.path.dirname(target), f".imgrs-resume-{os.path.basename(target)}")
