"""Runs plans: picks the scheduler, hands Dask the graph, and collects arrays."""

from __future__ import annotations

import itertools
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

from imgrs.config import Settings
from imgrs.graph.node import Node
from imgrs.ops.source import FromDask
from imgrs.plan.choose import plan
from imgrs.plan.stages import Plan
from imgrs.run.graph import Builder, Graph, Key
from imgrs.run.tasks import Into
from imgrs.types import Pixels

Get: TypeAlias = Callable[..., Any]  # Dask's get(graph, keys, **options)

DIRECT_BELOW = 512 * 512
"""Pixels of output below which a plan of single tiles runs at once, without Dask (its start costs 1 to 2 ms)."""


def compute(outputs: Sequence[Node], settings: Settings) -> list[Pixels]:
    """The pixels of every output, each (height, width, bands); shared work is done once."""
    made = plan(outputs, settings)
    get, shared = scheduler(settings)
    with scratch_folder(made) as scratch:
        builder = Builder(made, local_names(made, shared), shared, scratch)
        arrays = Arrays(builder, made, shared)
        arrays.fill(run(builder.graph, arrays.keys, made, get))
    return [arrays.pixels[node] for node in made.after]


class Arrays:
    """The arrays of those outputs of a plan that go anywhere: adds the tasks that make them to a graph.

    Tasks that share this process's memory write into the arrays; of others, ``fill`` takes what they made.
    """

    def __init__(self, builder: Builder, made: Plan, shared: bool) -> None:
        self.pixels: dict[Node, Pixels] = {}
        self.keys: list[list[Key]] = []
        """The tiles of each stage."""
        self._stages = [stage for stage in made.stages if stage.kind == "output" and stage.sink.anywhere]
        self._into: list[Into] = []
        self._shared = shared
        for stage in self._stages:
            arrays = tuple(np.empty((n.spec.height, n.spec.width, n.spec.bands), n.spec.dtype) for n in stage.nodes)
            self.pixels.update(zip(stage.nodes, arrays, strict=True))
            self._into.append(Into(arrays))
            then = self._into[-1] if shared else None
            self.keys.append(builder.outputs(stage, then, named_tiles(builder.stage_name(stage)), no_wait))

    def fill(self, gathered: Sequence[Sequence[Any]]) -> None:
        """Complete the arrays from the values of ``keys``."""
        if self._shared:
            return
        for stage, into, tiles in zip(self._stages, self._into, gathered, strict=True):
            for cell, tile in zip(stage.grid.cells, tiles, strict=True):
                into(stage.grid.region(*cell), list(tile) if len(stage.nodes) > 1 else [tile])


def to_array(node: Node, settings: Settings) -> Pixels:
    """The pixels of one node as a public array."""
    return compute([node], settings)[0].reshape(node.spec.shape)


def named_tiles(name: str) -> Callable[[int, int], Key]:
    """Keys ``(name, row, column)``."""
    return lambda row, column: (name, row, column)


def no_wait(i: int) -> Sequence[Key]:
    """Tiles that wait for nothing."""
    return ()


def scheduler(settings: Settings) -> tuple[Get | None, bool]:
    """Dask's ``get`` for a run, and whether its tasks share this process's memory; None where none was asked for.

    The order is: the option, ``dask.config``, the active distributed client, threads.
    """
    asked = settings.scheduler
    if asked is None:
        asked = _scheduler_of_dask()
        if asked is None:
            return None, True
    workers = settings.workers
    if asked == "sync":
        import dask.local

        return dask.local.get_sync, True
    if asked == "threads":
        return _threads(workers), True
    if asked == "processes":
        import dask.multiprocessing

        return lambda graph, keys: dask.multiprocessing.get(graph, keys, num_workers=workers), False
    if asked == "distributed":
        from distributed import get_client

        return get_client().get, False
    get = asked if callable(asked) and not hasattr(asked, "get") else asked.get
    module = getattr(get, "__module__", "")
    return get, module in ("dask.threaded", "dask.local")


def _scheduler_of_dask() -> Any:
    """What ``dask.config`` or an active client says; None, without loading ``distributed`` (0.2 s), where neither does."""
    import dask.config

    if "distributed" not in sys.modules and not dask.config.get("scheduler", None):
        return None
    import dask.base

    return dask.base.get_scheduler()


def _threads(workers: int) -> Get:
    import dask.threaded

    return lambda graph, keys: dask.threaded.get(graph, keys, num_workers=workers)


def run(graph: Graph, keys: Any, made: Plan, get: Get | None) -> Any:
    """The values of ``keys`` (nested lists of them), by a scheduler or, for small work, right here."""
    if get is None:
        small = sum(node.spec.width * node.spec.height for node in made.after) <= DIRECT_BELOW
        single = all(stage.grid.count == 1 for stage in made.stages)
        if small and single and not any(isinstance(node.op, FromDask) for node in made.slots):
            return _directly(graph, keys)
        get = _threads(made.settings.workers)
    return get(graph, keys)


def _directly(graph: Graph, keys: Any) -> Any:
    """Run a graph whose tasks are in order, without a scheduler."""
    values: dict[Key, Any] = {}
    for key, task in graph.items():
        if isinstance(task, tuple) and callable(task[0]):
            values[key] = task[0](*(values[a] if isinstance(a, (str, tuple)) else a for a in task[1:]))
        else:
            values[key] = task
    return [[values[key] for key in row] for row in keys]


@contextmanager
def scratch_folder(made: Plan) -> Iterator[str | None]:
    """A folder for kept pixels that do not fit in memory, removed in the end; None where they do."""
    if not made.scratch:
        yield None
        return
    folder = tempfile.mkdtemp(prefix="imgrs-scratch-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def local_names(made: Plan, shared: bool) -> Callable[[Node], str]:
    """Names for a graph that lives for one call: numbers here, digests where a cluster may meet them again."""
    if not shared:
        return lambda node: node.key
    numbers = itertools.count()
    names: dict[Node, str] = {}

    def named(node: Node) -> str:
        if node not in names:
            names[node] = str(next(numbers))
        return names[node]

    return named
