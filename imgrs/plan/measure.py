"""What the tiles of some stages demand of every node, measured on a few of them; and what that costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imgrs.config import Settings
from imgrs.graph.node import Node, walk
from imgrs.graph.op import Source
from imgrs.io import segments
from imgrs.plan import cost
from imgrs.plan.caching import stored_side
from imgrs.plan.layout import flowing, stages_of
from imgrs.plan.memory import footprint
from imgrs.plan.program import add
from imgrs.plan.stages import Grid, Sink, Stage, areas
from imgrs.types import Region

WORTH = 0.03
"""Share of a plan's time that another plan, or keeping a node, must save: less is within what the costs are off."""
SHARED_TILES = segments.LIMIT
"""Bytes of decoded source tiles that tasks share."""


@dataclass(frozen=True, order=True)
class _Rows:
    """The rows, ``top`` to ``bottom``, that a tile of a stage needs; the tile begins at row ``tile`` of its image."""

    stage: int
    tile: int
    top: int
    bottom: int


class Measured:
    """Stages under some cuts, and the demand for every node, measured on sampled tiles of each."""

    def __init__(
        self,
        after: Sequence[Node],
        externals: Sequence[Node],
        kept: dict[Node, str],
        side: tuple[int, int],
        sinks: Sequence[Sink],
        settings: Settings,
        stored: Mapping[Node, str],
    ) -> None:
        self.order = walk(after)
        self.place = {node: i for i, node in enumerate(self.order)}
        self.kept = kept
        self.slots = {node: i for i, node in enumerate([*externals, *kept])}
        self.stages = stages_of(
            after, self.slots, kept, side, sinks, settings.shares_memory, stored, stored_side(settings)
        )
        self._settings = settings
        self._room = room_for_shared(settings)
        self._rows: dict[Node, list[_Rows]] = {}
        """Of what is supplied to stages, and of files: the rows that sampled tiles need."""
        self.pixels: Counter[Node] = Counter()
        """Pixels of each node that all tiles of all stages compute."""
        self.needed: Counter[Node] = Counter()
        """Pixels of each node that are needed at all."""
        self._regions: dict[Node, list[Region]] = {}
        """Where they are, for all stages together."""
        self.decoded: Counter[Node] = Counter()
        """Pixels of each file that all tiles of all stages decode: whole strips, where one is wider than a tile."""
        self.largest = 0
        self._peaks: dict[Stage, list[tuple[int, int]]] = {}
        """Bytes that the tasks of sampled tiles take at their peaks: where they decode what they read, and where not."""
        self._each = {node: cost.per_pixel(node.op, node.spec, *(i.spec for i in node.inputs)) for node in self.order}
        self._spent = [self._measure(i, stage) for i, stage in enumerate(self.stages)]
        """Nanoseconds of each stage."""
        self.costs = {node: self.decoded[node] * self._each[node] for node in self.order}
        """Nanoseconds spent on each node over all tiles of all stages."""
        self._sinks = sinks
        written = [(sink, node, cost.encoding(sink.codec, node.spec)) for sink, node in zip(sinks, after, strict=True)]
        self._encoding = sum(each * node.spec.width * node.spec.height for sink, node, each in written)
        self._at_the_end = sum(each * node.spec.width * node.spec.height for sink, node, each in written if sink.whole)

    def _measure(self, index: int, stage: Stage) -> float:
        sampled = stage.sampled
        totals, decoded = [0] * len(stage.order), [0] * len(stage.order)
        for region in sampled:
            demand = stage.demand(region)
            needed = areas(demand)
            totals = [total + area for total, area in zip(totals, needed, strict=True)]
            for i, node in enumerate(stage.order):
                decoded[i] += sum(_decoded(node, need, self._room) for need in demand[i])
                own = stage.kind != "output" and node in stage.nodes
                if demand[i] and not own and (node in self.slots or isinstance(node.op, Source)):
                    top, bottom = min(need.top for need in demand[i]), max(need.bottom for need in demand[i])
                    self._rows.setdefault(node, []).append(_Rows(index, region.top, top, bottom))
            if stage.kind != "decode":
                folds = [(node.op, node.spec) for node in stage.nodes] if stage.kind == "fold" else []
                self._peaks.setdefault(stage, []).append(
                    (
                        stage.peak_bytes(region, footprint(stage.program, needed, folds)),
                        stage.peak_bytes(region, footprint(stage.program, needed, folds, decodes=False)),
                    )
                )
                self.largest = max(self.largest, *needed)
        grid = stage.grid
        scale = grid.box.area / sum(region.area for region in sampled)
        whole = stage.demand(grid.box)
        made: Counter[Node] = Counter()
        for node, total, strips, regions in zip(stage.order, totals, decoded, whole, strict=True):
            if node in self.slots and (stage.kind == "output" or node not in stage.nodes):
                continue  # it is made elsewhere
            self.pixels[node] += round(total * scale)
            made[node] += round(strips * scale)
            area = sum(region.area for region in regions)
            self.needed[node] = max(self.needed[node], min(area, node.spec.width * node.spec.height))
            for region in regions:
                add(self._regions.setdefault(node, []), region)
        if stage.kind == "fold":
            for node in stage.nodes:
                self.pixels[node] = made[node] = self.needed[node] = node.spec.width * node.spec.height
        self.decoded.update(made)
        return sum(pixels * self._each[node] for node, pixels in made.items()) + self._handing_on(stage)

    def _handing_on(self, stage: Stage) -> float:
        """Nanoseconds to encode what an output stage makes, or to write it into an array."""
        if stage.kind != "output":
            return 0.0
        each = (
            cost.KEEP_WRITE * node.spec.pixel_bytes
            if stage.sink.anywhere
            else cost.encoding(stage.sink.codec, node.spec)
            for node in stage.nodes
        )
        return stage.grid.width * stage.grid.height * sum(each)

    @property
    def seconds(self) -> float:
        """How long the stages take, one after another: each on as many workers as it has tasks for.

        A file that is decoded in turn occupies one of them, while others work on what is there.
        """
        workers, in_turn, together, all_work = self._settings.workers, 0.0, 0.0, 0.0
        for spent, stage in zip(self._spent, self.stages, strict=True):
            work = spent + stage.tasks * cost.TASK
            all_work += work
            if stage.streamed:
                in_turn += work
            else:
                together += work / min(workers, stage.tasks)
        return (max(together, in_turn, all_work / workers) + self._at_the_end) / 1e9

    def read(self, node: Node) -> int:
        """Bytes of a file in which what is needed of it is stored."""
        assert isinstance(node.op, Source)
        whole = node.op.stored_bytes(node.spec.region)
        return min(whole, sum(map(node.op.stored_bytes, self._regions.get(node, []))))

    def held(self, scratch: bool) -> int:
        """Bytes of kept pixels that are in memory at a time; in a run with ``scratch`` files, none."""
        if scratch:
            return 0
        in_order = flowing(self.stages) if self._settings.shares_memory else set()
        total = 0
        for stage in self.stages:
            if stage.kind != "output":
                node, box = stage.nodes[0], stage.grid.box
                flows = stage.streamed or node in in_order
                rows = min(box.height, self._rows_held(stage)) if flows else box.height
                total += (
                    rows * box.width * node.spec.pixel_bytes
                    if stage.kind != "fold"
                    else sum(fold.spec.nbytes for fold in stage.nodes)
                )
        return total

    def _rows_held(self, decoding: Stage) -> int:
        """How many rows of a file that is decoded in turn wait for the tiles that need them, or are being decoded."""
        (node,) = decoding.nodes
        needs = sorted(self._rows.get(node, []))
        if len({rows.stage for rows in needs}) != 1:
            return node.spec.height  # the last stage waits for the ones before
        stage, height = self.stages[needs[0].stage], decoding.grid.tile[1]
        lowest = [min(rows.top for rows in needs[i:]) for i in range(len(needs))]
        highest = [max(rows.bottom for rows in needs[: i + 1]) for i in range(len(needs))]
        span = max(high - low for high, low in zip(highest, lowest, strict=True))
        step = -(-(needs[-1].bottom - needs[0].top) // stage.grid.rows) * (
            self._settings.workers if stage.by_rows else 1
        )
        return min(node.spec.height, span + step + 2 * height)

    def decoding(self, scratch: bool) -> int:
        """Bytes beside the image itself that decoding a file before other tasks begin takes.

        Of an image that is decoded to a ``scratch`` file some pages are in memory until they are dropped.
        """
        first = [stage for stage in self.stages if stage.kind == "decode" and (scratch or not stage.streamed)]
        return max((stage.decoding_bytes + (stage.lag_bytes if scratch else 0) for stage in first), default=0)

    def beside(self, scratch: bool) -> int:
        """Bytes that decoding takes beside other tasks, for files that are decoded in turn; in scratch files, others first."""
        together = [
            stage.decoding_bytes for stage in self.stages if stage.kind == "decode" and (scratch or stage.streamed)
        ]
        return sum(together) - (max(together, default=0) if scratch else 0)

    def working(self, stage: Stage) -> int:
        """Bytes that the tasks of a stage take which are done at a time: of the largest, where all were measured.

        Tasks that need the same strip of a file wait for the one that decodes it.
        """
        peaks = self._peaks.get(stage, [])
        if not peaks:
            return 0
        at_once = min(self._settings.workers, stage.tasks)
        if len(peaks) < stage.tasks or stage.by_rows:
            peaks = [(max(reads for reads, _ in peaks), max(found for _, found in peaks))] * at_once
        peaks = sorted(peaks, reverse=True)[:at_once]
        decoding = self._decoders(stage) if self._settings.shares_memory else at_once
        return sum(reads for reads, _ in peaks[:decoding]) + sum(found for _, found in peaks[decoding:])

    def _decoders(self, stage: Stage) -> int:
        """How many tasks of a stage may decode a part of a file at a time: one for each strip that none before needed.

        As many as there are workers, but for files in strips as wide as the image that are shared once they are decoded.
        """
        workers, total = self._settings.workers, 0
        for node in stage.order:
            kept_before = node in self.slots and not (stage.kind == "keep" and node in stage.nodes)
            if not isinstance(node.op, Source) or not node.op.reads_regions or not self.needed[node] or kept_before:
                continue
            strips = self._strips_at_once(node, node.op, stage)
            if strips is None:
                return workers
            total += strips
        return min(workers, total)

    def _strips_at_once(self, node: Node, source: Source, stage: Stage) -> int | None:
        """How many strips tasks that run together need of a file; None where they do not share what they decode."""
        needs = [rows for rows in self._rows.get(node, []) if self.stages[rows.stage] is stage]
        width, height = source.unit
        if not needs or not source.keeps_units or width < node.spec.width:
            return None
        low, high = min(rows.top for rows in needs), max(rows.bottom for rows in needs)
        reach = 0
        for tile in {rows.tile for rows in needs}:
            of_tile = [rows for rows in needs if rows.tile == tile]
            reach = max(reach, max(rows.bottom for rows in of_tile) - min(rows.top for rows in of_tile))
        workers, grid = self._settings.workers, stage.grid
        rows_of_tiles = workers if stage.by_rows else 1 + -(-(workers - 1) // grid.columns)
        spread = min(high - low, reach + (rows_of_tiles - 1) * -(-(high - low) // grid.rows))
        strips = -(-spread // height)
        held = (strips + 1) * height * node.spec.width * node.spec.pixel_bytes
        return strips if held <= self._room * 3 // 4 else None  # of more, some are forgotten before all have had them

    @property
    def shared(self) -> int:
        """Bytes of decoded source tiles that tasks share: of those that are needed, what there is room for, in each process."""
        kept = (node for node in self.order if isinstance(node.op, Source) and node.op.keeps_units)
        tiles = min(self._room, sum(self._in_units(node) for node in kept if node not in self.slots))
        return tiles if self._settings.shares_memory else tiles * self._settings.workers

    def _in_units(self, node: Node) -> int:
        """Bytes of the whole tiles or strips of a file in which what is needed of it lies."""
        assert isinstance(node.op, Source)
        boxes = (Grid(*node.spec.size, node.op.unit, region).box for region in self._regions.get(node, []))
        return min(node.spec.region.area, sum(box.area for box in boxes)) * node.spec.pixel_bytes

    @property
    def handed(self) -> int:
        """Bytes of the arrays that are handed out."""
        return sum(node.spec.nbytes for stage in self._arrays for node in stage.nodes if not stage.sink.codec)

    @property
    def arrays(self) -> int:
        """Bytes of arrays of all pixels beside those: what is encoded at once, and what other processes hand in."""
        stages = self._arrays
        encoded = sum(node.spec.nbytes for stage in stages for node in stage.nodes if stage.sink.codec)
        return encoded if self._settings.shares_memory else encoded + self.handed

    @property
    def _arrays(self) -> list[Stage]:
        return [stage for stage in self.stages if stage.kind == "output" and stage.sink.anywhere]

    @property
    def encoding(self) -> int:
        """Bytes that encoding an image at once takes beside its pixels, when all else is done."""
        return max((sink.encoding_bytes for sink in self._sinks if sink.whole), default=0)

    @property
    def ideal(self) -> float:
        """Nanoseconds that any plan spends: those for each needed pixel once, and for encoding."""
        once = (spent * min(1.0, self.needed[n] / self.decoded[n]) for n, spent in self.costs.items() if spent)
        return sum(once) + self._encoding

    def in_order(self, more: Sequence[tuple[Node, str]]) -> dict[Node, str]:
        """What is kept, and ``more``, each behind what it is made from."""
        return dict(sorted([*self.kept.items(), *more], key=lambda item: self.place[item[0]]))

    def read_again(self) -> list[tuple[Node, str]]:
        """The files of which several outputs read more than there is: kept, each of their tiles is decoded once."""
        readers = Counter(node for stage in self.stages for node in stage.order if node not in self.slots)
        found = [node for node, count in readers.items() if count > 1 and _is_file(node) and self._repeats(node)]
        fits = sum(node.spec.nbytes for node in [*found, *self.kept]) <= self._settings.memory_limit // 2
        return [(node, "several outputs read it") for node in found] if fits or self._settings.on_this_host else []

    def _repeats(self, node: Node) -> bool:
        """Whether more of a file is decoded than it has, or than tasks share for a while."""
        return self.decoded[node] > min(node.spec.region.area, self._room // node.spec.pixel_bytes)

    def worth_keeping(self, room: int, spill: bool) -> tuple[Node, str] | None:
        """The node whose pixels, kept in at most ``room`` bytes, save the most time, with the reason; None if none does.

        Kept, a node and all that only it needs are made once instead of ``times`` over; each byte is then written once
        and read as often as it is demanded. A file in wide strips may take more room where that may ``spill`` to disk.
        """
        uses = Counter(i for node in self.order for i in node.inputs)
        spent: dict[Node, float] = {}
        for node in self.order:
            above = sum(spent[i] / uses[i] for i in node.inputs if i not in self.slots)
            spent[node] = self.costs[node] + above
        best: tuple[Node, str] | None = None
        most = WORTH * sum(self.costs.values())
        for node in self.order:
            strips = self.decoded[node] > self.pixels[node]
            if node in self.slots or not (node.inputs or strips) or not self.needed[node]:
                continue
            made = node.spec.width * node.spec.height if strips else self.needed[node]
            times = self.decoded[node] / made
            if times <= 1 or (node.spec.nbytes > room and not (strips and spill)):
                continue
            stored = made * node.spec.pixel_bytes
            saved = spent[node] * (1 - 1 / times) - stored * (cost.KEEP_WRITE + cost.KEEP_READ * times)
            if saved > most:
                best, most = (node, f"computed {times:.2f} times otherwise"), saved
        return best


def room_for_shared(settings: Settings) -> int:
    """Bytes of decoded source tiles that a run may share: a quarter of its memory where they are all in this process."""
    return min(SHARED_TILES, settings.memory_limit // 4) if settings.shares_memory else SHARED_TILES


def _decoded(node: Node, need: Region, room: int) -> int:
    """Pixels of ``node`` that are made for a tile that needs ``need``: of a file in strips wider than that, all across.

    Where those of a row of tiles stay in memory, each strip is decoded once.
    """
    if not isinstance(node.op, Source) or node.op.unit[0] <= need.width:
        return need.area
    width, height = node.op.unit
    rows = (-(-need.bottom // height) - need.top // height) * height
    shared = rows * node.spec.width * node.spec.pixel_bytes <= room * 3 // 4
    return need.area if shared else min(width, node.spec.width) * rows


def _is_file(node: Node) -> bool:
    return isinstance(node.op, Source) and node.op.stored_bytes(node.spec.region) > 0
