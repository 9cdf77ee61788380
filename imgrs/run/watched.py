"""Inside the tasks of a watched run: each is timed by ``Watched``, which sends a ``Report`` to the process that runs the plan.

It goes there directly where that is the same process, through a file where it is on the same host, and as an event of
``distributed`` on a cluster.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from imgrs.io.resource import counted
from imgrs.run.spent import Report
from imgrs.run.tasks import DecodeToScratch, Decoding, Finish, Work, make
from imgrs.types import Pixels, Region

if TYPE_CHECKING:
    from imgrs.run.watch import Run


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


def peak_so_far() -> int:
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
                    size = _made_bytes(*arguments[:2])
                else:
                    clock.begin(self.part)
                    made = self.function(*arguments)
                    pixels, size = _measures(self.function, arguments, made)
                    clock.end(self.part, pixels, size)
            tile = _tile(self.function, arguments)
        finally:
            seconds, cpu_seconds = time.perf_counter() - wall, time.thread_time() - cpu
            parts = {name: tuple(sums) for name, sums in clock.parts.items()}
            region = None if tile is None else (tile.left, tile.top, tile.right, tile.bottom)
            name, peak = worker_name(), max(clock.peak, resident())
            report = Report(self.stage, region, began, seconds, cpu_seconds, read[0], size, peak, name, parts)
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


def worker_name() -> str:
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


class Reading:
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
