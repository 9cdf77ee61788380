"""A plan as text or plain values: what the graph was, what the rules made of it, and what running it will take."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

from imgrs.cache import Cache
from imgrs.graph.rewrite import Firing
from imgrs.graph.text import listing
from imgrs.graph.view import plain
from imgrs.plan.caching import entry
from imgrs.plan.stages import Grid, Plan, Stage
from imgrs.sizes import size_text
from imgrs.types import Region


def explain(plan: Plan, costs: bool = True) -> str:
    """The listing before and after, the rules that fired, the stages and the forecast.

    Without ``costs`` what depends on the machine (seconds) is left out, so that the text can be compared.
    """
    parts = [_section("graph", listing(plan.before))]
    if plan.trace:
        parts.append(_section("rules", _rules(plan.trace)))
        parts.append(_section("optimized", listing(plan.after)))
    parts.append(_section("stages", "\n".join(_stage(i, stage, plan) for i, stage in enumerate(plan.stages, start=1))))
    parts.append(_section("forecast", _forecast(plan, costs)))
    return "\n\n".join(parts)


def as_dict(plan: Plan, costs: bool = True) -> dict[str, Any]:
    """What ``explain`` tells, as plain values for JSON: sides in pixels, memory and reads in bytes, time in seconds.

    Nodes are all there, also where the text leaves out the middle.
    """
    forecast = dataclasses.asdict(plan.forecast)
    if costs:
        forecast["workers"] = plan.settings.workers
    else:
        del forecast["seconds"]
    return {
        "graph": plain(plan.before),
        "rules": [
            {"rule": rule, "promise": promise, "times": count} for (rule, promise), count in _fired(plan.trace).items()
        ],
        "optimized": plain(plan.after),
        "stages": [_stage_dict(stage, plan) for stage in plan.stages],
        "forecast": forecast,
    }


def _stage_dict(stage: Stage, plan: Plan) -> dict[str, Any]:
    grid = stage.grid
    return {
        "kind": stage.kind,
        "makes": [node.op.name for node in stage.nodes],
        "image": [grid.width, grid.height],
        "tile": list(_clipped(grid)),
        "tiles": grid.count,
        "tasks": stage.tasks,
        "margin": _margin(stage),
        "in_scratch_files": _in_scratch_files(stage, plan),
        "reason": stage.reason,
        "tiles_in_cache": _found(stage, plan)[0] if stage.stored else 0,
    }


def _section(title: str, body: str) -> str:
    return f"{title}\n" + "\n".join(f"  {line}" for line in body.splitlines())


def _rules(trace: Sequence[Firing]) -> str:
    return "\n".join(
        f"{rule} ({promise})" + (f" x{count}" if count > 1 else "") for (rule, promise), count in _fired(trace).items()
    )


def _fired(trace: Sequence[Firing]) -> Counter[tuple[str, str]]:
    """How often each rule fired, with what it promises, in the order in which they first did."""
    return Counter((firing.rule, firing.promise) for firing in trace)


def _stage(number: int, stage: Stage, plan: Plan) -> str:
    makes = ", ".join(node.op.name for node in stage.nodes)
    grid = stage.grid
    width, height = _clipped(grid)
    tiles = f"{grid.count} tile{'s' if grid.count > 1 else ''} of {width}x{height}"
    where = {"output": "handed out", "decode": "decoded once", "fold": "gathered", "keep": "kept"}[stage.kind]
    if _in_scratch_files(stage, plan):
        where += " in scratch files"
    if stage.by_rows:
        where += f" in {stage.tasks} row{'s' if stage.tasks > 1 else ''}"
    because = "" if stage.kind == "output" else f" ({stage.reason})"
    if stage.stored:
        there, tiles_stored = _found(stage, plan)
        because = f"{because[:-1]}; {there} of {tiles_stored} in the cache)"
    return f"{number}. {makes}: {tiles}, margin {_margin(stage)}, {where}{because}"


def _in_scratch_files(stage: Stage, plan: Plan) -> bool:
    return plan.scratch and stage.kind in ("keep", "decode")


def _found(stage: Stage, plan: Plan) -> tuple[int, int]:
    """How many tiles of a stage are in the cache, and of how many."""
    cache = plan.settings.cache_in_use
    regions = [stage.grid.region(*cell) for cell in stage.grid.cells]
    keys = [
        entry(digest, region)
        for node, digest in zip(stage.nodes, stage.stored, strict=True)
        for region in ([node.spec.region] if stage.kind == "fold" else regions)
    ]
    return sum(cache is not None and cache.holds(key) for key in keys), len(keys)


def _cache(plan: Plan, cache: Cache) -> str:
    """What becomes of a cache."""
    if plan.settings.cache_in_use is None:
        return "not used: one in memory is for threads; give imgrs.Cache a folder"
    stored = [_found(stage, plan) for stage in plan.stages if stage.stored]
    if not stored:
        return "not used: nothing here is worth storing, or it would not fit memory_limit while it is handed on"
    there, tiles = (sum(counts) for counts in zip(*stored, strict=True))
    where = "beside that memory" if cache.folder is None else f"in {cache.folder}"
    return f"{there} of {tiles} tiles are there; up to {size_text(cache.limit)} {where}"


def _clipped(grid: Grid) -> tuple[int, int]:
    """A tile of a grid, no larger than the image."""
    return min(grid.tile[0], grid.width), min(grid.tile[1], grid.height)


def _margin(stage: Stage) -> int:
    """How far the largest demand of a middle tile reaches beyond it, for images of the output's size."""
    grid = stage.grid
    region = grid.region(grid.rows // 2, grid.columns // 2)
    size = (grid.width, grid.height)
    reach = 0
    for step, regions in zip(stage.program.steps, stage.demand(region), strict=True):
        if step.spec.size == size:
            reach = max([reach, *(_reach(region, need) for need in regions if not (need & region).empty)])
    return reach


def _reach(inner: Region, outer: Region) -> int:
    return max(
        inner.left - outer.left, inner.top - outer.top, outer.right - inner.right, outer.bottom - inner.bottom, 0
    )


def _forecast(plan: Plan, costs: bool) -> str:
    forecast = plan.forecast
    lines = [
        f"tasks     {forecast.tasks:,}",
        f"pixels    {forecast.pixels:,} computed",
        f"reads     {size_text(forecast.read_bytes)} of {size_text(forecast.stored_bytes)}",
        f"memory    {size_text(forecast.peak_bytes)} at the peak, {size_text(forecast.kept_bytes)} of it kept",
    ]
    if plan.settings.cache is not None:
        lines.append(f"cache     {_cache(plan, plan.settings.cache)}")
    if costs:
        lines.append(f"time      about {forecast.seconds:.2g} s with {plan.settings.workers} workers")
    return "\n".join(lines)
