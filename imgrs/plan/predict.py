"""What a plan is taken to cost, stage by stage and op by op: the forecast in parts, for those who compare it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imgrs.graph.op import Fold, Source
from imgrs.plan import cost
from imgrs.plan.memory import footprint
from imgrs.plan.program import Supplied
from imgrs.plan.stages import Plan, Stage, areas


@dataclass(frozen=True)
class Prediction:
    """What a stage will take, over all its tiles: for each step, in order, and for what becomes of its tiles.

    Seconds are those of one worker.
    """

    pixels: tuple[int, ...]
    seconds: tuple[float, ...]
    gathering_seconds: float
    keeping_seconds: float
    encoding_seconds: float
    task_bytes: int
    """Memory that one of its tasks takes at its peak."""

    @property
    def total_seconds(self) -> float:
        return sum(self.seconds) + self.gathering_seconds + self.keeping_seconds + self.encoding_seconds


def predict(plan: Plan) -> tuple[Prediction, ...]:
    """What each stage of a plan will take. The demand of tiles is measured on some of them, and nothing is read."""
    return tuple(_stage(stage, plan) for stage in plan.stages)


def _stage(stage: Stage, plan: Plan) -> Prediction:
    steps = stage.program.steps
    sampled = stage.sampled
    folds = [(node.op, node.spec) for node in stage.nodes] if stage.kind == "fold" else []
    totals, peak = [0] * len(steps), 0
    for region in sampled:
        needed = areas(stage.demand(region))
        totals = [total + area for total, area in zip(totals, needed, strict=True)]
        peak = max(peak, stage.peak_bytes(region, footprint(stage.program, needed, folds)))
    area = stage.grid.box.area
    scale = area / sum(region.area for region in sampled)
    pixels = tuple(round(total * scale) for total in totals)
    seconds = []
    for step, made in zip(steps, pixels, strict=True):
        if isinstance(step.op, Supplied):
            each = cost.KEEP_READ * step.spec.pixel_bytes
        else:
            each = cost.per_pixel(step.op, step.spec, *step.sources)
        seconds.append(each * made / 1e9)
    gathering = sum(
        cost.per_pixel(node.op, node.spec, *(i.spec for i in node.inputs)) * node.spec.width * node.spec.height
        for node in stage.nodes
        if stage.kind == "fold" and isinstance(node.op, Fold)
    )
    kept = sum(node.spec.pixel_bytes for node in stage.nodes) if plan.scratch and stage.kind == "keep" else 0
    encoding = 0.0
    if stage.kind == "output":
        encoding = sum(cost.encoding(stage.sink.codec, node.spec) for node in stage.nodes) * area
    return Prediction(
        pixels, tuple(seconds), gathering / 1e9, cost.SCRATCH_WRITE * kept * area / 1e9, encoding / 1e9, peak
    )


def extent(plan: Plan) -> int:
    """The pixels that a plan is about: those of its outputs, or those that it needs of its sources where they are more."""
    made = sum(node.spec.width * node.spec.height for node in plan.after)
    sources: dict[object, int] = {}
    for stage in plan.stages:
        needs = areas(stage.demand(stage.grid.box))
        for node, need in zip(stage.order, needs, strict=True):
            if isinstance(node.op, Source):
                sources[node] = max(sources.get(node, 0), min(need, node.spec.width * node.spec.height))
    return max(made, sum(sources.values()))


def shares(predictions: Sequence[Prediction]) -> tuple[float, ...]:
    """Which part of the work each stage is; together 1."""
    total = sum(prediction.total_seconds for prediction in predictions)
    if not total:
        return (1 / len(predictions),) * len(predictions)
    return tuple(prediction.total_seconds / total for prediction in predictions)
