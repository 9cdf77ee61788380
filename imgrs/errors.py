"""Everything that imgrs raises on purpose, as one family. Each is also the built-in that fits.

::

    ImgrsError
    ├── ArgumentError (ValueError)              a value out of range; raised at the call that has it
    │   └── ArgumentTypeError (TypeError)       a value of the wrong type
    ├── ImageNotFoundError (FileNotFoundError)  no file of that name
    ├── UnsupportedFormatError (OSError)        not an image, or one that cannot be read here
    ├── CorruptImageError (OSError)             the file's own tables or data contradict each other
    │   └── TruncatedImageError                 the file ends before its image does
    ├── SourceChangedError (OSError)            the file is not the one that was opened
    ├── LimitError (OSError)                    larger than a safety limit; says which, and how to raise it
    ├── SaveError (OSError)                     the output could not be written; the old file is whole
    ├── MemoryBudgetError (MemoryError)         no plan fits ``memory_limit``, or no array the system; nothing was read
    └── ComputeError (RuntimeError)             an operation failed on a tile; names both

    DamagedImageWarning (UserWarning)           a file is damaged, and was opened with ``on_error="fill"``
    MetadataWarning (UserWarning)               a save loses a color profile, or how the image lies

A message says what went wrong, where (file, operation, tile), and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def said_by(name: str) -> Iterator[None]:
    """Inside, checks raise ``ArgumentError`` without saying which method was called: its name is put before the message."""
    try:
        yield
    except ArgumentError as error:
        raise type(error)(f"{name}: {error}") from error.__cause__


class ImgrsError(Exception):
    """The base of every error that imgrs raises on purpose."""

    op: str | None = None
    """The operation that was being computed when it was raised: ``"open"`` while a file was decoded; None outside of runs."""
    tile: tuple[int, int, int, int] | None = None
    """The part of that operation's result that was being made: (left, top, right, bottom) in pixels; None outside of runs."""


class ArgumentError(ImgrsError, ValueError):
    """An argument's value is not allowed; the message names the operation, the argument and the range."""


class ArgumentTypeError(ArgumentError, TypeError):
    """An argument is of the wrong type."""


class ImageNotFoundError(ImgrsError, FileNotFoundError):
    """There is no file of that name."""


class UnsupportedFormatError(ImgrsError, OSError):
    """The content is not an image, or a kind that is not supported; or the system, or a server, will not let us read it."""


class CorruptImageError(ImgrsError, OSError):
    """The file's own tables or data contradict each other."""


class TruncatedImageError(CorruptImageError):
    """The file ends before its image does."""


class SourceChangedError(ImgrsError, OSError):
    """The file is no longer the one that was opened."""


class LimitError(ImgrsError, OSError):
    """Something is larger than a safety limit; the message says which limit and how to raise it."""


class SaveError(ImgrsError, OSError):
    """The output could not be written; whatever was there before is untouched."""


class MemoryBudgetError(ImgrsError, MemoryError):
    """No plan fits the memory limit, or the array of a result does not fit what the system has; nothing was read."""

    def __reduce__(self) -> tuple[Any, ...]:  # Dask's way to pickle exceptions fails for other children of MemoryError
        return type(self), self.args, self.__dict__


class ComputeError(ImgrsError, RuntimeError):
    """An operation failed on a tile; the message names the operation, the tile and the line that added it."""


class DamagedImageWarning(UserWarning):
    """Part of a file could not be decoded and is 0, as ``on_error="fill"`` asked; said once per file and process."""


class MetadataWarning(UserWarning):
    """A save loses what the image looks different by: a color profile other than sRGB's, or the orientation."""
