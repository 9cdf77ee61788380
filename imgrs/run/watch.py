"""Measuring runs: what watches, and the sums of what the tasks of a watched run report.

Where nothing watches, no task and no op is wrapped. Where something does, each task is called through ``Watched``
(``imgrs.run.watched``).
"""

from __future__ import annotations

import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from imgrs.graph.op import Fold, Source
from imgrs.graph.text import arguments
from imgrs.io.atomic import temporary_folder
from imgrs.plan.predict import extent, predict, shares
from imgrs.plan.program import Supplied
from imgrs.plan.stages import Plan, Stage
from imgrs.run.spent import Part, Report, StageRun, TileTime
from imgrs.run.tasks import DecodeToScratch, Decoding, Finish
from imgrs.run.watched import (
    AsEvents,
    Channel,
    Here,
    Reading,
    ThroughFiles,
    Watched,
    peak_so_far,
    resident,
    worker_name,
)
from imgrs.types import Region

if TYPE_CHECKING:
    from imgrs.run.graph import Builder, Graph, Key

INTERVAL = 0.01
"""Seconds between two looks at resident memory and at what other processes have reported."""
PATIENCE = 2.0
"""Seconds to wait, at the end of a run on a cluster, for reports that are still on their way."""


class Watcher(Protocol):
    """What wants to know of runs."""

    keeps_tiles: bool
    """Whether it wants each tile's seconds, too."""

    def began(self, run: Run) -> None: ...


_watchers: ContextVar[tuple[Watcher, ...]] = ContextVar("imgrs_watchers", default=())


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Let ``watcher`` know of the runs that this thread or task starts inside."""
    token = _watchers.set((*_watchers.get(), watcher))
    try:
        yield
    finally:
        _watchers.reset(token)


class Run:
    """One run of a plan, while it goes on and when it has ended: what was spent, by stage and by op.

    ``seconds`` are those of the whole call on the clock, ``planning_seconds`` of it before the first task;
    ``cpu_seconds`` are the processor's, of this process and of workers elsewhere. ``peak_bytes`` is the most memory that this
    process had resident: as the kernel says where the run set a new high, else as it was looked at every 10 milliseconds;
    ``start_bytes`` was there before. ``worker_peak_bytes`` is the most of any other process, at the ends of its ops.
    """

    def __init__(self, made: Plan, what: str, start: float, keeps_tiles: bool) -> None:
        self.what = what
        self.plan = made
        self.workers = 1 if made.settings.scheduler == "sync" else made.settings.workers
        self.scheduler = _scheduler_name(made.settings.scheduler)
        self.stages = [_stage_run(stage) for stage in made.stages]
        self.predicted = predict(made)
        self.image_pixels = extent(made)
        """Of what was asked for, or of what it is made from where that is more."""
        self.planning_seconds = time.perf_counter() - start
        self.tasks = 0
        """Tasks that reported."""
        self.tasks_planned = 0
        """Tasks of this run that report, where nothing fails and nothing is there already."""
        self.error: str | None = None
        self.ended = False
        self.tile_times: list[TileTime] = []
        self.peak_bytes = self.start_bytes = resident()
        self.worker_peak_bytes = 0
        self.in_end: dict[str, float] = {}
        self._keeps_tiles = keeps_tiles
        self._lock = threading.Lock()
        self._began = start
        self._cpu = time.process_time()
        self._elsewhere = 0.0
        self._seconds = self._cpu_seconds = 0.0
        self._here = worker_name().rpartition("-")[0]

    @property
    def seconds(self) -> float:
        return self._seconds if self.ended else time.perf_counter() - self._began

    @property
    def cpu_seconds(self) -> float:
        return self._cpu_seconds if self.ended else time.process_time() - self._cpu + self._elsewhere

    @property
    def pixels(self) -> int:
        """Pixels computed, over all ops: what the forecast of ``explain`` counts."""
        return sum(part.pixels for stage in self.stages for part in stage.parts.values())

    @property
    def tiles(self) -> int:
        return sum(stage.tiles for stage in self.stages)

    @property
    def tiles_planned(self) -> int:
        return sum(stage.tiles_planned for stage in self.stages)

    @property
    def read_bytes(self) -> int:
        """Bytes that came from files or URLs."""
        return sum(stage.read_bytes for stage in self.stages)

    @property
    def megapixels_per_second(self) -> float:
        """Of ``image_pixels``, as far as its tiles are done, over the whole call."""
        return self.image_pixels * self.share / 1e6 / self.seconds if self.seconds else 0.0

    @property
    def share(self) -> float:
        """Which part of the work is done: tiles, weighed as the plan does."""
        weighed = zip(shares(self.predicted), self.stages, strict=True)
        return sum(share * stage.tiles / stage.tiles_planned for share, stage in weighed)

    @property
    def lost(self) -> int:
        """Tasks that ended without a report that arrived: results that a cluster had already, or a scheduler of one's own."""
        return max(0, self.tasks_planned - self.tasks) if self.ended and self.error is None else 0

    def add(self, report: Report) -> None:
        """Add what a task reports; in any thread."""
        with self._lock:
            self.tasks += 1
            stage = self.stages[report.stage]
            stage.tasks += 1
            stage.seconds += report.seconds
            stage.cpu_seconds += report.cpu_seconds
            stage.read_bytes += report.read_bytes
            stage.peak_bytes = max(stage.peak_bytes, report.peak)
            stage.first = min(stage.first, report.began)
            stage.last = max(stage.last, report.began + report.seconds)
            for name, sums in report.parts.items():
                stage.parts.setdefault(name, Part(name, name)).add(*sums)
            if report.worker.rpartition("-")[0] != self._here:
                self._elsewhere += report.cpu_seconds
                self.worker_peak_bytes = max(self.worker_peak_bytes, report.peak)
            else:
                self.peak_bytes = max(self.peak_bytes, report.peak)
            if report.tile is None:
                return
            region = Region(*report.tile)
            stage.tiles += 1
            stage.pixels += region.area
            stage.bytes += report.size
            if self._keeps_tiles:
                self.tile_times.append(
                    TileTime(report.stage, region, report.seconds, report.cpu_seconds, report.read_bytes, report.worker)
                )

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time work that is done once, at the end of a run."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.in_end[name] = self.in_end.get(name, 0.0) + time.perf_counter() - start

    def close(self, error: BaseException | None) -> None:
        with self._lock:
            self._seconds = time.perf_counter() - self._began
            self._cpu_seconds = time.process_time() - self._cpu + self._elsewhere
            self.error = None if error is None else f"{type(error).__name__}: {error}".rstrip(": ")
            self.ended = True

    @contextmanager
    def watched(self, builder: Builder, graph: Graph, client: Any) -> Iterator[Graph]:
        """The same graph, key by key, whose tasks report to this run while it is inside."""
        with ExitStack() as stack:
            channel, look = self._channel(stack, client)
            found = dict(_watched(builder, graph, channel))
            self.tasks_planned += sum(
                isinstance(task, tuple) and isinstance(task[0], Watched) for task in found.values()
            )
            done = threading.Event()
            highest = peak_so_far()

            def sample() -> None:
                while not done.wait(INTERVAL):
                    memory = resident()
                    self.peak_bytes = max(self.peak_bytes, memory)
                    if isinstance(channel, Here):
                        channel.look(memory)
                    look()

            sampler = threading.Thread(target=sample, name="imgrs-watch", daemon=True)
            sampler.start()
            try:
                yield found
            finally:
                done.set()
                sampler.join()
                if client is not None:
                    self._wait_for_reports()
                look()
                if peak_so_far() > highest:
                    self.peak_bytes = max(self.peak_bytes, peak_so_far())

    def _wait_for_reports(self) -> None:
        until = time.monotonic() + PATIENCE
        while self.tasks < self.tasks_planned and time.monotonic() < until and sys.exc_info()[0] is None:
            time.sleep(INTERVAL)

    def _channel(self, stack: ExitStack, client: Any) -> tuple[Channel, Callable[[], None]]:
        """How tasks reach this run, and what is to be called again and again for it."""
        if client is not None:
            topic = f"imgrs-{uuid.uuid4().hex}"
            client.subscribe_topic(topic, lambda event: self.add(Report.of(event[1])))
            stack.callback(_forget, client, topic)
            return AsEvents(topic), lambda: None
        if self.plan.settings.scheduler == "processes":
            import tempfile

            folder = stack.enter_context(temporary_folder(tempfile.gettempdir(), "imgrs-watch"))
            return ThroughFiles(folder), Reading(folder, self).look
        return Here(self), lambda: None


def _forget(client: Any, topic: str) -> None:
    """Leave nothing of a topic with a cluster."""
    client.unsubscribe_topic(topic)
    client.run_on_scheduler(_truncated, topic=topic)


def _truncated(dask_scheduler: Any, topic: str) -> None:
    dask_scheduler._broker.truncate(topic)  # there is no public way


def _scheduler_name(scheduler: Any) -> str:
    if scheduler is None:
        return "threads"
    if isinstance(scheduler, str):
        return scheduler
    owner = type(getattr(scheduler, "__self__", scheduler))
    return "distributed" if owner.__module__.partition(".")[0] == "distributed" else "custom"


def _stage_run(stage: Stage) -> StageRun:
    parts = {str(place): Part(*_named(step.op)) for place, step in enumerate(stage.program.steps)}
    names = ", ".join(node.op.name for node in stage.nodes)
    return StageRun(names, stage.kind, stage.tasks, (stage.grid.width, stage.grid.height), parts)


def _named(op: Any) -> tuple[str, str]:
    """What a part is called, and its kind."""
    if isinstance(op, Supplied):
        return "join blocks", "join"
    text = f"{op.name}({', '.join(arguments(op))})"
    return text, "decode" if isinstance(op, Source) else "op"


def _watched(builder: Builder, graph: Graph, channel: Channel) -> Iterator[tuple[Key, Any]]:
    """The tasks of a graph, each that is ours under a clock; stages are told by programs, and by what tasks depend on."""
    stage_of: dict[Key, int] = {}
    for key, task in graph.items():
        if not (isinstance(task, tuple) and task and callable(task[0])):
            yield key, task
            continue
        function = task[0]
        stage = builder.stage_of(key, task)
        if stage is None:
            stage = next((stage_of[a] for a in task[1:] if isinstance(a, (tuple, str)) and a in stage_of), None)
        if stage is None:
            yield key, task  # of a Dask array that is an input
            continue
        stage_of[key] = stage
        yield key, (Watched(function, stage, _part(function, builder.plan.stages[stage]), channel), *task[1:])


def _part(function: Any, stage: Stage) -> str:
    """The part of its stage that a task is which does not make a tile."""
    if isinstance(function, (Decoding, DecodeToScratch)):
        return str(stage.order.index(stage.nodes[0]))
    if isinstance(function, Finish) or any(isinstance(node.op, Fold) for node in stage.nodes):
        return "gather"
    part: str = getattr(function, "part", "other")
    return part


@contextmanager
def recording(made: Plan, what: str, start: float) -> Iterator[Run | None]:
    """A run that is being measured, where something watches; None where nothing does. It began at ``start``."""
    watchers = _watchers.get()
    if not watchers:
        yield None
        return
    run = Run(made, what, start, any(watcher.keeps_tiles for watcher in watchers))
    for watcher in watchers:
        watcher.began(run)
    error: BaseException | None = None
    try:
        yield run
    except BaseException as raised:
        error = raised
        raise
    finally:
        run.close(error)
