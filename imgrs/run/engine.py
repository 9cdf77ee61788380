"""Runs plans: picks the scheduler, hands Dask the graph, and collects arrays."""

from __future__ import annotations

import functools
import itertools
import os
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from typing import Any, TypeAlias

import numpy as np

from imgrs.config import Settings
from imgrs.errors import ArgumentError, ImgrsError, MemoryBudgetError
from imgrs.graph.node import Node, walk
from imgrs.io import segments
from imgrs.io.atomic import temporary_folder
from imgrs.io.resource import Resource
from imgrs.ops.source import FromDask, Open
from imgrs.plan.choose import plan
from imgrs.plan.stages import Plan
from imgrs.run.graph import Builder, Graph, Key
from imgrs.run.progress import Bar, shown
from imgrs.run.tasks import Drop, Into
from imgrs.run.watch import Run, recording
from imgrs.types import Pixels, Spec

Get: TypeAlias = Callable[..., Any]  # Dask's get(graph, keys, **options)

DIRECT_BELOW = 512 * 512
"""Pixels of output below which a plan of single tiles runs at once, without Dask (its start costs 1 to 2 ms)."""

VAST = 1 << 36
"""Bytes of an array for which room is looked for before it is planned: a plan has a place for each of its tiles."""


def compute(outputs: Sequence[Node], settings: Settings) -> list[Pixels]:
    """The pixels of every output, each (height, width, bands); shared work is done once."""
    for node in outputs:
        if node.spec.nbytes > VAST:
            _array(node.spec)
    with _begun(outputs, settings, "compute") as (builder, finish):
        arrays = Arrays(builder, builder.plan)
        arrays.fill(finish(arrays.keys))
    return [arrays.pixels[node] for node in builder.plan.after]


def discard(outputs: Sequence[Node], settings: Settings) -> None:
    """Compute every output as ``compute`` does, and drop each tile when it is made."""
    with _begun(outputs, settings, "profile") as (builder, finish):
        stages = [stage for stage in builder.plan.stages if stage.kind == "output"]
        finish([builder.outputs(s, Drop(), named_tiles(builder.stage_name(s)), no_wait) for s in stages])


@contextmanager
def _begun(outputs: Sequence[Node], settings: Settings, what: str) -> Iterator[tuple[Builder, Callable[[Any], Any]]]:
    """A run of ``outputs`` that is shown and watched: what builds its graph, and what gives the values of its keys."""
    start = time.perf_counter()
    with shown(settings.progress, what) as bar:
        made = plan(outputs, settings)
        with (
            recording(made, what, start) as record,
            scratch_folder(made) as scratch,
            closing(Builder(made, local_names(made), scratch)) as builder,
        ):
            yield builder, functools.partial(run, builder, record=record, bar=bar)


class Arrays:
    """The arrays of those outputs of a plan that go anywhere: adds the tasks that make them to a graph.

    Tasks that share this process's memory write into the arrays; of others, ``fill`` takes what they made.
    """

    def __init__(self, builder: Builder, made: Plan) -> None:
        self.pixels: dict[Node, Pixels] = {}
        self.keys: list[list[Key]] = []
        """The tiles of each stage."""
        self._stages = [stage for stage in made.stages if stage.kind == "output" and stage.sink.anywhere]
        self._into: list[Into] = []
        self._shared = made.settings.shares_memory
        for stage in self._stages:
            arrays = tuple(_array(node.spec) for node in stage.nodes)
            self.pixels.update(zip(stage.nodes, arrays, strict=True))
            self._into.append(Into(arrays))
            then = self._into[-1] if self._shared else None
            self.keys.append(builder.outputs(stage, then, named_tiles(builder.stage_name(stage)), no_wait))

    def fill(self, gathered: Sequence[Sequence[Any]]) -> None:
        """Complete the arrays from the values of ``keys``."""
        if self._shared:
            return
        for stage, into, tiles in zip(self._stages, self._into, gathered, strict=True):
            for cell, tile in zip(stage.grid.cells, tiles, strict=True):
                into(stage.grid.region(*cell), list(tile) if len(stage.nodes) > 1 else [tile])


def _array(spec: Spec) -> Pixels:
    """Room for all pixels of an image. Raises ``MemoryBudgetError`` where the system has none."""
    try:
        return np.empty((spec.height, spec.width, spec.bands), spec.dtype)
    except (MemoryError, ValueError):  # the latter for more bytes than can be counted
        way = "save() it as TIFF or ZARR, or compute a crop()"
        raise MemoryBudgetError(f"the array of a {spec} image takes {spec.nbytes:,} bytes, too many; {way}") from None


def to_array(node: Node, settings: Settings) -> Pixels:
    """The pixels of one node as a public array."""
    return compute([node], settings)[0].reshape(node.spec.shape)


def named_tiles(name: str) -> Callable[[int, int], Key]:
    """Keys ``(name, row, column)``."""
    return lambda row, column: (name, row, column)


def no_wait(i: int) -> Sequence[Key]:
    """Tiles that wait for nothing."""
    return ()


def scheduler(settings: Settings) -> Get | None:
    """Dask's ``get`` for a run; None where none was asked for."""
    asked, workers = settings.scheduler, settings.workers
    get: Get | None = None
    if asked == "sync":
        import dask.local

        get = dask.local.get_sync
    elif asked == "threads":
        get = _threads(workers)
    elif asked == "processes":
        get = functools.partial(_in_processes, workers)
    elif asked == "distributed":
        get = client_of(settings).get
    elif asked is not None:
        get = asked if callable(asked) and not hasattr(asked, "get") else asked.get
    return get


def client_of(settings: Settings) -> Any:
    """The ``distributed.Client`` that a run is to be on; None for another scheduler. Raises ``ArgumentError``."""
    asked = settings.scheduler
    if asked == "distributed":
        from distributed import get_client

        try:
            return get_client()
        except ValueError as error:
            way_out = "start a distributed.Client first, or give one as scheduler="
            raise ArgumentError(f'options: scheduler="distributed" finds no client; {way_out}') from error
    owner = getattr(asked, "__self__", asked)
    return owner if hasattr(owner, "get_executor") else None


def _in_processes(workers: int, graph: Graph, keys: Any, **options: Any) -> Any:
    """Dask's processes; where a run fails or is interrupted, they end at once with what they were doing."""
    from concurrent.futures import ProcessPoolExecutor

    import dask.config
    import dask.multiprocessing

    if dask.config.get("pool", None) is not None:
        return dask.multiprocessing.get(graph, keys, **options)
    if os.environ.get("PYTHONHASHSEED") in (None, "0"):  # as Dask does, so that all of them hash alike
        os.environ["PYTHONHASHSEED"] = "6640"
    # Ctrl-C is for this process, which ends them. Nothing of imgrs may be loaded before Dask is: of the exceptions that it
    # finds, Dask's way to pickle them takes the causes along, and decoders have some that do not pickle.
    first = dask.config.get("multiprocessing.initializer", None) or functools.partial(
        signal.signal, signal.SIGINT, signal.SIG_IGN
    )
    start = functools.partial(dask.multiprocessing.initialize_worker_process, user_initializer=first)
    pool = ProcessPoolExecutor(workers, dask.multiprocessing.get_context(), start)
    try:
        found = dask.multiprocessing.get(graph, keys, pool=pool, **options)
    except BaseException:
        for process in list((pool._processes or {}).values()):  # Python 3.14 has a method for it
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    return found


def _threads(workers: int) -> Get:
    """Dask's threads. All runs of a process share them, so that runs started by many threads at once do not take more.

    What is computed within a task, by a function of the user's, is done right there: it would wait for itself. So is a run of
    one worker that a thread of the user's started, which is that worker; in the main thread it could not be interrupted.
    """
    import dask.config
    import dask.local
    import dask.threaded

    if _inside.__dict__ or (workers == 1 and threading.current_thread() is not threading.main_thread()):
        return functools.partial(dask.local.get_sync)
    if dask.config.get("pool", None) is not None:
        return functools.partial(dask.threaded.get, num_workers=workers)
    with _starting:
        pool = _pool(workers, os.getpid())
    return functools.partial(dask.threaded.get, pool=pool)


_inside = threading.local()
"""Holds something in the threads of a pool."""
_starting = threading.Lock()


@functools.cache
def _pool(workers: int, process: int) -> ThreadPoolExecutor:
    """The threads of a process, started where no interrupt comes between: half started, one could never be joined."""

    def mark() -> None:
        _inside.pool = True

    pool = ThreadPoolExecutor(workers, "imgrs", mark)
    together = threading.Barrier(workers)
    with _interrupts_wait():
        wait([pool.submit(together.wait) for _ in range(workers)])
    return pool


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Hold back Ctrl-C, where the system can."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run(builder: Builder, keys: Any, record: Run | None = None, bar: Bar | None = None) -> Any:
    """The values of ``keys`` (nested lists of them), by a scheduler or, for small work, right here.

    What is spent goes into ``record``, and what is done to ``bar``.
    Raises ``SourceChangedError`` where a file behind a URL is another one at the end than when it was opened: parts of
    both may have been read.
    """
    made = builder.plan
    files = [node.op.reader.resource for node in walk(made.after) if isinstance(node.op, Open)]
    if made.settings.scheduler == "processes":
        for file in files:
            check_shared(file.name)
    _confirm(files)
    try:
        with segments.room(made.forecast.shared_bytes):
            found = _run(builder, keys, record, bar)
    except ImgrsError:
        _confirm(files)  # which may be why
        raise
    _confirm(files)
    return found


def _confirm(files: Sequence[Resource]) -> None:
    for file in files:
        file.confirm()


def _run(builder: Builder, keys: Any, record: Run | None, bar: Bar | None) -> Any:
    made, graph = builder.plan, builder.finished()
    get = scheduler(made.settings)
    if get is None:
        get = _directly if _small(made) else _threads(made.settings.workers)
    client = client_of(made.settings)
    if bar is not None:
        bar.expect(builder, graph)
        if client is not None:
            get = functools.partial(_in_futures, client, bar)
        elif made.settings.on_this_host:
            get = functools.partial(get, callbacks=bar.callbacks)
    if record is None:
        return get(graph, keys)
    with record.watched(builder, graph, client) as watched:
        return get(watched, keys)


def _small(made: Plan) -> bool:
    """Whether a plan is quicker without Dask."""
    small = sum(node.spec.width * node.spec.height for node in made.after) <= DIRECT_BELOW
    single = all(stage.grid.count == 1 for stage in made.stages)
    return small and single and not any(isinstance(node.op, FromDask) for node in made.slots)


def _in_futures(client: Any, bar: Bar, graph: Graph, keys: Any) -> Any:
    """The client's ``get``, which tells the bar of each key that is asked for as it is done."""
    packed = client.get(graph, keys, sync=False)
    futures = [future for row in packed for future in row]
    for future in futures:
        future.add_done_callback(lambda future: bar.finished(future.key))
    try:
        found = client.gather(packed)
    except BaseException:
        client.cancel(futures)
        raise
    for future in futures:
        bar.finished(future.key)  # which counts once: a callback may come after the value
    return found


def check_shared(name: str) -> None:
    """Raise ``ArgumentError`` for a file that other processes cannot see."""
    if "memory://" in name:
        raise ArgumentError(f'{name} is in the memory of this process only; use scheduler="threads", or a file on disk')


def _directly(graph: Graph, keys: Any, callbacks: Any = ()) -> Any:
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
    with temporary_folder(tempfile.gettempdir(), "imgrs-scratch") as folder:
        yield folder


def local_names(made: Plan) -> Callable[[Node], str]:
    """Names for a graph that lives for one call: numbers here, digests where a cluster may meet them again."""
    if not made.settings.shares_memory:
        run = f"-{uuid.uuid4().hex}" if any(stage.stored for stage in made.stages) else ""
        return lambda node: f"{node.key}{run}"  # what is found in a cache makes other tasks than what is not
    numbers = itertools.count()
    names: dict[Node, str] = {}

    def named(node: Node) -> str:
        if node not in names:
            names[node] = str(next(numbers))
        return names[node]

    return named
