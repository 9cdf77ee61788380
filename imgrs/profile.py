"""``img.profile()``: a plan that was run, with what it was taken to cost beside what it did cost."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imgrs.config import Settings
from imgrs.errors import ArgumentError
from imgrs.graph.node import Node
from imgrs.monitor import as_dict, grid, mib
from imgrs.plan.explain import as_dict as plan_dict
from imgrs.plan.explain import explain
from imgrs.plan.predict import Prediction
from imgrs.run.spent import StageRun, TileTime
from imgrs.run.watch import Run, watching

if TYPE_CHECKING:
    from imgrs.image import Image
    from imgrs.run.save import Output

COLORS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""From quick to slow, evenly spaced: five colors of matplotlib's viridis, https://doi.org/10.25080/Majora-92bf1922-00a."""
NEVER = (128, 128, 128)
"""The color of tiles that were not made."""
FIRST = "first run: libraries and loops were loaded"
"""The last line of the table of a run that did so."""
_HEADER = (
    "", "predicted s", "measured s", "predicted MP", "measured MP", "tiles", "predicted MiB", "measured MiB"
)  # fmt: skip


class Profile:
    """What one run took: ``str()`` is the plan and the table, ``heat_map()`` shows where the time went.

    ``run`` is the record (see ``imgrs.Monitor``), ``predicted`` what each of its stages was taken to cost, and ``tiles``
    how long each tile took. ``loaded`` tells whether libraries were loaded in it, with the loops that need them, which
    takes seconds and memory that another run does not.
    """

    def __init__(self, run: Run, loaded: bool) -> None:
        self.run = run
        self.loaded = loaded

    @property
    def predicted(self) -> tuple[Prediction, ...]:
        return self.run.predicted

    @property
    def tiles(self) -> tuple[TileTime, ...]:
        """The tiles in the order in which they were reported."""
        return tuple(self.run.tile_times)

    def table(self) -> str:
        """The stages and ops with predicted and measured cost, in the order of the plan.

        Seconds of stages and ops are added up over workers, those of the run are on the clock. Memory is, for a stage, what
        its tasks take together beside what was there before; measured memory counts what libraries and earlier stages hold.
        It is a lower bound: what decoders and the allocator held already is not counted, though memory that was freed is given
        back before, where the C library can (glibc). Measured tasks are all that ran, also those that only gather results
        or put them in their places, which are not predicted. A last line tells where libraries were loaded.
        """
        run, forecast = self.run, self.run.plan.forecast
        rows: list[Sequence[str]] = [_HEADER]
        for place, (stage, predicted) in enumerate(zip(run.stages, self.predicted, strict=True), start=1):
            rows += self._stage(place, stage, predicted)
        rows += [(f"{name} in the end", "", f"{run.in_end[name]:.3f}", *[""] * 5) for name in sorted(run.in_end)]
        read = f"{mib(run.read_bytes)} MiB"
        totals = [
            ("", "predicted", "measured"),
            ("time", f"{forecast.seconds:.3f} s", f"{run.seconds:.3f} s"),
            ("pixels", f"{forecast.pixels:,}", f"{run.pixels:,}"),
            ("tasks", f"{forecast.tasks:,}", f"{run.tasks:,}"),
            ("reads", f"{mib(forecast.read_bytes)} MiB", read),
            ("memory", f"{mib(forecast.peak_bytes)} MiB", f"{mib(run.peak_bytes - run.start_bytes)} MiB"),
        ]
        return grid(rows) + "\n\n" + grid(totals) + (f"\n\n{FIRST}" if self.loaded else "")

    def _stage(self, place: int, stage: StageRun, predicted: Prediction) -> list[Sequence[str]]:
        together = predicted.task_bytes * min(self.run.workers, stage.tiles_planned)
        grown = max(0, stage.peak_bytes - self.run.start_bytes)
        rows: list[Sequence[str]] = [
            (
                f"stage {place}: {stage.name} ({stage.kind})",
                f"{predicted.total_seconds:.3f}",
                f"{stage.seconds:.3f}",
                "",
                "",
                f"{stage.tiles:,}/{stage.tiles_planned:,}",
                mib(together),
                mib(grown),
            )
        ]
        after = {
            "gather": predicted.gathering_seconds,
            "keep": predicted.keeping_seconds,
            "encode": predicted.encoding_seconds,
        }
        steps = list(zip(predicted.seconds, predicted.pixels, strict=True))
        for step, part in enumerate(stage.in_order):
            if step < len(steps):
                seconds, pixels = steps[step]
                made = ("", "") if part.kind == "join" else (f"{pixels / 1e6:.2f}", f"{part.pixels / 1e6:.2f}")
                rows.append((f"  {part.label}", f"{seconds:.3f}", f"{part.seconds:.3f}", *made, *[""] * 3))
            else:
                forecast = after.get(part.name)
                shown = "" if forecast is None else f"{forecast:.3f}"
                rows.append((f"  {part.label}", shown, f"{part.seconds:.3f}", *[""] * 5))
        rows.append(("  between", "", f"{stage.between_seconds:.3f}", *[""] * 5))
        return rows

    def __str__(self) -> str:
        return f"{explain(self.run.plan)}\n\nmeasured\n" + "\n".join(
            f"  {line}".rstrip() for line in self.table().splitlines()
        )

    def __repr__(self) -> str:
        return f"<imgrs.Profile {self.run.tiles} tiles in {self.run.seconds:.3f} s>"

    def as_dict(self) -> dict[str, Any]:
        """The record as plain values, as ``Monitor.to_json`` has it, and what it is compared with.

        ``plan`` is what ``explain(as_json=True)`` gives, ``predicted`` what each stage was taken to cost, with ``pixels``
        and ``seconds`` of its ops in the order of ``parts``.
        """
        return {
            **as_dict(self.run),
            "loaded": self.loaded,
            "predicted": [asdict(one) for one in self.predicted],
            "plan": plan_dict(self.run.plan),
        }

    def heat_values(self, stage: int | None = None) -> npt.NDArray[np.float64]:
        """Seconds of each tile of a stage, (rows, columns); NaN for tiles that were not made.

        ``stage`` counts from 1, as the table does; unless given, it is the one that took longest. A stage whose tasks make
        a whole row has one column.
        """
        tiles = self._tiles(stage)
        tops, lefts = sorted({t.region.top for t in tiles}), sorted({t.region.left for t in tiles})
        values = np.full((len(tops), len(lefts)), np.nan)
        for tile in tiles:
            values[tops.index(tile.region.top), lefts.index(tile.region.left)] = tile.seconds
        return values

    def heat_scale(self, stage: int | None = None) -> tuple[float, float]:
        """The seconds that the first and the last color of ``heat_map`` stand for: 0, and those of the slowest tile."""
        return 0.0, max((tile.seconds for tile in self._tiles(stage)), default=0.0)

    def heat_map(self, stage: int | None = None, side: int = 512) -> Image:
        """Where the time of a stage went, as an RGB image whose longer side has ``side`` pixels: a box for each tile.

        Colors go evenly from violet (0 s) over green to yellow (the slowest tile), see ``heat_scale``; gray was not made.
        """
        if isinstance(side, bool) or not isinstance(side, int) or side < 1:
            raise ArgumentError(f"heat_map: side must be a whole number of at least 1, got {side!r}")
        from imgrs.create import fromarray

        tiles, (_, slowest) = self._tiles(stage), self.heat_scale(stage)
        width, height = self.run.stages[self._place(stage)].image
        scale = side / max(width, height)
        shape = max(1, round(height * scale)), max(1, round(width * scale))
        pixels = np.full((*shape, 3), NEVER, np.uint8)
        for tile in tiles:
            top, left = int(tile.region.top * scale), int(tile.region.left * scale)
            bottom, right = (
                max(top + 1, round(tile.region.bottom * scale)),
                max(left + 1, round(tile.region.right * scale)),
            )
            pixels[top:bottom, left:right] = color_of(tile.seconds / slowest if slowest else 0.0)
        return fromarray(pixels)

    def _place(self, stage: int | None) -> int:
        stages = self.run.stages
        if stage is None:
            return max(range(len(stages)), key=lambda place: stages[place].seconds)
        if isinstance(stage, bool) or not isinstance(stage, int) or not 1 <= stage <= len(stages):
            raise ArgumentError(f"heat_map: stage must be 1 to {len(stages)}, got {stage!r}")
        return stage - 1

    def _tiles(self, stage: int | None) -> list[TileTime]:
        place = self._place(stage)
        return [tile for tile in self.run.tile_times if tile.stage == place]


def color_of(share: float) -> tuple[int, int, int]:
    """The color at ``share`` (0 to 1) of the scale."""
    place = share * (len(COLORS) - 1)
    low = min(int(place), len(COLORS) - 2)
    part = place - low
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(COLORS[low], COLORS[low + 1], strict=True))
    return red, green, blue


class _Profiler:
    """Keeps the one run that it watches, with the times of its tiles."""

    keeps_tiles = True

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def began(self, run: Run) -> None:
        self.runs.append(run)


def profile(node: Node, settings: Settings, output: Output | None = None, resume: bool = False) -> Profile:
    """Run the plan of an image and measure it; its pixels are dropped, or saved to a file that is then removed.

    With ``resume`` the save is one that could be gone on with, which writes a journal.
    """
    import tempfile

    from imgrs.io.atomic import temporary_folder
    from imgrs.run.engine import discard
    from imgrs.run.save import save

    profiler = _Profiler()
    give_back()
    before = set(sys.modules)
    if output is None:
        with watching(profiler):
            discard([node], settings)
    else:
        with temporary_folder(tempfile.gettempdir(), "imgrs-profile") as folder, watching(profiler):
            save([replace(output, target=f"{folder}/profiled")], settings, resume=resume)
    return Profile(profiler.runs[0], any(not name.startswith("imgrs.") for name in set(sys.modules) - before))


def give_back() -> None:
    """Give memory that was freed back to the system, where the C library can: a run that takes it again adds nothing."""
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
