"""Images that are written as folders of many files: on this host or one that shares its disk, or behind a URL.

Each tile is a file of its own, which any task may write at any time; what makes the folder an image is written last.
"""

from __future__ import annotations

import contextlib
import os
from abc import abstractmethod
from typing import ClassVar

from imgrs.io.format import Placed, TileEncoder
from imgrs.types import Region, Spec

LEVEL, COLUMN = 48, 24
"""Bits of a tile's number below its copy, and below its column; the row is in those that are left."""


class FolderEncoder(TileEncoder):
    """A folder whose tiles are numbered by copy, column and row, and named by the format."""

    scattered: ClassVar[bool] = True
    spec: Spec

    @abstractmethod
    def name(self, level: int, column: int, row: int) -> str:
        """The file of a tile, within the folder."""

    @abstractmethod
    def documents(self) -> dict[str, bytes]:
        """The files beside the tiles, by name; the last one makes the folder an image."""

    def size(self, level: int) -> tuple[int, int]:
        """Width and height of a copy."""
        return -(-self.spec.width >> level), -(-self.spec.height >> level)

    def number(self, level: int, box: Region) -> int:
        """The number of the tile that begins where ``box`` does."""
        return level << LEVEL | box.left // self.unit[0] << COLUMN | box.top // self.unit[1]

    def begin(self, path: str) -> int:
        if "://" not in path:
            os.makedirs(path, exist_ok=True)
        return 0

    def place(self, path: str, offset: int, tiles: list[tuple[int, bytes]]) -> tuple[int, list[Placed]]:
        for number, data in tiles:
            self._write(path, self._name(number), data)
        return offset, [(number, 0, len(data)) for number, data in tiles]

    def stored(self, path: str, placed: Placed) -> bytes:
        with open(os.path.join(path, self._name(placed[0])), "rb") as file:
            return file.read()

    def finish(self, path: str, offset: int, placed: list[Placed]) -> None:
        for name, data in self.documents().items():
            self._write(path, name, data)

    def _write(self, folder: str, name: str, data: bytes) -> None:
        """Write a file of ``folder``: a path whose parts take their names in the end, or a URL, where they have them."""
        if "://" in folder:
            from imgrs.io.remote import pipe

            part, _, rest = name.partition("/")
            address = self.parts(folder).get(part)
            pipe(f"{folder}/{name}" if address is None else f"{address}/{rest}" if rest else address, data)
            return
        path = os.path.join(folder, name)
        try:
            _write_local(path, data)
        except FileNotFoundError:
            _make_folders(folder, name)
            _write_local(path, data)

    def _name(self, number: int) -> str:
        rows = (1 << COLUMN) - 1
        return self.name(number >> LEVEL, number >> COLUMN & rows, number & rows)


def _write_local(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def _make_folders(folder: str, name: str) -> None:
    """The folders of ``name`` in ``folder``, which is not made again: a task may outlive a save that failed."""
    for part in name.split("/")[:-1]:
        folder = os.path.join(folder, part)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder)
