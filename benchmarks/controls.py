"""What the machine gives while others use it: a busy loop alone and two at once, and what a second thread gains.

A measurement beside a control that moved says nothing; so controls stand before and after.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import measure
from benchmarks.workloads import THREADED, WORKLOADS

LOOP = [sys.executable, "-c", "import time; t = time.process_time()\nwhile time.process_time() - t < 0.5: pass"]


def busy() -> float:
    """How many times as long two busy loops at once take as one alone; 1.0 means that two cores are free."""
    start = time.perf_counter()
    subprocess.run(LOOP, check=True)
    alone = time.perf_counter() - start
    start = time.perf_counter()
    for process in [subprocess.Popen(LOOP) for _ in range(2)]:
        process.wait()
    return (time.perf_counter() - start) / alone


def gains(side: int, folder: Path, cores: int, runs: int) -> list[tuple[str, float, str, float, float]]:
    """For some workloads: how many times quicker all cores are than one, and the control's gain before and after; medians."""
    found = []
    for name, control in THREADED.items():
        rounds = [
            (
                _gain("tone", control, side, folder, cores),
                _gain(name, "imgrs", side, folder, cores),
                _gain("tone", control, side, folder, cores),
            )
            for _ in range(runs)
        ]
        before, ours, after = (statistics.median(values) for values in zip(*rounds, strict=True))
        found.append((name, ours, control, before, after))
    return found


def _gain(workload: str, peer: str, side: int, folder: Path, cores: int) -> float:
    row = WORKLOADS[workload]
    seconds = []
    for threads in (1, cores):
        with measure.ready(measure.job_of(row, peer, side, threads), row, folder) as job:
            seconds.append(measure.run(job, folder).seconds)
    return seconds[0] / seconds[1]
