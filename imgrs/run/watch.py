"""Measuring runs: what watches, what the tasks of a watched run report, and the sums of that.

Where nothing watches, no task and no op is wrapped. Where something does, each task is called through ``Watched``, which
times it and sends a ``Report`` to the process that runs the plan: directly where that is the same one, through a file where
it is on the same host, and as an event of ``distributed`` on a cluster.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from imgrs.graph.op import Fold, Source
from imgrs.graph.text import arguments
from imgrs.io.atomic import temporary_folder
from imgrs.io.resource import counted
from imgrs.plan.predict import extent, predict, shares
from imgrs.plan.program import Supplied
from imgrs.plan.stages import Plan, Stage
from imgrs.run.tasks import DecodeToScratch, Decoding, Finish, Work, make
from imgrs.types import Pixels, Region

if TYPE_CHECKING:
    from imgrs.run.graph import Builder, Graph, Key

INTERVAL = 0.01
"""Seconds between two looks at resident memory and at what other processes have reported."""
PATIENCE = 2.0
"""Seconds to wait, at the end of a run on a cluster, for reports that are still on their way."""
LATER = ("gather", "keep", "encode", "write", "other")
"""Parts of a task that are no op of its program, in the order in which they are listed."""


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


def resident() -> int:
    """Bytes of memory that this process has in use now, shared pages included, as the system counts them."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:
            return int(file.read(128).split()[1]) * _page()
    except FileNotFoundError:  # not Linux
        import psutil

        return int(psutil.Process().memory_info().rss)


@functools.cache
def _page() -> int:
    return os.sysconf("SC_PAGE_SIZE")


def _highest() -> int:
    """The most that this process ever had resident, as the kernel knows; 0 where it does not say."""
    if sys.platform == "win32":
        return 0
    import resource

    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else highest << 10


class Channel(Protocol):
    """The way of a report from a task to the run. It travels with the tasks."""

    def send(self, report: Report) -> None: ...


class Clock:
    """Times the parts of one task, in the thread that runs it: an observer for ``compute_tile``."""

    def __init__(self) -> None:
        self.parts: dict[str, list[Any]] = {}
        self.peak = 0
        self.now: str | None = None
        """The part that is being done."""
        self.seen: dict[str, int] = {}
        """The most memory that was seen while a part was done, by who looks at it from outside."""
        self._wall = self._cpu = 0.0

    def begin(self, part: str) -> None:
        self.now = part
        self._wall, self._cpu = time.perf_counter(), time.thread_time()

    def end(self, part: str, pixels: int = 0, size: int = 0) -> None:
        wall, cpu = time.perf_counter() - self._wall, time.thread_time() - self._cpu
        self.now = None
        memory = resident()
        self.peak = max(self.peak, memory)
        sums = self.parts.setdefault(part, [0, 0.0, 0.0, 0, 0, 0])
        for place, more in enumerate((1, wall, cpu, pixels, size)):
            sums[place] += more
        sums[5] = max(sums[5], memory, self.seen.get(part, 0))

    def look(self, memory: int) -> None:
        """Note how much memory is resident, in any thread."""
        part = self.now
        self.peak = max(self.peak, memory)
        if part is not None:
            self.seen[part] = max(self.seen.get(part, 0), memory)


@dataclass(frozen=True, eq=False)
class Watched:
    """A task's function, called under a clock. What it makes and what it raises are the function's own."""

    function: Callable[..., Any]
    stage: int
    part: str
    """Which part the whole task is, where it is not the making of a tile."""
    channel: Channel

    def __call__(self, *arguments: Any) -> Any:
        clock = Clock()
        enter = getattr(self.channel, "enter", None)
        if enter is not None:
            enter(clock)
        began, wall, cpu = time.time(), time.perf_counter(), time.thread_time()
        tile, size, made, read = None, 0, None, [0]
        try:
            with counted(read):
                if self.function is make:
                    made = make(*arguments, observer=clock)
                else:
                    clock.begin(self.part)
                    made = self.function(*arguments)
                    clock.end(self.part, *_measures(self.function, arguments, made))
            tile = _tile(self.function, arguments)
        finally:
            seconds, cpu_seconds = time.perf_counter() - wall, time.thread_time() - cpu
            parts = {name: tuple(sums) for name, sums in clock.parts.items()}
            if tile is not None and self.function is make:
                size = _made_bytes(arguments[0], arguments[1])
            region = None if tile is None else (tile.left, tile.top, tile.right, tile.bottom)
            if self.function is not make and tile is not None:
                size = sum(sums[4] for sums in parts.values())
            report = Report(
                self.stage, region, began, seconds, cpu_seconds, read[0], size, max(clock.peak, resident()), _worker(), parts
            )  # fmt: skip
            self.channel.send(report)
            if enter is not None:
                self.channel.leave(clock)  # type: ignore[attr-defined]  # whoever has one has the other
        return made


def _tile(function: Any, arguments: tuple[Any, ...]) -> Region | None:
    """Which tile of its stage a task has made; None for tasks that make none."""
    if function is make:
        work: Work = arguments[1]
        return work.region
    if isinstance(function, Decoding):
        region: Region = arguments[0]
        return region
    return function.spec.region if isinstance(function, DecodeToScratch) else None


def _measures(function: Any, arguments: tuple[Any, ...], made: Any) -> tuple[int, int]:
    """Pixels and bytes of what a task made that is not a tile of a program."""
    if isinstance(function, Decoding):
        return arguments[0].area, made.nbytes
    if isinstance(function, DecodeToScratch):
        return function.spec.region.area, function.spec.nbytes
    if isinstance(function, Finish):
        pixels: Pixels = made
        return pixels.shape[0] * pixels.shape[1], pixels.nbytes
    return 0, 0


def _made_bytes(program: Any, work: Work) -> int:
    return sum(int(work.region.area * program.steps[output].spec.pixel_bytes) for output in program.outputs)


def _worker() -> str:
    return f"{_host()}-{os.getpid()}-{threading.get_ident()}"


@functools.cache
def _host() -> str:
    import platform

    return platform.node()


class Here:
    """Reports within one process. In another one, where a scheduler that imgrs does not know may take it, they are lost."""

    def __init__(self, run: Run | None) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._clocks: set[Clock] = set()

    def send(self, report: Report) -> None:
        if self._run is not None:
            self._run.add(report)

    def enter(self, clock: Clock) -> None:
        with self._lock:
            self._clocks.add(clock)

    def leave(self, clock: Clock) -> None:
        with self._lock:
            self._clocks.discard(clock)

    def look(self, memory: int) -> None:
        with self._lock:
            for clock in self._clocks:
                clock.look(memory)

    def __reduce__(self) -> tuple[Any, ...]:
        return Here, (None,)


@dataclass(frozen=True)
class ThroughFiles:
    """Reports of processes on this host: each writes lines to a file of its own in ``folder``."""

    folder: str

    def send(self, report: Report) -> None:
        line = json.dumps(report.plain()).encode() + b"\n"
        with open(os.path.join(self.folder, f"{os.getpid()}-{threading.get_ident()}"), "ab", buffering=0) as file:
            file.write(line)


class _Reading:
    """Reads what is new in the files of ``ThroughFiles``."""

    def __init__(self, folder: str, run: Run) -> None:
        self._folder, self._run = folder, run
        self._done: dict[str, int] = {}

    def look(self) -> None:
        for name in sorted(os.listdir(self._folder)):
            with open(os.path.join(self._folder, name), "rb") as file:
                file.seek(self._done.get(name, 0))
                whole = file.read().rpartition(b"\n")[0]
            self._done[name] = self._done.get(name, 0) + len(whole) + (1 if whole else 0)
            for line in whole.splitlines():
                self._run.add(Report.of(json.loads(line)))


@dataclass(frozen=True)
class AsEvents:
    """Reports of the workers of a cluster: events of ``distributed`` under ``topic``."""

    topic: str

    def send(self, report: Report) -> None:
        from distributed import get_worker

        get_worker().log_event(self.topic, report.plain())


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
        self._here = _worker().rpartition("-")[0]

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
            highest = _highest()

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
                if _highest() > highest:
                    self.peak_bytes = max(self.peak_bytes, _highest())

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
            return ThroughFiles(folder), _Reading(folder, self).look
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
