"""What a run spent: records of its tasks, and their sums by part and by stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imgrs.types import Region

LATER = ("gather", "keep", "encode", "write", "other")
"""Parts of a task that are no op of its program, in the order in which they are listed."""


@dataclass
class Part:
    """What was spent on one op of a stage, or on one other kind of work (``LATER``), over all tiles.

    ``seconds`` are on the clock and ``cpu_seconds`` of the processor, both added up over workers. ``peak_bytes`` is the most
    memory that a process that ran it had resident when it ended, or while it ran where the run looked.
    """

    name: str
    kind: str
    """``"decode"``, ``"op"``, ``"join"`` for blocks of earlier stages put together, or one of ``LATER``."""
    calls: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    pixels: int = 0
    bytes: int = 0
    peak_bytes: int = 0

    @property
    def label(self) -> str:
        """How a table calls it: a source is decoded."""
        return f"decode {self.name}" if self.kind == "decode" else self.name

    def add(self, calls: int, seconds: float, cpu_seconds: float, pixels: int, size: int, peak: int) -> None:
        self.calls += calls
        self.seconds += seconds
        self.cpu_seconds += cpu_seconds
        self.pixels += pixels
        self.bytes += size
        self.peak_bytes = max(self.peak_bytes, peak)


@dataclass
class StageRun:
    """What was spent on one stage of a plan: its tiles, and all that was done for them.

    ``seconds`` and ``cpu_seconds`` add up the tasks of all workers; ``span_seconds`` is from the start of the first to the end
    of the last. ``read_bytes`` came from files, and ``bytes`` are those of the tiles.
    """

    name: str
    kind: str
    tiles_planned: int
    image: tuple[int, int]
    """(width, height) of what it makes."""
    parts: dict[str, Part]
    tiles: int = 0
    tasks: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    pixels: int = 0
    """Pixels of its tiles."""
    bytes: int = 0
    read_bytes: int = 0
    peak_bytes: int = 0
    first: float = field(default=float("inf"), repr=False)
    last: float = field(default=0.0, repr=False)

    @property
    def in_order(self) -> list[Part]:
        """The parts: ops as the program has them, then what became of tiles."""
        ops = [part for name, part in self.parts.items() if name not in LATER]
        return ops + [self.parts[name] for name in LATER if name in self.parts]

    @property
    def span_seconds(self) -> float:
        return max(0.0, self.last - self.first)

    @property
    def between_seconds(self) -> float:
        """What the tasks took beside their parts: finding out what a tile needs, and cutting it out."""
        return max(0.0, self.seconds - sum(part.seconds for part in self.parts.values()))

    @property
    def megapixels_per_second(self) -> float:
        return self.pixels / 1e6 / self.span_seconds if self.span_seconds else 0.0


@dataclass(frozen=True)
class TileTime:
    """How long one tile took: which stage (from 0), where, seconds on the clock and of the processor, bytes read, and by
    which worker."""

    stage: int
    region: Region
    seconds: float
    cpu_seconds: float
    read_bytes: int
    worker: str


@dataclass(frozen=True)
class Report:
    """What one task says of itself; it travels as a list of plain values."""

    stage: int
    tile: tuple[int, int, int, int] | None
    began: float
    """By the clock of the host that ran it, in seconds since 1970."""
    seconds: float
    cpu_seconds: float
    read_bytes: int
    size: int
    peak: int
    worker: str
    parts: Mapping[str, tuple[int, float, float, int, int, int]]

    def plain(self) -> list[Any]:
        return [getattr(self, name) for name in _FIELDS]

    @classmethod
    def of(cls, values: Any) -> Report:
        given = dict(zip(_FIELDS, values, strict=True))
        tile, parts = given.pop("tile"), given.pop("parts")
        sums = {name: tuple(numbers) for name, numbers in parts.items()}
        return cls(tile=None if tile is None else tuple(tile), parts=sums, **given)


_FIELDS = tuple(Report.__dataclass_fields__)
