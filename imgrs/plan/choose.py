"""How a plan is chosen: where the graph is cut into stages, and how large the tiles are.

A stage ends where something must be whole before work goes on (a statistic, a file that decodes in one piece), where
keeping pixels is cheaper than making them again for every tile that needs them, and at the outputs. Each tile size is
tried; the quickest plan that fits the memory limit wins.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from imgrs.config import Settings
from imgrs.errors import MemoryBudgetError
from imgrs.graph.node import Node, walk
from imgrs.graph.op import Fold, Source
from imgrs.graph.rewrite import Firing
from imgrs.ops.source import FromArray, FromDask
from imgrs.optimize import optimize
from imgrs.plan import cost
from imgrs.plan.memory import footprint
from imgrs.plan.program import Program, program_of
from imgrs.plan.stages import ANYWHERE, Forecast, Grid, Plan, Sink, Stage, areas
from imgrs.types import Region

SIDES = (2048, 4096, 1024, 512, 256, 128, 64, 32, 16, 8)
"""Compute tiles to choose from, in pixels a side; an earlier one wins unless a later one is 3 % quicker."""
LARGEST_FOOTPRINT = 4096 * 4096
"""Pixels of any one image that a task may need, unless the user sets ``chunks``."""
SAMPLED = 5
"""Tiles on which demand is measured, along each axis."""
STEPS_TO_MEASURE = 1_000
"""Step evaluations that measuring one stage may take; long programs are measured on fewer tiles."""
CUTS = 16
"""Nodes that the rule keeps, at most."""
WORTH = 0.03
"""Share of a plan's time that another plan, or keeping a node, must save: less is within what the costs are off."""
WAITING_PER_WORKER = 4
"""Encoded tiles that may wait for their place in a file, for each worker."""
SHARED_TILES = 64 << 20
"""Bytes of decoded source tiles that tasks share."""


def plan(outputs: Sequence[Node], settings: Settings, sinks: Sequence[Sink] = ()) -> Plan:
    """Optimize ``outputs`` and cut them into stages that fit ``settings``; nothing is read.

    The tiles of each output are as its sink wants them. Raises ``MemoryBudgetError`` where no tile size fits.
    """
    after, trace = optimize(tuple(outputs), settings.optimizer)
    sinks = tuple(sinks) or (ANYWHERE,) * len(after)
    unsplit = sum(node.spec.nbytes for node in _must_be_whole(after)[1])
    best: Plan | None = None
    spilled: Plan | None = None
    smallest: Plan | None = None
    ideal = 0.0
    for side in _sides(after, settings, sinks):
        if best is not None and not _quicker(ideal, best):
            break
        draft, measured = _draft(tuple(outputs), after, trace, settings, side, sinks)
        ideal = measured.ideal / 1e9 / settings.workers
        bounded = measured.largest <= LARGEST_FOOTPRINT or settings.chunks is not None
        fits = bounded and draft.forecast.peak_bytes <= settings.memory_limit
        if fits and (best is None or _quicker(draft.forecast.seconds, best)):
            best = draft
            continue
        if best is not None:
            break  # tiles only get smaller from here, and halos dearer
        draft = _spilled(draft, measured)
        if spilled is None and bounded and draft.forecast.peak_bytes <= settings.memory_limit:
            spilled = draft
        if spilled is not None and unsplit > settings.memory_limit:
            break  # what must be kept does not fit, whatever the tiles
        if smallest is None or draft.forecast.peak_bytes < smallest.forecast.peak_bytes:
            smallest = draft
    found = [draft for draft in (best, spilled) if draft is not None]
    if found:
        return min(found, key=lambda draft: draft.forecast.seconds)
    assert smallest is not None
    if smallest.forecast.peak_bytes <= settings.memory_limit:
        return smallest
    need = smallest.forecast.peak_bytes
    raise MemoryBudgetError(
        f"no plan fits memory_limit={_mib(settings.memory_limit)}: the smallest needs about {_mib(need)}; "
        f'set memory_limit="{_mib(need + (need >> 3))}", or fewer workers than {settings.workers}'
    )


def _quicker(seconds: float, best: Plan) -> bool:
    """Whether a plan that takes ``seconds`` is worth having instead."""
    return seconds < (1 - WORTH) * best.forecast.seconds


def _sides(after: Sequence[Node], settings: Settings, sinks: Sequence[Sink]) -> list[tuple[int, int]]:
    """Compute tiles to try; those that come to the same tiles for every output are tried once."""
    if settings.chunks is not None:
        return [settings.chunks]
    widest = max(max(node.spec.size) for node in walk(after))
    sides = [(side, side) for side in SIDES if side < widest]
    if widest <= SIDES[0]:
        sides.insert(0, (widest, widest))
    wide = [n for n in walk(after) if isinstance(n.op, Source) and n.op.reads_regions and n.op.unit[0] > SIDES[0]]
    if wide:
        low = min(_shared_rows(node) for node in wide)
        sides = [shape for side, _ in sides for shape in ((side, side), (side, min(side, low)))]
    tried: dict[tuple[tuple[int, int], ...], tuple[int, int]] = {}
    for side in sides:
        tiles = tuple(sink.tile(side, node.spec) for node, sink in zip(after, sinks, strict=True))
        tried.setdefault(tiles, side)
    return list(tried.values())


def _draft(
    before: tuple[Node, ...],
    after: tuple[Node, ...],
    trace: tuple[Firing, ...],
    settings: Settings,
    side: tuple[int, int],
    sinks: Sequence[Sink],
) -> tuple[Plan, _Measured]:
    """A plan with output tiles of ``side``, whether or not it fits, and what it was made from."""
    externals, kept = _must_be_whole(after)
    measured = _Measured(after, externals, kept, side, sinks)
    if len(after) > 1 and (again := measured.read_again(settings)):
        kept = measured.in_order(again)
        measured = _Measured(after, externals, kept, side, sinks)
    for _ in range(CUTS):
        room = settings.memory_limit // 2 - sum(node.spec.nbytes for node in kept)
        found = measured.worth_keeping(room, _may_spill(settings))
        if found is None:
            break
        kept = measured.in_order([found])
        measured = _Measured(after, externals, kept, side, sinks)
    forecast = _forecast(measured, settings)
    return Plan(before, after, trace, settings, measured.stages, measured.slots, forecast), measured


def _must_be_whole(after: Sequence[Node]) -> tuple[list[Node], dict[Node, str]]:
    """The images that are there already; and what no tile can make alone, with the reason."""
    externals: list[Node] = []
    whole: dict[Node, str] = {}
    for node in walk(after):
        if isinstance(node.op, (FromArray, FromDask)):
            externals.append(node)
        elif isinstance(node.op, Fold):
            whole[node] = "a statistic of the whole image"
        elif isinstance(node.op, Source) and not node.op.reads_regions:
            whole[node] = "the format decodes in one piece"
    return externals, whole


def _stages(
    after: Sequence[Node], slots: dict[Node, int], kept: dict[Node, str], side: tuple[int, int], sinks: Sequence[Sink]
) -> tuple[Stage, ...]:
    """What is kept, in order (statistics of one image together), then the outputs.

    Those of one size that may go anywhere are made together; each file is a stage of its own.
    """
    stages: list[Stage] = []
    folds: dict[Node, list[Node]] = {}
    for node in kept:
        if isinstance(node.op, Fold):
            folds.setdefault(node.inputs[0], []).append(node)
    for node, reason in kept.items():
        if not isinstance(node.op, Fold):
            program, order = program_of([node], {other: slot for other, slot in slots.items() if other is not node})
            decodes = isinstance(node.op, Source) and not node.op.reads_regions
            if isinstance(node.op, Source):
                grid = Grid(*node.spec.size, node.spec.size if decodes else _whole_units(node.op.unit, node.spec.size))
            else:
                grid = _bounded(program, node.spec.size, side)
            stages.append(Stage("decode" if decodes else "keep", (node,), program, order, grid, reason))
        elif node is folds[node.inputs[0]][0]:
            (image,) = node.inputs
            program, order = program_of([image], slots)
            grid = _bounded(program, image.spec.size, side)
            stages.append(Stage("fold", tuple(folds[image]), program, order, grid, reason))
    together: dict[Any, list[int]] = {}
    for place, (node, sink) in enumerate(zip(after, sinks, strict=True)):
        together.setdefault(node.spec.size if sink.anywhere else place, []).append(place)
    for places in together.values():
        nodes, sink = tuple(dict.fromkeys(after[place] for place in places)), sinks[places[0]]
        program, order = program_of(nodes, slots)
        grid = Grid(*nodes[0].spec.size, sink.tile(side, nodes[0].spec))
        stages.append(Stage("output", nodes, program, order, grid, "asked for", sink, tuple(places)))
    return tuple(stages)


def _bounded(program: Program, size: tuple[int, int], side: tuple[int, int]) -> Grid:
    """The grid of a stage that is not an output: at most 2,048 a side, halved until a task's footprint is bounded."""
    width, height = min(side[0], SIDES[0]), min(side[1], SIDES[0])
    while max(width, height) > SIDES[-1]:
        grid = Grid(*size, (width, height))
        if max(areas(program.demand([grid.region(grid.rows // 2, grid.columns // 2)]))) <= LARGEST_FOOTPRINT:
            break
        width, height = max(width // 2, 1), max(height // 2, 1)
    return Grid(*size, (width, height))


def _shared_rows(node: Node) -> int:
    """How high tiles may be so that the strips of a file that a row of them needs stay in memory: whole strips, if any."""
    assert isinstance(node.op, Source)
    rows, height = SHARED_TILES // 2 // (node.spec.width * node.spec.pixel_bytes), node.op.unit[1]
    return max(1, rows // height * height or rows)


def _decoded(node: Node, need: Region) -> int:
    """Pixels of ``node`` that are made for a tile that needs ``need``: of a file in strips wider than that, all across.

    Where those of a row of tiles stay in memory, each strip is decoded once.
    """
    if not isinstance(node.op, Source) or node.op.unit[0] <= need.width:
        return need.area
    width, height = node.op.unit
    rows = (-(-need.bottom // height) - need.top // height) * height
    shared = rows * node.spec.width * node.spec.pixel_bytes <= SHARED_TILES * 3 // 4
    return need.area if shared else min(width, node.spec.width) * rows


def _whole_units(unit: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Tiles of about 2,048 a side in which a file is decoded so that each of its own tiles is decoded once."""
    width = min(-(-size[0] // unit[0]), max(1, SIDES[0] // unit[0])) * unit[0]
    return width, max(1, SIDES[0] ** 2 // width // unit[1]) * unit[1]


class _Measured:
    """Stages under some cuts, and the demand for every node, measured on sampled tiles of each."""

    def __init__(
        self,
        after: Sequence[Node],
        externals: Sequence[Node],
        kept: dict[Node, str],
        side: tuple[int, int],
        sinks: Sequence[Sink],
    ) -> None:
        self.order = walk(after)
        self.place = {node: i for i, node in enumerate(self.order)}
        self.kept = kept
        self.slots = {node: i for i, node in enumerate([*externals, *kept])}
        self.stages = _stages(after, self.slots, kept, side, sinks)
        self.pixels: Counter[Node] = Counter()
        """Pixels of each node that all tiles of all stages compute."""
        self.needed: Counter[Node] = Counter()
        """Pixels of each node that are needed at all."""
        self.decoded: Counter[Node] = Counter()
        """Pixels of each file that all tiles of all stages decode: whole strips, where one is wider than a tile."""
        self.largest = 0
        self.footprints = [0] * len(self.stages)
        """Bytes that a task of each stage takes at its peak."""
        self._each = {node: cost.per_pixel(node.op, node.spec, *(i.spec for i in node.inputs)) for node in self.order}
        self._spent = [self._measure(i, stage) for i, stage in enumerate(self.stages)]
        """Nanoseconds of each stage."""
        self.costs = {node: self.decoded[node] * self._each[node] for node in self.order}
        """Nanoseconds spent on each node over all tiles of all stages."""
        written = [(sink, node, cost.encoding(sink.codec, node.spec)) for sink, node in zip(sinks, after, strict=True)]
        self._encoding = sum(each * node.spec.width * node.spec.height for sink, node, each in written)
        self._at_the_end = sum(each * node.spec.width * node.spec.height for sink, node, each in written if sink.whole)

    def _measure(self, index: int, stage: Stage) -> float:
        most = max(1, min(SAMPLED, math.isqrt(STEPS_TO_MEASURE // len(stage.order))))
        sampled = stage.grid.sampled(most)
        totals, decoded = [0] * len(stage.order), [0] * len(stage.order)
        for region in sampled:
            demand = stage.demand(region)
            needed = areas(demand)
            totals = [total + area for total, area in zip(totals, needed, strict=True)]
            for i, node in enumerate(stage.order):
                decoded[i] += sum(_decoded(node, need) for need in demand[i])
            if stage.kind != "decode":
                self.footprints[index] = max(self.footprints[index], footprint(stage.program, needed))
                self.largest = max(self.largest, *needed)
        grid = stage.grid
        scale = grid.width * grid.height / sum(region.area for region in sampled)
        whole = areas(stage.demand(Region(0, 0, grid.width, grid.height)))
        made: Counter[Node] = Counter()
        for node, total, strips, area in zip(stage.order, totals, decoded, whole, strict=True):
            if node in self.slots and (stage.kind == "output" or node not in stage.nodes):
                continue  # it is made elsewhere
            self.pixels[node] += round(total * scale)
            made[node] += round(strips * scale)
            self.needed[node] = max(self.needed[node], min(area, node.spec.width * node.spec.height))
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

    def seconds(self, workers: int) -> float:
        """How long the stages take, one after another: each on as many workers as it has tasks for."""
        parallel = (
            (spent + stage.tasks * cost.TASK) / min(workers, stage.tasks)
            for spent, stage in zip(self._spent, self.stages, strict=True)
        )
        return (sum(parallel) + self._at_the_end) / 1e9

    @property
    def decoding(self) -> int:
        """Bytes beside the image itself that decoding a file whole takes."""
        return self._decoding_bytes(reads_regions=False)

    @property
    def reading(self) -> int:
        """Bytes beside its tile that a task takes for reading a part of a file."""
        return self._decoding_bytes(reads_regions=True)

    def _decoding_bytes(self, reads_regions: bool) -> int:
        sources = [node.op for node in self.order if isinstance(node.op, Source)]
        return max((op.decoding_bytes for op in sources if op.reads_regions is reads_regions), default=0)

    @property
    def ideal(self) -> float:
        """Nanoseconds that any plan spends: those for each needed pixel once, and for encoding."""
        once = (spent * min(1.0, self.needed[n] / self.decoded[n]) for n, spent in self.costs.items() if spent)
        return sum(once) + self._encoding

    def in_order(self, more: Sequence[tuple[Node, str]]) -> dict[Node, str]:
        """What is kept, and ``more``, each behind what it is made from."""
        return dict(sorted([*self.kept.items(), *more], key=lambda item: self.place[item[0]]))

    def read_again(self, settings: Settings) -> list[tuple[Node, str]]:
        """The files that several outputs read: kept, each of their tiles is decoded once."""
        readers = Counter(node for stage in self.stages for node in stage.order if node not in self.slots)
        found = [node for node, count in readers.items() if count > 1 and _is_file(node)]
        fits = sum(node.spec.nbytes for node in [*found, *self.kept]) <= settings.memory_limit // 2
        return [(node, "several outputs read it") for node in found] if fits or _may_spill(settings) else []

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


def _forecast(measured: _Measured, settings: Settings, scratch: bool = False) -> Forecast:
    stages = measured.stages
    kept = sum(node.spec.nbytes for node in measured.kept)
    tasks = sum(stage.tasks for stage in stages)
    busy = max(min(settings.workers, stage.tasks) for stage in stages)
    waiting = sum(_waiting(stage, settings.workers) for stage in stages if stage.kind == "output")
    working = max(
        min(settings.workers, stage.tasks) * (of_task + stage.by_rows * stage.task_bytes + measured.reading)
        for stage, of_task in zip(stages, measured.footprints, strict=True)
    )
    read = stored = tiled = 0
    for node in measured.order:
        if isinstance(node.op, Source) and measured.needed[node]:
            whole = node.op.stored_bytes(node.spec.region)
            share = measured.needed[node] / (node.spec.width * node.spec.height)
            stored += whole
            tiled += whole * node.op.reads_regions
            read += whole if node in measured.kept else round(whole * share)
    per_byte = cost.SCRATCH_WRITE + cost.SCRATCH_READ if scratch else cost.KEEP_WRITE + cost.KEEP_READ
    keeping = per_byte * sum(measured.decoded[node] * node.spec.pixel_bytes for node in measured.kept)
    return Forecast(
        peak_bytes=max(working, measured.decoding) + waiting + min(SHARED_TILES, 4 * tiled) + (not scratch) * kept,
        kept_bytes=kept,
        read_bytes=read,
        stored_bytes=stored,
        pixels=sum(measured.pixels.values()),
        tasks=tasks,
        seconds=measured.seconds(settings.workers) + keeping / 1e9 / busy,
    )


def _waiting(stage: Stage, workers: int) -> int:
    """Bytes of finished tiles that wait for their place in the file; compressed to half, as a rule."""
    if stage.tasks == 1:
        return 0
    return stage.task_bytes * min(stage.tasks, WAITING_PER_WORKER * workers) // 2


def _spilled(draft: Plan, measured: _Measured) -> Plan:
    """The same plan with kept pixels in files, where all workers are on this host."""
    if not measured.kept or not _may_spill(draft.settings):
        return draft
    return replace(draft, forecast=_forecast(measured, draft.settings, scratch=True), scratch=True)


def _may_spill(settings: Settings) -> bool:
    return settings.scheduler in (None, "threads", "sync", "processes")


def _is_file(node: Node) -> bool:
    return isinstance(node.op, Source) and node.op.stored_bytes(node.spec.region) > 0


def _mib(size: int) -> str:
    return f"{-(-size // (1 << 20))}MiB"
