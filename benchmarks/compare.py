"""``compare``: every workload by every peer, results kept as they come, and the tables at the end."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import controls, measure, peers
from benchmarks.job import Job
from benchmarks.targets import Measured
from benchmarks.workloads import WORKLOADS, Workload


@dataclass(frozen=True)
class Row:
    """What came of one workload."""

    name: str
    measured: dict[str, Measured]
    reasons: dict[str, str]
    """Why other peers were not measured."""
    versions: dict[str, str] = field(default_factory=dict)
    control: tuple[float, float] = (0.0, 0.0)
    """Two busy loops against one, before and after."""
    commit: str = ""
    """What was measured."""

    def text(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def of(cls, text: str) -> Row:
        given = json.loads(text)
        measured = {name: Measured(**row) for name, row in given["measured"].items()}
        return cls(**{**given, "measured": measured, "control": tuple(given["control"])})


def chosen(names: Sequence[str]) -> list[Workload]:
    """Workloads by name or by group; all where none is named. Raises ``SystemExit`` for others."""
    if not names:
        return list(WORKLOADS.values())
    found: dict[str, Workload] = {}
    for name in names:
        rows = [row for row in WORKLOADS.values() if name in (row.name, row.group)]
        if not rows:
            groups = ", ".join(dict.fromkeys(row.group for row in WORKLOADS.values()))
            raise SystemExit(
                f"benchmarks: {name!r} is no workload; groups: {groups}; workloads: {', '.join(WORKLOADS)}"
            )
        found |= {row.name: row for row in rows}
    return list(found.values())


def measured(row: Workload, side: int, runs: int, folder: Path, names: Sequence[str] = (), budget: float = 1.0) -> Row:
    """One workload, between two controls."""
    before = controls.busy()
    samples, reasons = measure.compared(row, side, runs, folder, cores(), names, budget)
    after = controls.busy()
    versions = {name: text for found in samples.values() for name, text in found[0].versions.items()}
    found = {name: measure.medians(list_) for name, list_ in samples.items()}
    return Row(row.name, found, reasons, versions, (before, after), commit())


def cores() -> int:
    """The processors that this process may use: the threads of every peer."""
    from imgrs.config import available_cpus

    return available_cpus()


def keep(row: Row, side: int, folder: Path) -> None:
    """Put a result where ``kept`` finds it, so that a table can be made of several runs."""
    place = folder / "results" / str(side)
    place.mkdir(parents=True, exist_ok=True)
    name = row.name.replace("/", "-")
    (place / f"{name}.json").write_text(row.text(), encoding="utf-8")


def kept(side: int, folder: Path) -> dict[str, Row]:
    """The results of a side that are there, in the order of the table."""
    found = {}
    for name in WORKLOADS:
        path = folder / "results" / str(side) / f"{name.replace('/', '-')}.json"
        if path.exists():
            found[name] = Row.of(path.read_text(encoding="utf-8"))
    return found


def commit() -> str:
    """The state of this checkout, with a mark where it has changes that are not committed."""
    command = ["git", "-C", str(measure.ROOT), "describe", "--always", "--dirty"]
    said = subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()
    return said or "unknown"


def machine(versions: dict[str, str]) -> dict[str, Any]:
    """What a table was measured on, and with."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in _read("/proc/cpuinfo").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "processor": model,
        "cores": cores(),
        "system": platform.platform(terse=True),
        "Python": platform.python_version(),
        "versions": dict(sorted(versions.items())),
        "settings": {name: peer.code.SETTINGS for name, peer in peers.PEERS.items()},
    }


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8") if Path(path).exists() else ""


def overheads(folder: Path) -> dict[str, float]:
    """What the engine takes beside pixels, in a process of its own."""
    return measure.run(Job("ours", "overheads", settings={"threads": cores()}), folder).figures


def run(
    names: Sequence[str],
    side: int,
    runs: int,
    folder: Path,
    seed: int | None = None,
    only: Sequence[str] = (),
    budget: float = 1.0,
) -> dict[str, Row]:
    """Measure and print workloads, one after another; with a seed, drawn ones."""
    from benchmarks import drawn, report

    rows = chosen(names) if seed is None else drawn.workloads(seed, side)
    found: dict[str, Row] = {}
    for row in rows:
        found[row.name] = result = measured(row, side, runs, folder, only, budget)
        if seed is None and not only:
            keep(result, side, folder)
        print(report.line(row, result), flush=True)
        for name, reason in result.reasons.items():
            print(f"    {name}: {reason}", file=sys.stderr)
    return found
