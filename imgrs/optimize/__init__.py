"""The optimizer: the passes, in order. Each rule says what it promises; ``"fast"`` adds those that allow a tolerance."""

from __future__ import annotations

from imgrs.graph.node import Node
from imgrs.graph.rewrite import Firing, Rule, rewrite
from imgrs.optimize.constants import fold_constants
from imgrs.optimize.geometry import (
    compose_turns,
    drop_noops,
    maps_before_points,
    merge_affines,
    merge_crops,
    points_before_maps,
)
from imgrs.optimize.points import fuse_points, project_band
from imgrs.optimize.source import shrink_on_load
from imgrs.optimize.tone import merge_tones

PASSES: tuple[tuple[Rule, ...], ...] = (
    (
        fold_constants,
        drop_noops,
        merge_crops,
        compose_turns,
        project_band,
        maps_before_points,
        points_before_maps,
    ),
    (merge_affines, shrink_on_load),
    (merge_tones,),
    (fuse_points,),
)


def optimize(outputs: tuple[Node, ...], level: str) -> tuple[tuple[Node, ...], tuple[Firing, ...]]:
    """Rewrite ``outputs`` at a level: ``"exact"`` (the same bits), ``"fast"`` (tolerances too) or ``"off"``."""
    if level == "off":
        return outputs, ()
    allowed = [[rule for rule in rules if rule.tolerance is None or level == "fast"] for rules in PASSES]
    return rewrite(outputs, [rules for rules in allowed if rules])
