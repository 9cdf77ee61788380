"""``python -m benchmarks``: compare with peers, profile a workload, calibrate the costs, and the older figures."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import images
from benchmarks.workloads import GROUPS, SIDE, WORKLOADS

QUICK = 2_000


def compare(arguments: Sequence[str]) -> None:
    """Measure workloads by every peer, A B A B in fresh processes, and print a table."""
    parser = argparse.ArgumentParser("python -m benchmarks compare", description=compare.__doc__)
    parser.add_argument("workloads", nargs="*", metavar="workload", help=f"by name or group ({', '.join(GROUPS)})")
    parser.add_argument("--side", type=int, help=f"pixels of a side; {SIDE:,} unless given, {QUICK:,} with --quick")
    parser.add_argument("--runs", type=int, help="processes of each peer; 3 unless given, 1 with --quick")
    parser.add_argument(
        "--quick", action="store_true", help="small, once, and in memory at 8 bits unless workloads are named"
    )
    parser.add_argument(
        "--random", type=int, metavar="SEED", help="workloads drawn at random instead, or with --write too"
    )
    parser.add_argument("--peer", action="append", default=[], help="only this peer beside ours; may be repeated")
    parser.add_argument(
        "--write", action="store_true", help="write docs/performance.md and its plot from all results kept"
    )
    parser.add_argument("--folder", type=Path, default=images.folder(), help="for images and results")
    given = parser.parse_args(arguments)

    from benchmarks import compare as comparing
    from benchmarks import controls, drawn, report

    side = given.side or (QUICK if given.quick else SIDE)
    runs = given.runs or (1 if given.quick else 3)
    only = ["imgrs", *given.peer] if given.peer else []
    names = given.workloads or (["tone", "blur 2", "half", "grade", "tone, TIFF", "small"] if given.quick else [])
    budget = 0.3 if given.quick else 1.0
    start = time.perf_counter()
    if given.random is not None:
        found = comparing.run([], side, runs, given.folder, given.random, only, budget)
        rows = drawn.workloads(given.random, side)
    if given.random is None or given.write:
        kept = comparing.run(names, side, runs, given.folder, None, only, budget)
    if given.random is None:
        found, rows = kept, list(WORKLOADS.values())
    print(f"\n{report.table(rows, found)}\n\n{report.details(rows, found)}\n\n{time.perf_counter() - start:.0f} s")
    if given.write:
        results = comparing.kept(side, given.folder)
        versions = {name: text for row in results.values() for name, text in row.versions.items()}
        gains = controls.gains(side, given.folder, comparing.cores(), runs)
        figures = comparing.overheads(given.folder)
        random = None if given.random is None else (given.random, rows, found)
        report.write(report.page(results, side, comparing.machine(versions), gains, figures, random))
        report.plot(results)


def profile(arguments: Sequence[str]) -> None:
    """Show where the time of a workload goes."""
    from benchmarks import profile as profiling

    profiling.main(arguments)


def calibrate(arguments: Sequence[str]) -> None:
    """Measure what ops and formats cost on this machine, and write the planner's table."""
    from benchmarks import calibrate as calibrating

    calibrating.main(arguments)


def figures(arguments: Sequence[str]) -> None:
    """The engine's own figures: memory, windows, imports, planning, overhead."""
    from benchmarks import figures as part

    part.main(arguments)


def files(arguments: Sequence[str]) -> None:
    """File jobs of all formats, beside libvips."""
    from benchmarks import files as part

    part.main(arguments)


def shards(arguments: Sequence[str]) -> None:
    """Writing Zarr, beside zarr-python."""
    from benchmarks import shards as part

    part.main(arguments)


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    f.__name__: f for f in (compare, profile, calibrate, figures, files, shards)
}


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        lines = [f"  {name:10} {command.__doc__}" for name, command in COMMANDS.items()]
        raise SystemExit("\n".join(["python -m benchmarks COMMAND [--help]", "", *lines]))
    COMMANDS[sys.argv[1]](sys.argv[2:])


if __name__ == "__main__":
    main()
