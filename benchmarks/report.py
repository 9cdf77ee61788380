"""The tables and the plot: what was measured beside the targets, for people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import peers
from benchmarks.measure import ROOT
from benchmarks.peers import FURTHER, OURS, PEERS, VIPS
from benchmarks.targets import Measured, Target
from benchmarks.workloads import WORKLOADS, Workload

if TYPE_CHECKING:
    from benchmarks.compare import Row

PAGE = ROOT / "docs" / "performance.md"
PLOT = PAGE.with_suffix(".svg")
LIMITS = Path(__file__).with_name("limits.md")
BEGIN, END = "<!-- measured -->", "<!-- end of what was measured -->"
COLUMNS = tuple(name for name in PEERS if name != peers.COPY)
INTRODUCTION = f"""# How fast it is

Made by `python -m benchmarks compare --write`; `benchmarks/` says how each library is used.

{BEGIN}
{END}
"""


def seconds(value: float) -> str:
    """Seconds as people read them."""
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if value >= unit:
            return f"{value / unit:.3g} {name}"
    return "0 s"


def size(value: float) -> str:
    """Bytes as people read them."""
    return f"{value / (1 << 20):,.0f} MiB"


def line(row: Workload, result: Row) -> str:
    """A result on one line, while the rest is being measured."""
    figures = [f"{name} {seconds(found.seconds)}" for name, found in result.measured.items()]
    results = {row.name: result.measured}
    return f"{row.name}: {', '.join(figures)}; {'; '.join(_verdicts(row.targets, row.name, results)) or 'no target'}"


def _verdicts(targets: Iterable[Target], name: str, results: Mapping[str, Mapping[str, Measured]]) -> list[str]:
    found = []
    for target in targets:
        ratio = target.ratio(name, results)
        if ratio is not None:
            met = "met" if ratio <= target.most else "**not met**"
            found.append(f"{target}: {ratio:.2f}, {met}")
    return found


def table(rows: Sequence[Workload], results: Mapping[str, Row]) -> str:
    """Medians of all peers, and the verdict on each target."""
    measured = {name: result.measured for name, result in results.items()}
    shown = [name for name in COLUMNS if any(name in found for found in measured.values())]
    lines = [
        f"| work | {' | '.join(shown)} | targets: at most, measured |",
        f"|---|{'---|' * (len(shown) + 1)}",
    ]
    for row in rows:
        if row.name not in measured:
            continue
        found = measured[row.name]
        cells = [_cell(found.get(name), results[row.name].reasons.get(name)) for name in shown]
        verdicts = "<br>".join(_verdicts(row.targets, row.name, measured))
        lines.append(f"| {row.name} | {' | '.join(cells)} | {verdicts} |")
        for name in (*FURTHER, peers.COPY):
            if name in found:
                ratio = found[OURS].seconds / found[name].seconds
                lines.append(
                    f"| *{row.name}, {name}* |{' |' * len(shown)} {seconds(found[name].seconds)}; ours {ratio:.2f} |"
                )
    return "\n".join(lines)


def _cell(found: Measured | None, reason: str | None) -> str:
    if found is None:
        return reason if reason and "stopped" in reason else ""
    return seconds(found.seconds)


def details(rows: Sequence[Workload], results: Mapping[str, Row]) -> str:
    """First calls, whole processes, processor time, memory and the forecast, ours beside libvips's."""
    lines = [
        "| work | first call | processor | whole process, libvips's | memory, libvips's | forecast | measured / forecast |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        found = results[row.name].measured if row.name in results else {}
        if OURS not in found:
            continue
        ours, theirs = found[OURS], found.get(VIPS)
        whole = f"{seconds(ours.whole)}, {seconds(theirs.whole) if theirs else '-'}"
        memory = f"{size(ours.memory)}, {size(theirs.memory) if theirs else '-'}"
        forecast = "" if ours.predicted is None else seconds(ours.predicted)
        fit = "" if not ours.predicted else f"{ours.seconds / ours.predicted:.2f}"
        lines.append(
            f"| {row.name} | {seconds(ours.first)} | {seconds(ours.cpu)} | {whole} | {memory} | {forecast} | {fit} |"
        )
    return "\n".join(lines)


def threads(gains: Sequence[tuple[str, float, str, float, float]]) -> str:
    """What a second thread gains, beside its control."""
    lines = ["| work | ours | control | before, after | share of the control (at least 0.9) |", "|---|---|---|---|---|"]
    for name, ours, control, before, after in gains:
        share = ours / ((before + after) / 2)
        met = "met" if share >= 0.9 else "**not met**"
        lines.append(f"| {name} | {ours:.2f} | {control} | {before:.2f}, {after:.2f} | {share:.2f}, {met} |")
    return "\n".join(lines)


def overheads(figures: Mapping[str, float]) -> str:
    """What the engine takes beside pixels."""
    return "\n".join(
        ["| what | seconds |", "|---|---|", *(f"| {name} | {seconds(v)} |" for name, v in figures.items())]
    )


def limits() -> dict[str, str]:
    """The prose on what limits a workload, by its name."""
    parts = re.split(r"^## (.+)$", LIMITS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name.strip(): text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def unmet(rows: Sequence[Workload], results: Mapping[str, Row]) -> str:
    """What limits each workload that misses a target."""
    measured = {name: result.measured for name, result in results.items()}
    known = limits()
    verdicts = {row.name: _verdicts(row.targets, row.name, measured) for row in rows if row.name in measured}
    missed = [name for name, found in verdicts.items() if any("not met" in verdict for verdict in found)]
    found = [f"- **{name}**: {known.get(name, 'not looked into yet.')}" for name in missed]
    return "\n".join(found) or "Every target was met."


def head(machine: Mapping[str, Any], side: int, results: Mapping[str, Row]) -> str:
    """Where, with what and how it was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    settings = "\n".join(f"- {name}: {text}" for name, text in machine["settings"].items())
    commits = f"commit {', '.join(dict.fromkeys(row.commit for row in results.values()))}"
    loops = [value for row in results.values() for value in row.control]
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {machine['Python']}, "
        f"{commits}.\n{versions}.\n\n"
        f"Images are photographs with noise, {side:,} x {side:,} RGB unless the row says otherwise. Every figure is a median "
        "over fresh processes, the peers in turn. In memory: an array in, an array out, after one call that is shown apart. "
        "Files: one call in a new process, libraries that load late included. Memory is the peak above a process that "
        f"imports the same and does nothing, input arrays not counted.\nTwo busy loops at once took {min(loops):.2f} to "
        f"{max(loops):.2f} times one alone while this was measured (1.0: two cores are free).\n\n{settings}"
    )


def page(
    results: Mapping[str, Row],
    side: int,
    machine: Mapping[str, Any],
    gains: Sequence[tuple[str, float, str, float, float]] = (),
    figures: Mapping[str, float] | None = None,
    drawn: tuple[int, Sequence[Workload], Mapping[str, Row]] | None = None,
) -> str:
    """The generated part of the page."""
    rows = list(WORKLOADS.values())
    parts = [head(machine, side, results), f"![Our time as a share of each peer's]({PLOT.name})"]
    for group in dict.fromkeys(row.group for row in rows if row.name in results):
        parts += [f"## {group.capitalize()}", table([row for row in rows if row.group == group], results)]
    parts += ["## First calls, memory and forecasts", details(rows, results)]
    if gains:
        parts += ["## Two threads against one", threads(gains)]
    if figures:
        parts += ["## Beside pixels", overheads(figures)]
    parts += ["## What limits it", unmet(rows, results)]
    if drawn:
        seed, drawn_rows, drawn_results = drawn
        sizes = ", ".join(f"{row.name}: {row.size[0]} x {row.size[1]}" for row in drawn_rows if row.size)
        parts += [f"## Drawn at random (seed {seed})", table(drawn_rows, drawn_results), f"Sizes: {sizes}."]
    return "\n\n".join(parts)


def write(text: str) -> None:
    """Put the generated part between its marks, and leave the prose around it alone."""
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else INTRODUCTION
    before, rest = old.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def plot(results: Mapping[str, Row], path: Path = PLOT) -> None:
    """Our time over each peer's, on a logarithmic scale: left of 1 is quicker."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "imgrs"
    import matplotlib.pyplot as plt

    names = [name for name, row in results.items() if OURS in row.measured]
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.26 * len(names)), layout="constrained")
    for peer in COLUMNS[1:]:
        places = [i for i, name in enumerate(names) if peer in results[name].measured]
        ratios = [results[names[i]].measured[OURS].seconds / results[names[i]].measured[peer].seconds for i in places]
        if ratios:
            axes.scatter(ratios, places, label=peer, s=22)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.grid(axis="x", which="both", alpha=0.25)
    axes.set_xlabel("our time as a share of the peer's; left of 1 is quicker")
    axes.legend(fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.4, -0.08))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
