"""``profile``: where the time of a workload goes, in kernels, codecs, copies, planning, Dask and the rest of Python.

The work runs on one thread, so that shares add up, once to load what loads late and once to be counted; then once on all
cores, for comparison.
"""

from __future__ import annotations

import argparse
import cProfile
import importlib
import pkgutil
import pstats
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import images, measure
from benchmarks.instrument import Clock, subclasses
from benchmarks.peers import OURS, ours
from benchmarks.workloads import SIDE, WORKLOADS, Workload

KINDS = ("kernels", "codecs", "files", "copies", "planning", "Dask", "Python")


def attach(clock: Clock) -> None:
    """Count what the engine does, under ``kind: what``."""
    import imgrs.io
    import imgrs.ops
    from imgrs.graph import op as ops
    from imgrs.io.format import Reader, TileEncoder, WholeEncoder
    from imgrs.plan import choose
    from imgrs.run import engine, save, tasks, tile
    from imgrs.run.graph import Builder

    for package in (imgrs.ops, imgrs.io):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    for cls in subclasses(ops.Op):
        if "compute" in cls.__dict__:
            source = issubclass(cls, ops.Source)
            clock.replace("copies: from the source" if source else lambda op: f"kernels: {op.name}", cls, "compute")
        if "apply" in cls.__dict__ and issubclass(cls, ops.Point):  # what a fused run is made of
            clock.replace(lambda op: f"kernels: {op.name}", cls, "apply")
    for cls in subclasses(Reader):
        for name in ("read", "strips"):
            if name in cls.__dict__ and cls is not Reader:
                clock.replace(lambda reader: f"codecs: decode {reader.format}", cls, name)
    for cls in (*subclasses(TileEncoder), *subclasses(WholeEncoder)):
        if "encode" in cls.__dict__:
            clock.replace(lambda encoder: f"codecs: encode, {type(encoder).__name__}", cls, "encode")
        for name in ("begin", "place", "finish"):
            if name in cls.__dict__ and issubclass(cls, TileEncoder):
                clock.replace("files: write", cls, name)
    clock.replace("copies: pad at borders", ops, "replicate")
    clock.replace("copies: join blocks", tile, "assemble")
    clock.replace("copies: into the array", tasks.Into, "__call__")
    clock.replace("copies: join rows", tasks, "_computed")
    clock.replace("planning: optimize and plan", choose, "plan")
    clock.replace("planning: build tasks", Builder, "outputs")
    clock.replace("Python: a tile's steps", tile, "compute_tile")
    clock.replace("Python: a task", tasks, "make")
    clock.replace("Dask: schedule", engine, "run")
    clock.replace("files: temporary file, rename", save, "save")


def measured(row: Workload, side: int, folder: Path) -> tuple[float, float, Clock]:
    """Seconds on one thread and on all cores, and what the one thread did."""
    from imgrs.io import segments

    clock = Clock()
    attach(clock)
    job = measure.job_of(row, OURS, side, threads=1)
    ours.prepare(job.settings)
    with measure.ready(job, row, folder) as given:
        work = _work(given)
        work({"scheduler": "sync", "workers": 1})
        clock.clear()
        segments._shared = segments.Shared(segments.LIMIT)  # decoded tiles, which the second run would find
        start = time.perf_counter()
        work({"scheduler": "sync", "workers": 1})
        alone = time.perf_counter() - start
        counted = Clock()
        counted.seconds, counted.calls = dict(clock.seconds), dict(clock.calls)  # type: ignore[assignment]
        start = time.perf_counter()
        work({})
        together = time.perf_counter() - start
    counted.seconds["Python: the rest"] = alone - sum(counted.seconds.values())
    return alone, together, counted


def _work(job: Any) -> Callable[[dict[str, Any]], None]:
    """The job as a function of the engine's options."""
    import numpy as np

    import imgrs
    from benchmarks.steps import window
    from imgrs.config import available_cpus

    array = np.load(job.source) if job.kind == "memory" else None

    def work(options: dict[str, Any]) -> None:
        with imgrs.options(**{"workers": available_cpus(), **options}):
            if array is not None:
                ours.in_memory(array, job.chain, job.settings)
            elif job.kind == "window":
                box = window(job.width, job.height, 1)
                ours.from_file(job.source, (*job.chain, ("crop", box)), job.settings)
            else:
                ours.to_file(job.source, job.chain, job.target, job.options, job.settings)

    return work


def table(alone: float, together: float, clock: Clock) -> str:
    """Seconds and shares, the largest first, and their sums by kind."""
    lines = ["| where | seconds | share | calls |", "|---|---|---|---|"]
    for name, seconds in sorted(clock.seconds.items(), key=lambda item: -item[1]):
        lines.append(f"| {name} | {seconds:.4f} | {seconds / alone:.1%} | {clock.calls.get(name, 0):,} |")
    lines += ["", "| kind | seconds | share |", "|---|---|---|"]
    for kind in KINDS:
        seconds = sum(took for name, took in clock.seconds.items() if name.startswith(f"{kind}: "))
        lines.append(f"| {kind} | {seconds:.4f} | {seconds / alone:.1%} |")
    lines += ["", f"{alone:.3f} s on one thread, {together:.3f} s on all cores"]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Profile one workload and print the tables."""
    parser = argparse.ArgumentParser("python -m benchmarks profile", description=__doc__)
    parser.add_argument(
        "workload", choices=[n for n, row in WORKLOADS.items() if row.kind != "batch"], metavar="workload"
    )
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument(
        "--functions", type=int, default=0, metavar="N", help="also the N functions that cProfile finds"
    )
    parser.add_argument("--folder", type=Path, default=images.folder())
    given = parser.parse_args(arguments)
    row = WORKLOADS[given.workload]
    if given.functions:
        functions(row, given.side, given.folder, given.functions)
    print(table(*measured(row, given.side, given.folder)))


def functions(row: Workload, side: int, folder: Path, most: int) -> None:
    """What cProfile says of the work on one thread."""
    job = measure.job_of(row, OURS, side, threads=1)
    ours.prepare(job.settings)
    with measure.ready(replace(job), row, folder) as given:
        work = _work(given)
        work({"scheduler": "sync"})
        profiler = cProfile.Profile()
        profiler.runcall(work, {"scheduler": "sync"})
    pstats.Stats(profiler).sort_stats("tottime").print_stats(most)
