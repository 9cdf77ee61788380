"""The values of a plan: grids of tiles, stages, and the forecast of what running them takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from imgrs.config import Settings
from imgrs.graph.node import Node
from imgrs.graph.op import Source
from imgrs.graph.rewrite import Firing
from imgrs.plan.program import Program
from imgrs.types import Region, Spec


@dataclass(frozen=True)
class Grid:
    """An image cut into tiles of one size; the last column and row may be smaller."""

    width: int
    height: int
    tile: tuple[int, int]
    within: Region | None = None
    """Where tiles are needed; None for everywhere."""

    @property
    def columns(self) -> int:
        return -(-self.width // self.tile[0])

    @property
    def rows(self) -> int:
        return -(-self.height // self.tile[1])

    @property
    def count(self) -> int:
        return self.columns * self.rows if self.within is None else len(self.cells)

    @property
    def box(self) -> Region:
        """What all tiles that are needed cover."""
        if self.within is None:
            return Region(0, 0, self.width, self.height)
        rows, columns = self._meeting(self.within)
        return self.region(rows[0], columns[0]) | self.region(rows[-1], columns[-1])

    @property
    def cells(self) -> list[tuple[int, int]]:
        """Every (row, column) that is needed, row by row."""
        if self.within is not None:
            return self.meeting(self.within)
        return [(row, column) for row in range(self.rows) for column in range(self.columns)]

    def region(self, row: int, column: int) -> Region:
        left, top = column * self.tile[0], row * self.tile[1]
        return Region(left, top, min(left + self.tile[0], self.width), min(top + self.tile[1], self.height))

    def meeting(self, region: Region) -> list[tuple[int, int]]:
        """The (row, column) of every tile that ``region`` meets."""
        if region.empty:
            return []
        rows, columns = self._meeting(region)
        return [(row, column) for row in rows for column in columns]

    def _meeting(self, region: Region) -> tuple[range, range]:
        rows = range(region.top // self.tile[1], -(-region.bottom // self.tile[1]))
        return rows, range(region.left // self.tile[0], -(-region.right // self.tile[0]))

    def sampled(self, most: int) -> list[Region]:
        """At most ``most`` squared tiles, spread evenly, the first and last of each axis among them."""
        if self.within is not None:
            cells = self.cells
            return [self.region(*cells[i]) for i in _spread(len(cells), most * most)]
        rows, columns = _spread(self.rows, most), _spread(self.columns, most)
        return [self.region(row, column) for row in rows for column in columns]


def _spread(count: int, most: int) -> list[int]:
    if count <= most:
        return list(range(count))
    if most == 1:
        return [count // 2]
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def power_of_two(number: int) -> int:
    """The largest that is not above a number; at least 1. Tiles of such sides end where others do."""
    return 1 << max(1, number).bit_length() - 1


SAMPLED = 5
"""Tiles on which demand is measured, along each axis."""
STEPS_TO_MEASURE = 1_000
"""Step evaluations that measuring one stage may take; long programs are measured on fewer tiles."""
ROW_BYTES = 48 << 20
"""Bytes of a row of tiles, about, where a file is written row by row."""
ROWS = 8
"""Rows of tiles into which a file written row by row is cut, at least."""
WAITING_PER_WORKER = 2
"""Encoded tiles for each worker that may be ahead of the first that is not in its place."""
HALVINGS = 2
"""Smaller copies that a task makes of what it has."""


@dataclass(frozen=True)
class Sink:
    """What becomes of output tiles: they are made in multiples of ``unit``, a file's own tile, and by whole rows of them
    where ``by_rows``. ``codec`` names the encoding, whose cost the plan counts; it is empty where there is no file."""

    unit: tuple[int, int] = (1, 1)
    by_rows: bool = False
    codec: str = ""
    whole: bool = False
    """Whether the file is encoded at once from an array of all pixels."""
    encoding_bytes: int = 0
    """The most memory that encoding takes beside the pixels and what it gives: of a tile of the file, or of all where
    ``whole``."""
    share: float = 0.0
    """What comes out of encoding, as a share of the bytes of the pixels."""
    scattered: bool = False
    """Whether each task puts what it encoded where it belongs, at any time; else it may have to wait for others."""
    levels: int = 1
    """Copies of the image in the file, each half as large as the one before."""

    @property
    def anywhere(self) -> bool:
        """Whether tiles go into an array."""
        return self.whole or not self.codec

    def tile(self, side: tuple[int, int], spec: Spec) -> tuple[int, int]:
        """The tile of an image's grid that comes next to ``side``, in whole units."""
        width, height = side
        across, down = self.unit
        if self.by_rows:  # so that a row is small in memory, and there are several for the workers
            across = 1
            rows = min(ROW_BYTES // (spec.width * spec.pixel_bytes), -(-spec.height // ROWS))
            height = min(height, power_of_two(rows))
        return -(-width // across) * across, -(-height // down) * down


ANYWHERE = Sink()


@dataclass(frozen=True)
class Stage:
    """Images of one size that are made together, tile by tile, by one program.

    ``kind`` is ``"output"`` for what the user asked for; ``"keep"`` for pixels kept for later stages; ``"decode"`` for a
    file that is read from its first byte on, by one task or by several in turn; ``"fold"`` for statistics (``nodes``) of the
    one image that the program makes.
    """

    kind: str
    nodes: tuple[Node, ...]
    program: Program
    order: tuple[Node, ...]
    """The node of each step of the program."""
    grid: Grid
    reason: str
    sink: Sink = ANYWHERE
    outputs: tuple[int, ...] = ()
    """Which of the outputs that were asked for this stage makes, by their places."""
    stored: tuple[str, ...] = ()
    """Under which digest the tiles of each of ``nodes`` are kept in the cache; empty where they are not."""

    @property
    def by_rows(self) -> bool:
        """Whether a task makes a row of tiles, one after another, for a file that is written row by row."""
        return self.sink.by_rows

    @property
    def regions(self) -> list[Region]:
        """What each task makes, in order."""
        if self.by_rows:
            return list(Region(0, 0, self.grid.width, self.grid.height).tiles((self.grid.width, self.grid.tile[1])))
        return [self.grid.region(*cell) for cell in self.grid.cells]

    @property
    def sampled(self) -> list[Region]:
        """Tiles that stand for all where demand is measured."""
        return self.grid.sampled(max(1, min(SAMPLED, math.isqrt(STEPS_TO_MEASURE // len(self.order)))))

    @property
    def decoding_bytes(self) -> int:
        """Bytes beside what comes out that decoding a file takes, where this stage decodes one from its first byte on."""
        op = self.nodes[0].op
        return op.decoding_bytes if self.kind == "decode" and isinstance(op, Source) else 0

    @property
    def lag_bytes(self) -> int:
        """Bytes of what comes out that are in memory where it goes to a file that is mapped."""
        op = self.nodes[0].op
        return op.lag_bytes if self.kind == "decode" and isinstance(op, Source) else 0

    @property
    def streamed(self) -> bool:
        """Whether tasks decode a file in turn, each some rows."""
        return self.kind == "decode" and self.grid.rows > 1

    @property
    def tasks(self) -> int:
        return self.grid.rows if self.by_rows else self.grid.count

    def side_by_side(self, workers: int) -> int:
        """How many tasks make what lies in one row of tiles; where a task makes a row, those of all workers."""
        return workers if self.by_rows else self.grid.columns

    @property
    def task_bytes(self) -> int:
        """The size of all that one task makes, in bytes."""
        first = self.grid.region(0, 0)
        pixels = first.height * self.grid.width if self.by_rows else first.area
        return pixels * sum(node.spec.pixel_bytes for node in self.nodes)

    @property
    def encoded_bytes(self) -> int:
        """The size of all that one task makes once it is encoded, in bytes; with smaller copies of it."""
        if self.kind != "output" or self.sink.anywhere:
            return 0
        return round(self.task_bytes * self.sink.share * (4 / 3 if self.sink.levels > 1 else 1))

    def peak_bytes(self, region: Region, footprint: int) -> int:
        """Bytes at the peak of the task that makes the tile ``region``: while it is made, or when it is encoded.

        ``footprint`` is what making the tile takes. A task that makes a row of tiles holds the row all the time.
        """
        if self.kind != "output" or self.sink.anywhere:
            return footprint
        encoding = self.sink.encoding_bytes + self.encoded_bytes
        if self.by_rows:
            return self.task_bytes + max(footprint, encoding)
        made = region.area * sum(node.spec.pixel_bytes for node in self.nodes)
        copies = made // 4 if self.sink.levels > 1 else 0
        return max(footprint, made + copies + encoding)

    def waiting_bytes(self, workers: int, in_order: bool) -> int:
        """Bytes of what tasks made that waits until others are done, beside what tasks hold that are being done.

        Encoded tiles wait for their places: all of a window but that which the others wait for, and where tiles begin
        ``in_order``, that which comes a round after it.
        Smaller copies wait for those that make still smaller ones of them.
        """
        if self.kind != "output" or self.sink.anywhere or self.tasks == 1:
            return 0
        window = WAITING_PER_WORKER * workers
        tiles = 0 if self.sink.scattered else max(window - 2, workers) if in_order else window
        encoded = min(self.tasks, tiles) * self.encoded_bytes
        return encoded + (self._rest_bytes if self.sink.levels > 1 else 0)

    @property
    def _rest_bytes(self) -> int:
        """Bytes of the smallest copies that tasks hand on: until there are as many rows of them as the next task joins."""
        joined = 1 << HALVINGS
        rows = min(self.grid.height, joined * self.grid.tile[1])
        return rows * self.grid.width * sum(node.spec.pixel_bytes for node in self.nodes) // joined**2

    def demand(self, region: Region) -> list[list[Region]]:
        """What a tile needs of each step."""
        return self.program.demand([region] * len(self.program.outputs))


@dataclass(frozen=True)
class Forecast:
    """What a run will take. Bytes are of memory at the peak, without the imports and the array handed out."""

    peak_bytes: int
    kept_bytes: int
    read_bytes: int
    """Bytes of files that are fetched, of the ``stored_bytes`` that they hold."""
    stored_bytes: int
    pixels: int
    """Pixels computed, over all ops."""
    tasks: int
    seconds: float
    handed_bytes: int
    """The arrays that are handed out, which ``peak_bytes`` leaves out."""
    shared_bytes: int
    """Decoded tiles of files that tasks share: the run keeps no more of them."""


@dataclass(frozen=True)
class Plan:
    """What will be computed, in which stages, from which outside images, and what it will take."""

    before: tuple[Node, ...]
    after: tuple[Node, ...]
    """The outputs as the optimizer left them, in the same order."""
    trace: tuple[Firing, ...]
    settings: Settings
    stages: tuple[Stage, ...]
    slots: dict[Node, int]
    """Images that reach tasks as blocks: arrays from outside, and results of earlier stages."""
    forecast: Forecast
    scratch: bool = False
    """Whether kept pixels go to files, because they do not fit the memory limit."""

    def stage_of(self, output: int) -> Stage:
        """The stage that makes an output, given by its place."""
        return next(stage for stage in self.stages if output in stage.outputs)


def areas(needs: Sequence[Sequence[Region]]) -> list[int]:
    """The pixels of each image in a demand."""
    return [sum(region.area for region in regions) for regions in needs]
