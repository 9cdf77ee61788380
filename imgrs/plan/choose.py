"""How a plan is chosen: where the graph is cut into stages, and how large the tiles are.

A stage ends where something must be whole before work goes on (a statistic, a file that decodes in one piece), where
keeping pixels is cheaper than making them again for every tile that needs them, and at the outputs. Each tile size is
tried; the quickest plan that fits the memory limit wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from imgrs.config import Settings
from imgrs.errors import MemoryBudgetError
from imgrs.graph.node import Node, walk
from imgrs.graph.op import Fold, Source
from imgrs.graph.rewrite import Firing
from imgrs.ops.source import FromArray, FromDask
from imgrs.optimize import optimize
from imgrs.plan import cost
from imgrs.plan.caching import digests, fewer, worth_storing
from imgrs.plan.layout import LARGEST_FOOTPRINT, SIDE, SMALLEST
from imgrs.plan.measure import WORTH, Measured, room_for_shared
from imgrs.plan.stages import ANYWHERE, Forecast, Plan, Sink

SIDES = (1024, SIDE, 4096, 512, 256, 128, 64, 32, 16, SMALLEST)
"""Compute tiles to choose from, in pixels a side; an earlier one wins unless a later one is 3 % quicker."""
CUTS = 16
"""Nodes that the rule keeps, at most."""
KEPT_BY_ALLOCATOR = 1.3
"""What tasks take of the process for each byte of their arrays: what is freed in pieces is not given back at once."""


def plan(outputs: Sequence[Node], settings: Settings, sinks: Sequence[Sink] = ()) -> Plan:
    """Optimize ``outputs`` and cut them into stages that fit ``settings``; nothing is read.

    The tiles of each output are as its sink wants them. Raises ``MemoryBudgetError`` where no tile size fits.
    """
    after, trace = optimize(tuple(outputs), settings.optimizer)
    sinks = tuple(sinks) or (ANYWHERE,) * len(after)
    stored = worth_storing(after, settings)
    while stored:
        with suppress(MemoryBudgetError):
            found = _quickest(tuple(outputs), after, trace, settings, sinks, digests(stored))
            if not found.scratch:
                return found
        stored = fewer(stored)  # not everything that is stored, and held for later stages, fits
    return _quickest(tuple(outputs), after, trace, settings, sinks, {})


def _quickest(
    outputs: tuple[Node, ...],
    after: tuple[Node, ...],
    trace: tuple[Firing, ...],
    settings: Settings,
    sinks: Sequence[Sink],
    stored: Mapping[Node, str],
) -> Plan:
    """The quickest plan that fits, in which some nodes are stored in a cache. Raises ``MemoryBudgetError``."""
    unsplit = sum(node.spec.nbytes for node in _must_be_whole(after)[1] if not _streamed(node, settings))
    best: Plan | None = None
    spilled: Plan | None = None
    smallest: Plan | None = None
    ideal = 0.0
    for side in _sides(after, settings, sinks):
        if best is not None and not _quicker(ideal, best):
            break
        draft, measured = _draft(outputs, after, trace, settings, side, sinks, stored)
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
    more = need // 2 if smallest.forecast.shared_bytes else need // 8  # tasks share more where there is room
    fewer = f", or fewer workers than {settings.workers}" if settings.workers > 1 else ""
    raise MemoryBudgetError(
        f"no plan fits memory_limit={_given(settings.memory_limit)}: the smallest needs about {_mib(need)}; "
        f'set memory_limit="{_mib(need + more)}"{fewer}'
    )


def _quicker(seconds: float, best: Plan) -> bool:
    """Whether a plan that takes ``seconds`` is worth having instead."""
    return seconds < (1 - WORTH) * best.forecast.seconds


def _streamed(node: Node, settings: Settings) -> bool:
    """Whether a file may be decoded in turn, so that it need not be in memory as a whole."""
    return settings.shares_memory and isinstance(node.op, Source) and node.op.streams


def _sides(after: Sequence[Node], settings: Settings, sinks: Sequence[Sink]) -> list[tuple[int, int]]:
    """Compute tiles to try; those that come to the same tiles for every output are tried once."""
    if settings.chunks is not None:
        return [settings.chunks]
    widest = max(max(node.spec.size) for node in walk(after))
    sides = [(side, side) for side in SIDES if side < widest]
    if widest <= SIDE:
        sides.insert(0, (widest, widest))
    wide = [n for n in walk(after) if isinstance(n.op, Source) and n.op.reads_regions and n.op.unit[0] > SIDE]
    if wide:
        low = min(_shared_rows(node, room_for_shared(settings)) for node in wide)
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
    stored: Mapping[Node, str],
) -> tuple[Plan, Measured]:
    """A plan with output tiles of ``side``, whether or not it fits, and what it was made from."""
    externals, whole = _must_be_whole(after)
    kept = {node: whole.get(node, "cached") for node in walk(after) if node in whole or node in stored}
    measured = Measured(after, externals, kept, side, sinks, settings, stored)
    if len(after) > 1 and (again := measured.read_again()):
        kept = measured.in_order(again)
        measured = Measured(after, externals, kept, side, sinks, settings, stored)
    for _ in range(CUTS):
        room = settings.memory_limit // 2 - sum(node.spec.nbytes for node in kept if node not in stored)
        found = measured.worth_keeping(room, settings.on_this_host)
        if found is None:
            break
        kept = measured.in_order([found])
        measured = Measured(after, externals, kept, side, sinks, settings, stored)
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


def _shared_rows(node: Node, room: int) -> int:
    """How high tiles may be so that the strips of a file that a row of them needs stay in memory: whole strips, if any."""
    assert isinstance(node.op, Source)
    rows, height = room // 2 // (node.spec.width * node.spec.pixel_bytes), node.op.unit[1]
    return max(1, rows // height * height or rows)


def _forecast(measured: Measured, settings: Settings, scratch: bool = False) -> Forecast:
    stages = measured.stages
    held = measured.held(scratch)
    tasks = sum(stage.tasks for stage in stages)
    busy = max(min(settings.workers, stage.tasks) for stage in stages)
    waiting = sum(stage.waiting_bytes(settings.workers, settings.shares_memory) for stage in stages)
    waiting = int(waiting * KEPT_BY_ALLOCATOR)
    working = max(measured.working(stage) for stage in stages)
    working = int(working * KEPT_BY_ALLOCATOR)
    read = stored = 0
    for node in measured.order:
        if isinstance(node.op, Source) and measured.needed[node]:
            whole = node.op.stored_bytes(node.spec.region)
            stored += whole
            read += measured.read(node) if node.op.reads_regions else whole
    per_byte = cost.SCRATCH_WRITE + cost.SCRATCH_READ if scratch else cost.KEEP_WRITE + cost.KEEP_READ
    keeping = per_byte * sum(measured.decoded[node] * node.spec.pixel_bytes for node in measured.kept)
    return Forecast(
        peak_bytes=max(working, measured.decoding(scratch))
        + max(measured.beside(scratch) + waiting + held, measured.encoding)
        + int(measured.shared * KEPT_BY_ALLOCATOR)
        + measured.arrays,
        kept_bytes=sum(node.spec.nbytes for node in measured.kept) if scratch else held,
        read_bytes=read,
        stored_bytes=stored,
        pixels=sum(measured.pixels.values()),
        tasks=tasks,
        seconds=measured.seconds + keeping / 1e9 / busy,
        handed_bytes=measured.handed,
        shared_bytes=measured.shared,
    )


def _spilled(draft: Plan, measured: Measured) -> Plan:
    """The same plan with kept pixels in files, where all workers are on this host."""
    if not measured.kept or not draft.settings.on_this_host:
        return draft
    stages = tuple(
        replace(stage, grid=replace(stage.grid, tile=stage.nodes[0].spec.size)) if stage.streamed else stage
        for stage in draft.stages
    )
    return replace(draft, stages=stages, forecast=_forecast(measured, draft.settings, scratch=True), scratch=True)


def _given(size: int) -> str:
    """Bytes as somebody would write them, not rounded."""
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if size % unit == 0:
            return f"{size // unit}{name}"
    return f"{size} bytes"


def _mib(size: int) -> str:
    return f"{-(-size // (1 << 20))}MiB"
