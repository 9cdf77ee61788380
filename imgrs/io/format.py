"""What a file format is: how it is recognized, how its images are read, and how pixels become its bytes.

One module or package beside this one declares each format; ``formats()`` lists them. Nothing here knows of graphs and ops.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np

from imgrs.errors import ArgumentError
from imgrs.io.options import check_allowed
from imgrs.io.resource import Resource
from imgrs.types import Pixels, Region, Spec

Options: TypeAlias = Mapping[str, Any]  # the values are the format's own, checked by it
Choices: TypeAlias = Mapping[str, tuple[int, int] | tuple[str, ...] | type]
"""Options with what each takes: the least and the largest number, names, or a type."""
Placed: TypeAlias = tuple[int, int, int]
"""An encoded tile in its place: a number that the encoder gave it, its offset in the file, and its length."""


class Reader(ABC):
    """An image in a file, described by its header; pixels are decoded by ``read`` only.

    A reader holds facts and no open handle, so it pickles and may be used from many threads at once.
    """

    resource: Resource
    format: str
    """Pillow's name: ``"TIFF"``."""
    spec: Spec
    info: Mapping[str, Any]
    """Metadata under Pillow's names: ``dpi``, ``icc_profile``, ``exif``, ..."""
    reads_regions: bool
    """False where only the whole image can be decoded: ``read`` is then called once, with everything."""
    unit: tuple[int, int]
    """Width and height of what is decoded at a time: a tile, a strip, or the whole image."""
    shrinks: Sequence[int] = (1,)
    """The reductions that the decoder offers, 1 included."""
    has_copies: bool = False
    """Whether what is read at a reduction is stored apart from the image, as in pyramids; else both are the same bytes."""
    keeps_units: bool = False
    """Whether decoded units that several tiles need are kept for a while, in the store that a process has for them."""
    page: int = 0
    """Which of the file's images this is."""
    told: str = ""
    """What the caller said of the content, where the file does not: with it, two images of one file are two."""
    missing: str | None = None
    """What the header says and the file is too short for; such an image opens by ``on_error="fill"`` only."""

    @abstractmethod
    def read(self, region: Region, shrink: int = 1) -> Pixels:
        """Decode ``region`` (in pixels of the reduced image) to a fresh (height, width, bands) array.

        Raises ``SourceChangedError``, ``CorruptImageError`` or ``TruncatedImageError``, naming the file and the tile:
        where ``reads_regions``, exactly when a unit that ``region`` meets cannot be decoded.
        """

    def decoding_bytes(self, shrink: int = 1) -> int:
        """The most memory that decoding takes beside what comes out: of a unit where ``reads_regions``, else of the image."""
        return 0 if self.reads_regions else self.shrunk(shrink).nbytes

    def lag_bytes(self, shrink: int = 1) -> int:
        """Bytes of what comes out that are in memory at a time, at most, where ``decode_into`` gets a map of a file."""
        return 0

    def converting_bytes(self, area: int) -> int:
        """The most memory that ``read`` takes beside ``area`` pixels that it gives, to make them from those that are stored."""
        return 0

    def decode_into(self, out: Pixels, shrink: int = 1) -> None:
        """Decode the whole image to an array of its shape, which may be a map of a file."""
        top = 0
        for strip in self.strips(shrink):
            out[top : top + len(strip)] = strip
            top += len(strip)

    def streams(self, shrink: int = 1) -> bool:
        """Whether ``strips`` comes in pieces that are small beside the image, so that it never needs to be in memory."""
        return False

    def strips(self, shrink: int = 1) -> Iterator[Pixels]:
        """The whole image from the top down, in pieces of full width, as many as the format can be decoded in."""
        yield self.read(self.shrunk(shrink).region, shrink)

    def read_strips(self, region: Region) -> Pixels:
        """``read`` for those that stream: from the top to the last row of ``region``, and of the image to what is behind it."""
        spec = self.spec
        out, top = np.empty((region.height, region.width, spec.bands), spec.dtype), 0
        for strip in self.strips():
            covered = Region(0, top, spec.width, top + len(strip))
            shared = covered & region
            if not shared.empty:
                out[shared.slices_in(region)] = strip[shared.slices_in(covered)]
            top = covered.bottom
            if region.bottom <= top < spec.height:
                break
        return out

    @property
    def codec(self) -> str:
        """How its pixels are stored, as costs of decoding are listed: the format, and the compression if it says one."""
        return f"{self.format} {self.info.get('compression', '')}".strip()

    def __str__(self) -> str:
        """What listings show: the file's name without its folder, and without a URL's query, which may hold a key."""
        name = self.resource.name
        return os.path.basename(name.partition("?")[0] if "://" in name else name)

    @property
    def key(self) -> str:
        """Equal for equal pixels: the file, and how it is read."""
        return f"{self.format} {self.resource.identity} {self.page}{self.told}"

    @property
    def lasting(self) -> bool:
        """Whether ``key`` is another one whenever the pixels are."""
        return self.resource.tells_changes

    @property
    def frames(self) -> int:
        """How many images the file holds: pages, or frames of an animation."""
        return 1

    def at(self, page: int) -> Reader:
        """The reader of another image of the file. Raises ``ArgumentError`` for one that it does not have."""
        if page:
            raise ArgumentError(f"open: page must be 0 for {self.resource.name}, got {page}")
        return self

    def shrunk(self, shrink: int) -> Spec:
        """The spec of the image as decoded at a reduction."""
        if shrink == 1:
            return self.spec
        raise ValueError(f"{self.format} cannot be read at 1/{shrink}")

    def unit_at(self, shrink: int) -> tuple[int, int]:
        """``unit`` in pixels of the image as decoded at a reduction."""
        return self.unit if self.reads_regions else self.shrunk(shrink).size

    @abstractmethod
    def stored_bytes(self, region: Region, shrink: int = 1) -> int:
        """How many bytes of the file hold ``region``: the forecast of what ``read`` will fetch."""


class Encoder(ABC):
    """One save, its options checked: makes the file's bytes, whole or tile by tile."""

    spec: Spec
    """The image that is saved."""
    folder: ClassVar[str] = ""
    """For formats of many files, what a folder of theirs always holds: only such a folder is ever replaced."""

    @property
    def codec(self) -> str:
        """What it writes, as costs of encoding are listed: the format, and the compression if there are several."""
        return f"{type(self).__name__.removesuffix('Encoder').upper()} {getattr(self, 'compression', '')}".strip()

    @property
    @abstractmethod
    def encoding_bytes(self) -> int:
        """The most memory that encoding takes beside the pixels and what it gives: of the image, or of a tile."""

    def parts(self, target: str) -> Mapping[str, str]:
        """What was written, within its path, and the names that it takes, the one that makes it an image last."""
        return {"": target}


class WholeEncoder(Encoder):
    """For formats whose file is made from the whole image at once."""

    @property
    def encoding_bytes(self) -> int:
        return self.weight * self.spec.nbytes

    @property
    def weight(self) -> int:
        """How many times the image's size encoding takes, as it was measured: the library's own image, and what it makes."""
        return 3

    @abstractmethod
    def encode(self, pixels: Pixels) -> bytes | memoryview:
        """The file's bytes for all ``pixels``, a (height, width, bands) array."""


LOSSLESS, LOSSY = 0.45, 0.3
"""What comes out of encoding, as a share of the bytes of the pixels: of photographs, nearly, as the rest may wait in a file;
and of noise as JPEG up to quality 90, whatever waits."""


class TileEncoder(Encoder):
    """For formats whose tiles are compressed apart, in parallel, and joined by a short serial step.

    It holds no open file, so it pickles into tasks. ``begin``, ``place`` and ``finish`` work on a path: of a file, or of
    a folder that is full of files in the end.
    """

    unit: tuple[int, int]
    """Width and height of an encoded tile; regions given to ``encode`` start and end on multiples of it."""
    levels: int = 1
    """Copies of the image in the file, each half as large as the one before; made in the same pass."""
    by_rows: ClassVar[bool] = False
    """Whether a tile is as wide as the image; ``place`` then gets tiles from the top down."""
    scattered: ClassVar[bool] = False
    """Whether each tile has a place of its own, so that any task may put it there at any time."""

    @property
    def encoding_bytes(self) -> int:
        return 2 * self.unit[0] * self.unit[1] * self.spec.pixel_bytes

    @property
    def share(self) -> float:
        """What encoding gives, as a share of the bytes of the pixels: about half where nothing is lost.

        Of samples of more than 8 bits the last ones are noise, which does not become less.
        """
        return LOSSLESS if self.spec.itemsize == 1 else 1.0

    @abstractmethod
    def begin(self, path: str) -> int:
        """Write the head of the file, or make the folder; returns the offset at which tile data starts."""

    @abstractmethod
    def encode(self, region: Region, pixels: Pixels, level: int = 0) -> list[tuple[int, bytes]]:
        """Compress the tiles of ``region`` of a copy, in order.

        Returns for each a number that ``place`` needs (the tile's index, say), and its bytes.
        """

    @abstractmethod
    def place(self, path: str, offset: int, tiles: list[tuple[int, bytes]]) -> tuple[int, list[Placed]]:
        """Write encoded tiles at ``offset``, or at places of their own; returns the next offset, and where each is."""

    def stored(self, path: str, placed: Placed) -> bytes:
        """What ``place`` wrote for a tile. Raises ``FileNotFoundError`` where the tile is a file that is not there."""
        with open(path, "rb") as file:
            file.seek(placed[1])
            return file.read(placed[2])

    @abstractmethod
    def finish(self, path: str, offset: int, placed: list[Placed]) -> None:
        """Write the tables that make the file readable; ``placed`` covers every tile."""


@dataclass(frozen=True)
class Format(ABC):
    """One file format."""

    name: ClassVar[str]
    """Pillow's name: ``"TIFF"``."""
    extensions: ClassVar[tuple[str, ...]]
    """Lower case, with the dot; the first is the usual one."""
    is_read: ClassVar[bool] = True
    is_written: ClassVar[bool] = True
    options: ClassVar[Choices] = {}
    """What a save may say."""
    usual: ClassVar[Mapping[str, Any]] = {}
    """What options are unless they are given; flags are False, and others are left to the encoder."""
    notes: ClassVar[Mapping[str, str]] = {}
    """What the manual says about an option beside that."""
    marks: ClassVar[tuple[str, ...]] = ()
    """Files of which a folder has at least one if it is an image of this format."""

    @abstractmethod
    def matches(self, head: bytes) -> bool:
        """Whether a file that begins with ``head`` (its first 64 bytes) is of this format."""

    def check(self, options: Options) -> None:
        """Raise ``ArgumentError`` for values that an option of this format cannot have, whatever the image."""
        for name, value in options.items():
            allowed = self.options[name]
            if isinstance(allowed, tuple):
                check_allowed(self.name, name, value, allowed)

    @abstractmethod
    def open(self, resource: Resource) -> Reader:
        """Read the header. Raises ``CorruptImageError``, ``UnsupportedFormatError`` or ``LimitError``."""

    @abstractmethod
    def encoder(self, spec: Spec, info: Mapping[str, Any], options: Options) -> Encoder:
        """Check a save at the call: raises ``ArgumentError`` for a mode or an option that the format does not have."""
