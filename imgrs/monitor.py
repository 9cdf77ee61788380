"""``monitor``: what the calls inside a ``with`` block cost, run by run, stage by stage and op by op."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgrs.run.spent import Part, StageRun
    from imgrs.run.watch import Run

REFRESHES = 4
"""Pictures of a live view, a second."""
_HEADER = ("", "seconds", "cpu s", "calls", "megapixels", "MP/s", "MiB made", "MiB read", "peak MiB")


class Monitor:
    """The runs that were watched, in the order in which they began; they fill while they go on.

    ``runs`` holds a record for each, with ``stages``, and in each of those ``parts``: its ops, ``decode`` for what reads,
    and ``gather``, ``keep``, ``encode`` and ``write`` for what became of tiles. Seconds are added up over workers, except
    those of a run and the ``span_seconds`` of a stage. Memory is what a process had resident, libraries included, at the
    ends of ops and every 10 milliseconds between.
    """

    keeps_tiles = False

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self._lock = threading.Lock()

    @property
    def runs(self) -> tuple[Run, ...]:
        with self._lock:
            return tuple(self._runs)

    def began(self, run: Run) -> None:
        """Take a run that begins; the engine calls this, in any thread."""
        with self._lock:
            self._runs.append(run)

    def table(self) -> str:
        """All runs as text, always in the same order: runs as they began, stages and ops as the plan has them."""
        return "\n\n".join(_table(number, run) for number, run in enumerate(self.runs, start=1))

    def to_json(self, indent: int | None = None) -> str:
        """All runs as JSON, in the same order: sizes in bytes, times in seconds, rates in megapixels per second."""
        return json.dumps({"runs": [as_dict(run) for run in self.runs]}, indent=indent)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"<imgrs.Monitor of {len(self.runs)} runs>"


@contextmanager
def monitor(live: bool = False) -> Iterator[Monitor]:
    """Measure every ``compute``, ``save`` and ``save_all`` inside the ``with`` block, in this thread or task.

    ``live`` shows the table while they run, on standard error, where that is a terminal or a notebook; no bars are shown
    then. What an exception leaves is kept, and monitors may be nested. Of a batch each image is a run, unless processes or
    a cluster make them. Calls that other threads make are watched where those have this one's context
    (``contextvars.copy_context().run``, ``asyncio.to_thread``). What Dask runs by itself (``dask.compute``, ``to_dask``) is
    not seen.

    >>> import imgrs
    >>> with imgrs.monitor() as m:
    ...     array = imgrs.new("L", (64, 64), 7).blur(2).compute()
    >>> [run.tiles for run in m.runs]
    [1]
    """
    from imgrs.run.watch import watching

    made = Monitor()
    with watching(made):
        if not live:
            yield made
            return
        with _live(made):
            yield made


@contextmanager
def _live(made: Monitor) -> Iterator[None]:
    """The table of a monitor, drawn again and again."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from imgrs.run.progress import screen

    console = Console(stderr=True)
    if not (console.is_terminal or console.is_jupyter):
        yield
        return

    def table() -> Text:
        return Text(made.table(), no_wrap=True)

    with screen() as free:
        if not free:
            yield
            return
        with Live(console=console, get_renderable=table, refresh_per_second=REFRESHES):
            yield


def as_dict(run: Run) -> dict[str, Any]:
    """A run as plain values, in a fixed order."""
    return {
        "what": run.what,
        "scheduler": run.scheduler,
        "workers": run.workers,
        "ended": run.ended,
        "error": run.error,
        "seconds": run.seconds,
        "planning_seconds": run.planning_seconds,
        "cpu_seconds": run.cpu_seconds,
        "tasks": run.tasks,
        "lost": run.lost,
        "tiles": run.tiles,
        "tiles_planned": run.tiles_planned,
        "pixels": run.pixels,
        "image_pixels": run.image_pixels,
        "megapixels_per_second": run.megapixels_per_second,
        "read_bytes": run.read_bytes,
        "start_bytes": run.start_bytes,
        "peak_bytes": run.peak_bytes,
        "worker_peak_bytes": run.worker_peak_bytes,
        "in_end": {name: run.in_end[name] for name in sorted(run.in_end)},
        "stages": [_stage_dict(stage) for stage in run.stages],
    }


def _stage_dict(stage: StageRun) -> dict[str, Any]:
    return {
        "name": stage.name,
        "kind": stage.kind,
        "image": list(stage.image),
        "tiles": stage.tiles,
        "tiles_planned": stage.tiles_planned,
        "tasks": stage.tasks,
        "seconds": stage.seconds,
        "cpu_seconds": stage.cpu_seconds,
        "span_seconds": stage.span_seconds,
        "between_seconds": stage.between_seconds,
        "pixels": stage.pixels,
        "megapixels_per_second": stage.megapixels_per_second,
        "bytes": stage.bytes,
        "read_bytes": stage.read_bytes,
        "peak_bytes": stage.peak_bytes,
        "parts": [
            {
                "name": part.name,
                "kind": part.kind,
                "calls": part.calls,
                "seconds": part.seconds,
                "cpu_seconds": part.cpu_seconds,
                "pixels": part.pixels,
                "bytes": part.bytes,
                "peak_bytes": part.peak_bytes,
            }
            for part in stage.in_order
        ],
    }


def _table(number: int, run: Run) -> str:
    state = run.error or ("done" if run.ended else f"{run.share:.0%}")
    rows: list[Sequence[str]] = [_HEADER]
    for place, stage in enumerate(run.stages, start=1):
        rows.append(_stage_row(place, stage))
        rows += [_part_row(part) for part in stage.in_order if part.calls]
        rows.append(("    between", _seconds(stage.between_seconds), *[""] * 7))
    rows += [(f"  {name} in the end", _seconds(run.in_end[name]), *[""] * 7) for name in sorted(run.in_end)]
    elsewhere = f", {mib(run.worker_peak_bytes)} MiB in a worker" if run.worker_peak_bytes else ""
    lost = f"; {run.lost:,} tasks sent no measurements" if run.lost else ""
    head = (
        f"{number}. {run.what}, {run.scheduler} x{run.workers}: {state}{lost}\n"
        f"{run.seconds:.3f} s, {run.cpu_seconds:.3f} s of processors, {run.planning_seconds:.3f} s planning; "
        f"{run.tiles:,} of {run.tiles_planned:,} tiles; {run.megapixels_per_second:.1f} megapixels/s\n"
        f"peak memory {mib(run.peak_bytes)} MiB resident, {mib(run.start_bytes)} of it before{elsewhere}"
    )
    return head + "\n" + grid(rows)


def grid(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as text: the first column to the left, numbers to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = []
    for row in rows:
        numbers = (f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append("  ".join([f"{row[0]:<{widths[0]}}", *numbers]).rstrip())
    return "\n".join(lines)


def _stage_row(place: int, stage: StageRun) -> Sequence[str]:
    return (
        f"  stage {place}: {stage.name} ({stage.kind}), {stage.tiles:,} of {stage.tiles_planned:,} tiles",
        _seconds(stage.seconds),
        _seconds(stage.cpu_seconds),
        f"{stage.tasks:,}",
        f"{stage.pixels / 1e6:.1f}",
        f"{stage.megapixels_per_second:.1f}",
        mib(stage.bytes),
        mib(stage.read_bytes),
        mib(stage.peak_bytes),
    )


def _part_row(part: Part) -> Sequence[str]:
    rate = part.pixels / 1e6 / part.seconds if part.seconds else 0.0
    return (
        f"    {part.label}",
        _seconds(part.seconds),
        _seconds(part.cpu_seconds),
        f"{part.calls:,}",
        f"{part.pixels / 1e6:.1f}" if part.pixels else "",
        f"{rate:.1f}" if part.pixels else "",
        mib(part.bytes) if part.bytes else "",
        "",
        mib(part.peak_bytes),
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"


def mib(size: int) -> str:
    """Bytes in MiB, as a table has them."""
    return f"{size / (1 << 20):.1f}"
