"""Runs jobs in fresh processes, each peer in turn and then again, and takes medians."""

from __future__ import annotations

import compileall
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

from benchmarks import images, peers
from benchmarks.job import Job, Sample
from benchmarks.peers import pypi
from benchmarks.targets import Measured
from benchmarks.workloads import Workload

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 300.0
"""Seconds after which a process is stopped."""
SLOW, FAR = 5.0, 5.0
"""A peer that takes more seconds and so many times ours is not run again: its ratio is settled."""


class FailedError(RuntimeError):
    """A job that did not end, or ended badly."""


def interpreter(peer: str, folder: Path) -> Path:
    """The Python that a peer runs in. Raises ``RuntimeError`` where its environment cannot be made."""
    return pypi.interpreter(folder) if peer == "pypi" else Path(sys.executable)


def environment(peer: str) -> dict[str, str]:
    """What a process sees: this checkout as the source of ``imgrs``, but for the peer of that name."""
    found = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if peer == "pypi":
        return found
    _compile()
    return {**found, "PYTHONPATH": str(ROOT)}


@cache
def _compile() -> None:
    """Compile our modules, as pip does those of the others: else the first process does, or each where none may write."""
    for folder in ("imgrs", "benchmarks"):
        compileall.compile_dir(ROOT / folder, quiet=1)


def run(job: Job, folder: Path, limit: float = LIMIT) -> Sample:
    """Do a job in a process of its own. Raises ``FailedError``."""
    with tempfile.TemporaryDirectory(prefix="imgrs-benchmark-") as place:
        asked, answer = Path(place) / "job.json", Path(place) / "sample.json"
        asked.write_text(job.text(), encoding="utf-8")
        command = [str(interpreter(job.peer, folder)), "-P", str(ROOT / "benchmarks" / "inside.py")]
        start = time.perf_counter()
        process = subprocess.Popen(
            [*command, str(asked), str(answer)], env=environment(job.peer), stderr=subprocess.PIPE, text=True
        )
        timer = threading.Timer(limit, process.kill)
        timer.start()
        try:
            _, said = process.communicate()
        finally:
            timer.cancel()
        whole = time.perf_counter() - start
        if process.returncode or not answer.exists():
            if whole >= limit:
                raise FailedError(f"stopped after {limit:.0f} s")
            raise FailedError(f"{job.peer}: {' '.join(said.strip().splitlines()[-1:])}")
        return replace(Sample.of(answer.read_text(encoding="utf-8")), whole=whole)


@cache
def _baseline(peer: str, modules: tuple[str, ...], folder: Path) -> int:
    return run(Job(peer, "imports", modules=modules), folder).peak


def job_of(row: Workload, name: str, side: int, threads: int) -> Job:
    """What a peer is asked to do for a workload."""
    peer = peers.peer(name)
    width, height = row.size_at(side)
    settings = {**peer.settings, "threads": threads, **(row.settings if name == peers.OURS else {})}
    count = row.count
    if row.kind == "batch":
        settings |= {"threads": 1, "pool": threads}
        if side < 10_000:  # a quick run
            count, width, height = 8, width * side // 10_000, height * side // 10_000
    chain = row.chain(width, height)
    return Job(peer.module, row.kind, "", "", width, height, row.dtype, chain, dict(row.options), settings, count=count)


@contextmanager
def ready(job: Job, row: Workload, folder: Path) -> Iterator[Job]:
    """The job with its source made, and a place for its target that is removed in the end."""
    source = images.source(folder / "images", job, row.source, row.tile)
    out = folder / f"out-{os.getpid()}"
    target = out if row.kind == "batch" else out / f"out.{row.target}"
    out.mkdir(parents=True, exist_ok=True)
    try:
        yield replace(job, source=str(source), target=str(target))
    finally:
        shutil.rmtree(out, ignore_errors=True)


def compared(
    row: Workload, side: int, runs: int, folder: Path, threads: int, names: Sequence[str] = (), budget: float = 1.0
) -> tuple[dict[str, list[Sample]], dict[str, str]]:
    """A workload by each of its peers, A B A B; and why those did not that did not."""
    asked = [name for name in row.peers if not names or name in names]
    jobs = {name: replace(job_of(row, name, side, threads), budget=budget) for name in asked}
    reasons = {name: peers.peer(name).code.cannot(job) for name, job in jobs.items()}
    reasons = {name: reason for name, reason in reasons.items() if reason}
    found: dict[str, list[Sample]] = {}
    for _ in range(runs):
        for name, job in jobs.items():
            if name in reasons or _settled(found, name):
                continue
            try:
                with ready(job, row, folder) as given:
                    sample = run(given, folder)
                base = _baseline(job.peer, sample.modules, folder)
            except RuntimeError as error:
                reasons[name] = str(error)
                continue
            found.setdefault(name, []).append(replace(sample, baseline=base))
    return found, reasons


def _settled(found: Mapping[str, Sequence[Sample]], name: str) -> bool:
    """Whether another run of a peer would change nothing that anybody asks: a form beside the others, or far behind."""
    if name == peers.OURS or name not in found or peers.OURS not in found:
        return False
    return name in peers.FURTHER or found[name][0].seconds > max(SLOW, FAR * found[peers.OURS][0].seconds)


def medians(samples: Sequence[Sample]) -> Measured:
    """The median of each figure, over runs."""

    def median(values: Sequence[float]) -> float:
        return statistics.median(values)

    predicted = [s.predicted for s in samples if s.predicted is not None]
    return Measured(
        seconds=median([s.seconds for s in samples]),
        whole=median([s.whole for s in samples]),
        memory=median([max(0, s.peak - s.baseline) for s in samples]),
        first=median([s.first for s in samples]),
        cpu=median([s.cpu for s in samples]),
        predicted=median(predicted) if predicted else None,
        runs=len(samples),
    )
