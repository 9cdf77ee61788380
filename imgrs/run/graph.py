"""A plan as a Dask graph: plain dicts of keys and tasks, as Dask's graph specification has them.

One task makes one output tile: it reads what the tile needs, runs the whole chain, and hands the result on.
"""

from __future__ import annotations

import bisect
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from imgrs.graph.node import Node
from imgrs.graph.op import Fold, Source
from imgrs.ops.source import FromArray, FromDask
from imgrs.plan.layout import flowing
from imgrs.plan.program import Supplied
from imgrs.plan.stages import Grid, Plan, Stage
from imgrs.run.caching import Fetch, Lookup
from imgrs.run.tasks import DecodeToScratch, Decoding, Finish, Gather, Pick, Stop, Then, ToScratch, Work, make
from imgrs.types import Region

Key: TypeAlias = Any  # Dask's keys are strings, numbers, or tuples of them
Graph: TypeAlias = dict[Key, Any]

FAN_IN = 8
"""Contributions that are combined by one task."""
BLOCK = 2048
"""Side of the pieces in which an array travels to other processes."""


@dataclass(frozen=True)
class Provider:
    """Where the blocks of a slot come from."""

    grid: Grid | None
    key: Callable[[int, int], Key]
    irregular: tuple[tuple[Region, Key], ...] = ()

    def blocks(self, region: Region) -> Iterable[tuple[Region, Key]]:
        """The blocks that ``region`` meets: what each covers, and its key."""
        if self.grid is None:
            return [(covered, key) for covered, key in self.irregular if not (covered & region).empty]
        return [(self.grid.region(*cell), self.key(*cell)) for cell in self.grid.meeting(region)]


class Builder:
    """Adds the tasks of a plan to a graph.

    ``named`` gives each node its part of a key: digests where graphs meet others (equal keys, equal pixels), plain
    numbers for a graph that lives for one call.
    """

    def __init__(self, plan: Plan, named: Callable[[Node], str], scratch: str | None) -> None:
        self.graph: Graph = {}
        self.plan = plan
        self._places: dict[Key, int] = {}
        """Which stage a program belongs to, and a name that keys of pieces of a file begin with."""
        self._named = named
        self._scratch = scratch
        self._lookup = Lookup(plan.settings.cache_in_use, plan) if plan.settings.cache_in_use is not None else None
        self._providers: dict[int, Provider] = {}
        self._decodings: list[Decoding] = []
        self._stop = Stop() if plan.settings.shares_memory else None
        self._in_turn: dict[str, tuple[int, int]] = {}
        """How many pieces each file comes in that is decoded in turn, and for how many tiles more than those that are being
        made it is decoded; by the name of the pieces."""
        for node, slot in plan.slots.items():
            if isinstance(node.op, FromArray):
                self._providers[slot] = self._array(node, node.op)
            elif isinstance(node.op, FromDask):
                self._providers[slot] = self._dask(node.op)
        for stage in plan.stages:
            if stage.kind != "output":
                self._provide(stage)

    def outputs(
        self, stage: Stage, then: Then | None, key: Callable[[int, int], Key], wait: Callable[[int], Sequence[Key]]
    ) -> list[Key]:
        """Add a task for each tile of an output stage; the i-th also waits for the keys ``wait(i)``."""
        program = self._program(stage)
        keys = []
        columns = 1 if stage.by_rows else stage.grid.columns
        for i, region in enumerate(stage.regions):
            keys.append(key(*divmod(i, columns)))
            self.graph[keys[-1]] = self._task(stage, program, region, then, wait(i))
        return keys

    def picked(self, whole: Key, place: int, key: Key) -> None:
        """Add a key for one of the results of a task that makes several."""
        self.graph[key] = (Pick(place), whole)

    def stage_name(self, stage: Stage) -> str:
        """What the keys of a stage begin with: who it makes, and in which tiles."""
        nodes = "+".join(self._named(node) for node in stage.nodes)
        return f"imgrs-{stage.kind}-{nodes}-{stage.grid.tile[0]}x{stage.grid.tile[1]}"

    def _place(self, stage: Stage) -> int:
        return next(place for place, other in enumerate(self.plan.stages) if other is stage)

    def stage_of(self, key: Key, task: tuple[Any, ...]) -> int | None:
        """The place of the stage that a task makes tiles for; None for tasks that work on what others made."""
        if task[0] is make:
            return self._places[task[1]]
        if isinstance(task[0], (Decoding, DecodeToScratch)):
            return self._places[key[0]]
        return None

    def _program(self, stage: Stage) -> Key:
        key = f"{self.stage_name(stage)}-program"
        self._places[key] = self._place(stage)
        self.graph[key] = stage.program.prepared()
        return key

    def _task(self, stage: Stage, program: Key, region: Region, then: Then | None, wait: Sequence[Key] = ()) -> Any:
        blocks = list(self._blocks(stage, region))
        layout = tuple((slot, covered) for slot, covered, _ in blocks)
        tile = stage.grid.tile if stage.by_rows else None
        return (make, program, Work(region, layout, then, tile, self._stop), *(key for _, _, key in blocks), *wait)

    def _blocks(self, stage: Stage, region: Region) -> Iterable[tuple[int, Region, Key]]:
        supplied = [(i, step.op.slot) for i, step in enumerate(stage.program.steps) if isinstance(step.op, Supplied)]
        if not supplied:
            return
        needs = stage.demand(region)
        for i, slot in supplied:
            found = itertools.chain.from_iterable(self._providers[slot].blocks(need) for need in needs[i])
            for covered, key in dict(found).items():
                yield slot, covered, key

    def _provide(self, stage: Stage) -> None:
        """Say where the blocks of what a stage makes come from, and add the tasks that make them.

        In a run with a cache they are added when they are asked for, so that nothing is added for what is found there.
        """
        add = self._fold if stage.kind == "fold" else self._keep
        if self._lookup is None:
            provided = add(stage)
            self._providers.update({self.plan.slots[node]: provided[node] for node in stage.nodes})
            return
        later = functools.cache(functools.partial(add, stage))
        for place, node in enumerate(stage.nodes):
            digest = stage.stored[place] if stage.stored else None
            self._providers[self.plan.slots[node]] = self._stored(stage, node, digest, later)

    def _stored(
        self, stage: Stage, node: Node, digest: str | None, later: Callable[[], Mapping[Node, Provider]]
    ) -> Provider:
        """Blocks from the cache, where ``digest`` says under which name, or else of what ``later`` adds."""
        grid = Grid(*node.spec.size, node.spec.size) if stage.kind == "fold" else stage.grid
        name = f"{self.stage_name(stage)}-{stage.nodes.index(node)}" if stage.kind == "fold" else self.stage_name(stage)

        def key(row: int, column: int) -> Key:
            if digest is None:
                return later()[node].key(row, column)
            stored, region = (name, row, column, "stored"), grid.region(row, column)
            if stored not in self.graph:
                assert self._lookup is not None
                self.graph[stored] = self._lookup.tile(node, digest, region, lambda: later()[node].key(row, column))
            return stored

        return Provider(grid, key)

    def _keep(self, stage: Stage) -> Mapping[Node, Provider]:
        name = self.stage_name(stage)
        self._places[name] = self._place(stage)
        (node,) = stage.nodes
        if self._scratch and isinstance(node.op, Source) and stage.kind == "decode":
            self.graph[(name, 0, 0)] = (DecodeToScratch(node.op, node.spec, self._scratch),)
        elif stage.streamed:
            self._decode_in_turn(stage)
        else:
            program = self._program(stage)
            then = ToScratch(self._scratch) if self._scratch else None

            def add(row: int, column: int) -> Key:
                key = (name, row, column)
                if key not in self.graph:
                    self.graph[key] = self._task(stage, program, stage.grid.region(row, column), then)
                return key

            if self._lookup is not None:
                return {node: Provider(stage.grid, add)}
            for cell in stage.grid.cells:
                add(*cell)
        return {node: Provider(stage.grid, lambda row, column: (name, row, column))}

    def _decode_in_turn(self, stage: Stage) -> None:
        name = self.stage_name(stage)
        (node,) = stage.nodes
        assert isinstance(node.op, Source)
        decoding = Decoding(node.op, node.spec)
        self._decodings.append(decoding)
        before: list[Key] = []
        for row, _ in stage.grid.cells:
            self.graph[(name, row, 0)] = (decoding, stage.grid.region(row, 0), *before)
            before = [(name, row, 0)]
        self._in_turn[name] = stage.grid.rows, self._ahead(stage)

    def _ahead(self, stage: Stage) -> int:
        """For how many tiles more than those that are being made a stage may work that hands them some rows."""
        (node,) = stage.nodes
        readers = [reader for reader in self.plan.stages if node in reader.order and reader is not stage]
        return max((reader.side_by_side(self.plan.settings.workers) for reader in readers), default=1)

    def close(self) -> None:
        """Stop what still runs, and let go of files that are open between tasks: when the run has ended, or failed."""
        if self._stop is not None:
            self._stop.stop()
        for decoding in self._decodings:
            decoding.close()

    def finished(self) -> Graph:
        """The graph, with files that are decoded in turn held back, so that little of them is in memory at a time.

        While a tile is not done, only what the next row of tiles needs is decoded. Tiles are in order in the graph, and none
        waits for one behind it, so that nothing waits for itself.
        """
        waits: list[tuple[Key, Key]] = []
        for name, (pieces, ahead) in self._in_turn.items():
            tiles = self._tiles_that_need(name)
            for (tile, _), (_, reached) in zip(tiles, tiles[ahead:], strict=False):
                if reached + 1 < pieces:
                    waits.append(((name, reached + 1, 0), tile))
        in_order = flowing(self.plan.stages) if self._lookup is not None and self.plan.settings.shares_memory else ()
        for stage in self.plan.stages:
            if stage.kind == "keep" and stage.nodes[0] in in_order:
                waits += self._held_back(stage)
        for key, tile in waits:  # all at once: what is only waited for is not needed
            self.graph[key] += (tile,)
        return self.graph

    def _held_back(self, stage: Stage) -> Iterator[tuple[Key, Key]]:
        """What of a stored stage is to be made, or read from a folder, only after which tile: one of some rows above."""
        name, ahead = self.stage_name(stage), self._ahead(stage)
        tiles = self._tiles_that_need(name)
        reached = [row for _, row in tiles]
        for key, task in self.graph.items():
            if key[:1] == (name,) and isinstance(task[0], (Fetch, type(make))):
                last = bisect.bisect_left(reached, key[1]) - 1 - ahead
                if last >= 0:
                    yield key, tiles[last][0]

    def _tiles_that_need(self, name: str) -> list[tuple[Key, int]]:
        """The tasks that take what has this name, in order, each with the last row that it or one before it takes."""
        tiles: list[tuple[Key, int]] = []
        reached = 0
        for key, task in self.graph.items():
            if isinstance(task, tuple) and key[:1] != (name,):
                needed = [argument[1] for argument in task if isinstance(argument, tuple) and argument[:1] == (name,)]
                if needed:
                    reached = max(reached, *needed)
                    tiles.append((key, reached))
        return tiles

    def _fold(self, stage: Stage) -> Mapping[Node, Provider]:
        name, program = self.stage_name(stage), self._program(stage)
        folds = tuple(cast(Fold, node.op) for node in stage.nodes)
        gather = Gather(folds, stage.program.spec)
        level: list[Key] = []
        for cell in stage.grid.cells:
            level.append((f"{name}-part", *cell))
            self.graph[level[-1]] = self._task(stage, program, stage.grid.region(*cell), gather)
        for depth in itertools.count():
            if len(level) == 1:
                break
            groups = [level[i : i + FAN_IN] for i in range(0, len(level), FAN_IN)]
            level = [(f"{name}-sum", depth, i) for i in range(len(groups))]
            self.graph.update({key: (gather.combine, *group) for key, group in zip(level, groups, strict=True)})
        provided = {}
        for place, node in enumerate(stage.nodes):
            key = f"{name}-{place}"
            self.graph[key] = (Finish(gather, place), level[0])
            whole = Grid(*node.spec.size, node.spec.size)
            provided[node] = Provider(whole, lambda row, column, key=key: key)  # type: ignore[misc]
        return provided

    def _array(self, node: Node, op: FromArray) -> Provider:
        spec = op.spec
        grid = Grid(spec.width, spec.height, spec.size if self.plan.settings.shares_memory else (BLOCK, BLOCK))
        name = f"imgrs-array-{self._named(node)}"
        for cell in grid.cells:
            self.graph[(name, *cell)] = op.read(grid.region(*cell))
        return Provider(grid, lambda row, column: (name, row, column))

    def _dask(self, op: FromDask) -> Provider:
        array = op.array
        self.graph.update(array.__dask_graph__())
        rows, columns = (list(itertools.accumulate(sizes, initial=0)) for sizes in array.chunks[:2])
        found = []
        for i, j in itertools.product(range(len(rows) - 1), range(len(columns) - 1)):
            key = (array.name, i, j, *(0,) * (array.ndim - 2))
            found.append((Region(columns[j], rows[i], columns[j + 1], rows[i + 1]), key))
        return Provider(None, _unused, tuple(found))


def _unused(row: int, column: int) -> Key:
    raise KeyError((row, column))
