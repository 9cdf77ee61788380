"""Progress of a long call: a bar in a terminal, a widget in a notebook, lines of text elsewhere; all on standard error.

A bar counts the tiles that are done. Its rate and the time left are those of the whole call, not of its last seconds.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from imgrs.plan.predict import extent, predict, shares
from imgrs.plan.stages import Plan
from imgrs.run.tasks import Decoding, make

if TYPE_CHECKING:
    from imgrs.run.graph import Builder, Graph, Key

DELAY = 0.5
"""Seconds that a call lasts before a bar is shown that nobody asked for."""
INTERVAL = 0.1
"""Seconds between two pictures of a bar."""
LINES, TENTH, LONGEST = 5.0, 0.1, 60.0
"""Seconds between two lines of text, at least; the share of the work between them; and seconds after which it may be less."""

_shown = threading.Lock()
"""Held by what is drawn on the screen, of which there is one."""


@contextmanager
def screen() -> Iterator[bool]:
    """Whether one may draw inside: not while a call around this one, or another thread, does."""
    free = _shown.acquire(blocking=False)
    try:
        yield free
    finally:
        if free:
            _shown.release()


@dataclass(frozen=True)
class Progress:
    """How far a call has come after ``seconds``: tiles, and the share of the work that they are, as the plan weighs it."""

    what: str
    done: int
    total: int
    share: float
    pixels: int
    """Of the whole image."""
    seconds: float
    unit: str = "tiles"

    @property
    def megapixels_per_second(self) -> float:
        return self.pixels * self.share / 1e6 / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """None until a tile is done."""
        return self.seconds * (1 / self.share - 1) if self.share else None

    def __str__(self) -> str:
        left = "-:--:--" if self.seconds_left is None else clock(self.seconds_left)
        return (
            f"{self.what}: {self.done:,} of {self.total:,} {self.unit}, {self.share:.0%}, "
            f"{self.megapixels_per_second:.1f} megapixels/s, {left} left"
        )


def clock(seconds: float) -> str:
    """``0:01:05`` for 65 seconds."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


class Display(Protocol):
    """Where progress is shown."""

    def show(self, progress: Progress) -> None: ...

    def close(self, progress: Progress) -> None: ...


class Bar:
    """Counts the tiles of one run as they are done."""

    def __init__(self, what: str) -> None:
        self._what, self._unit = what, "tiles"
        self._start = time.perf_counter()
        self._expected: tuple[Builder, Graph] | None = None
        self._finished: deque[Key] = deque()
        """Keys that were not counted yet."""
        self._weights: dict[Key, float] = {}
        self._pixels = self._total = self._done = 0
        self._share = 0.0

    @property
    def progress(self) -> Progress:
        """How far the run is; to be asked for by one thread."""
        if self._expected is not None:
            self._weigh(*self._expected)
            self._expected = None
        while self._finished and self._weights:
            self._count(self._finished.popleft())
        seconds = time.perf_counter() - self._start
        return Progress(self._what, self._done, self._total, min(1.0, self._share), self._pixels, seconds, self._unit)

    def images(self, total: int) -> None:
        """Count images, and not tiles."""
        self._unit, self._total = "images", total

    def image(self, pixels: int) -> None:
        """Note that one more of them is done; the others are taken to be as large as those that are."""
        pixels += round(self._pixels * self._share)
        self._done += 1
        self._share = self._done / self._total
        self._pixels = round(pixels / self._share)

    def expect(self, builder: Builder, graph: Graph) -> None:
        """Take the tiles of a graph for what is to be done. They are weighed when a bar is drawn: a short call draws none."""
        self._expected = builder, graph

    def finished(self, key: Key) -> None:
        """Note a key of the graph that is done; one that only tells of a tile counts as the tile."""
        self._finished.append(key)

    def _weigh(self, builder: Builder, graph: Graph) -> None:
        plan = builder.plan
        stages = shares(predict(plan))
        found: dict[Key, tuple[int, int]] = {}
        for key, task in graph.items():
            if isinstance(task, tuple) and task and (stage := builder.stage_of(key, task)) is not None:
                found[key] = stage, _area(task)
        whole = sum(stages[stage] * area / _size(plan, stage) for stage, area in found.values())
        self._weights = {key: stages[s] * area / _size(plan, s) / whole for key, (s, area) in found.items()}
        self._total = len(found)
        self._pixels = round(extent(plan) * min(1.0, whole))  # less where a save is gone on with

    def _count(self, key: Key) -> None:
        if isinstance(key, tuple) and key[:1] == ("place",):
            key = key[1:]
        weight = self._weights.pop(key, None)
        if weight is not None:
            self._done += 1
            self._share += weight

    @property
    def callbacks(self) -> list[tuple[Any, ...]]:
        """For Dask's own schedulers, with the callbacks that the user has set."""
        from dask.callbacks import Callback

        def post(key: Key, value: Any, graph: Any, state: Any, worker: Any) -> None:
            self.finished(key)

        return [(None, None, None, post, None), *Callback.active]


def _area(task: tuple[Any, ...]) -> int:
    if task[0] is make:
        return int(task[2].region.area)
    return int(task[1].area if isinstance(task[0], Decoding) else task[0].spec.region.area)


def _size(plan: Plan, stage: int) -> int:
    return plan.stages[stage].grid.box.area


@contextmanager
def shown(asked: bool | None, what: str) -> Iterator[Bar | None]:
    """A bar for a call; None where none is to be shown.

    ``asked`` is the option: True for a bar wherever this is; None for one in a terminal, after half a second.
    """
    if asked is False or (asked is None and not (_terminal() and _alone())):
        yield None
        return
    bar = Bar(what)
    done = threading.Event()

    def show() -> None:
        if asked is None and done.wait(DELAY):
            return
        with screen() as free:
            if not free:
                return
            display = display_for_here()
            try:
                while not done.wait(INTERVAL):
                    display.show(bar.progress)
            finally:
                display.close(bar.progress)

    thread = threading.Thread(target=show, name="imgrs-progress", daemon=True)
    thread.start()
    try:
        yield bar
    finally:
        done.set()
        thread.join()


def _terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _alone() -> bool:
    """Whether Dask shows no bar of its own."""
    callbacks = sys.modules.get("dask.callbacks")
    return callbacks is None or not callbacks.Callback.active


def _notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


def display_for_here() -> Display:
    """A bar by ``rich`` in a terminal, a widget in a notebook that has ``ipywidgets``, text elsewhere."""
    if _notebook() and importlib.util.find_spec("ipywidgets") is not None:
        return Widget()
    return Rich() if _terminal() else Text(sys.stderr.write)


class Rich:
    """A bar in a terminal, taken away when it is done."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[counted]}"),
            TextColumn("{task.fields[rate]} megapixels/s"),
            TextColumn("{task.fields[left]} left"),
        )
        self._bars = Bars(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
        self._task: Any = None

    def show(self, progress: Progress) -> None:
        left = progress.seconds_left
        fields: dict[str, Any] = {  # any name goes along
            "counted": f"{progress.done:,}/{progress.total:,} {progress.unit}",
            "rate": f"{progress.megapixels_per_second:.1f}",
            "left": "-:--:--" if left is None else clock(left),
        }
        if self._task is None:
            self._task = self._bars.add_task(progress.what, total=1.0, **fields)
            self._bars.start()
        self._bars.update(self._task, completed=progress.share, **fields)
        self._bars.refresh()

    def close(self, progress: Progress) -> None:
        if self._task is not None:
            self._bars.stop()


class Text:
    """Lines of text, for logs: one after each tenth of the work, or a minute, but seldom; and one in the end."""

    def __init__(self, write: Callable[[str], Any]) -> None:
        self._write = write
        self._last = 0.0, 0.0

    def show(self, progress: Progress) -> None:
        seconds, share = self._last
        since = progress.seconds - seconds
        if progress.total and since >= LINES and (progress.share >= share + TENTH or since >= LONGEST):
            self._line(progress)

    def close(self, progress: Progress) -> None:
        if progress.total:
            self._line(progress)

    def _line(self, progress: Progress) -> None:
        self._last = progress.seconds, progress.share
        self._write(f"{progress}\n")


class Widget:
    """A bar and a line of text in a notebook, taken away when it is done."""

    def __init__(self) -> None:
        import ipywidgets
        from IPython.display import display

        self._bar = ipywidgets.FloatProgress(min=0.0, max=1.0)
        self._label = ipywidgets.Label()
        self._box = ipywidgets.HBox([self._bar, self._label])
        display(self._box)

    def show(self, progress: Progress) -> None:
        self._bar.value, self._label.value = progress.share, str(progress)

    def close(self, progress: Progress) -> None:
        self._box.close()
