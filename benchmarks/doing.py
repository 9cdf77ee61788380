"""Does a job in this process, and measures it from inside: calls after loading, processor time, the most memory held."""

from __future__ import annotations

import importlib
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.job import Job, Sample

LEAST_CALLS, MOST_CALLS = 3, 200
"""Calls that are measured: the median of three leaves one out that waited for memory."""
ONCE = 5.0
"""A first call of so many seconds is the measurement: what it loads late does not show."""


def peak_bytes() -> int:
    """The most bytes that this process held since it started (its own, not those of the process that forked it)."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) << 10
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def done(job: Job, started: float) -> Sample:
    """Do a job; ``started`` is when the process began to run it."""
    if job.kind == "imports":
        _import_all(job.modules)
        return Sample(0.0, peak=peak_bytes())
    peer = importlib.import_module(f"benchmarks.peers.{job.peer}")
    peer.prepare(job.settings)
    loading = time.perf_counter() - started
    if job.kind == "overheads":
        from benchmarks import overheads

        return Sample(0.0, figures=overheads.figures())
    if job.kind == "result":
        _result(peer, job)
        return Sample(0.0)
    found = KINDS[job.kind](peer, job)
    modules = tuple(name for name in sys.modules if not name.startswith(("benchmarks", "__")))
    predicted = peer.predicted(job) if hasattr(peer, "predicted") else None
    versions = peer.versions()
    return replace(found, loading=loading, modules=modules, predicted=predicted, versions=versions)


def _result(peer: Any, job: Job) -> None:
    """Leave the pixels of a job for the test that compares them."""
    import numpy as np

    np.save(job.target, peer.in_memory(np.load(job.source), job.chain, job.settings))


def _import_all(modules: tuple[str, ...]) -> None:
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError:  # modules that others put there by hand, under names that are not importable
            continue


def _calls(work: Callable[[], Any], budget: float) -> Sample:
    """Call once, then as often as the budget allows, but three times."""
    first, cpu = _timed(work)
    if first > ONCE:
        return Sample(first, first, 1, cpu, peak=peak_bytes())
    seconds: list[float] = []
    processor: list[float] = []
    while len(seconds) < LEAST_CALLS or (sum(seconds) < budget and len(seconds) < MOST_CALLS):
        took, cpu = _timed(work)
        seconds.append(took)
        processor.append(cpu)
    return Sample(statistics.median(seconds), first, len(seconds), statistics.median(processor), peak=peak_bytes())


def _timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall and processor seconds of a call; its result is let go afterwards, unmeasured."""
    cpu, start = time.process_time(), time.perf_counter()
    result = work()
    found = time.perf_counter() - start, time.process_time() - cpu
    del result
    return found


def _memory(peer: Any, job: Job) -> Sample:
    import numpy as np

    array = np.load(job.source)
    found = _calls(lambda: peer.in_memory(array, job.chain, job.settings), job.budget)
    return replace(found, peak=found.peak - array.nbytes)


def _file(peer: Any, job: Job) -> Sample:
    """One call: a file job is done once, as by a command that is started for it."""
    seconds, cpu = _timed(lambda: peer.to_file(job.source, job.chain, job.target, job.options, job.settings))
    return Sample(seconds, seconds, 1, cpu, peak=peak_bytes())


def _window(peer: Any, job: Job) -> Sample:
    """Windows at different places, of an image that is opened anew each time."""
    from benchmarks.steps import window

    places = [window(job.width, job.height, i) for i in range(job.count + 1)]
    calls = [
        _timed(lambda box=box: peer.from_file(job.source, (*job.chain, ("crop", box)), job.settings)) for box in places
    ]
    seconds = statistics.median(took for took, _ in calls[1:])
    cpu = statistics.median(cpu for _, cpu in calls[1:])
    return Sample(seconds, calls[0][0], job.count, cpu, peak=peak_bytes())


def _batch(peer: Any, job: Job) -> Sample:
    """Many files, by a pool of threads; each file is then the work of one of them."""
    sources = sorted(Path(job.source).iterdir())[: job.count]

    def one(source: Path) -> None:
        target = Path(job.target) / source.name
        peer.to_file(str(source), job.chain, str(target), job.options, job.settings)

    def work() -> None:
        with ThreadPoolExecutor(job.settings["pool"]) as pool:
            list(pool.map(one, sources))

    Path(job.target).mkdir(exist_ok=True)
    seconds, cpu = _timed(work)
    return Sample(seconds, seconds, 1, cpu, peak=peak_bytes())


KINDS: dict[str, Callable[[Any, Job], Sample]] = {"memory": _memory, "file": _file, "window": _window, "batch": _batch}
