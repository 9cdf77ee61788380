"""A graph as a flat list that a task can carry: what to compute, in order, and which part of it a tile needs.

``demand`` walks it backward over regions, and ``imgrs.run.tile`` walks it forward over arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from imgrs.errors import ComputeError
from imgrs.graph.node import Node, Origin, walk
from imgrs.graph.op import Op, Source, op
from imgrs.types import Pixels, Region, Spec

MERGE_BELOW = 1.25
"""Two regions are read as one when their union is at most this many times their sum; otherwise both are kept."""


@op
class Supplied(Source):
    """An image that is not made here: blocks of it come with each task (a kept stage, an array, a decoded file)."""

    slot: int
    spec: Spec

    def infer(self, *specs: Spec) -> Spec:
        return self.spec

    def read(self, region: Region) -> Pixels:
        raise ComputeError(f"slot {self.slot} was not supplied for {region}")  # a bug of the planner, said by name


@dataclass(frozen=True)
class Step:
    """One op on the results of earlier steps."""

    op: Op
    inputs: tuple[int, ...]
    sources: tuple[Spec, ...]
    """What the inputs are."""
    spec: Spec
    prepared: Any
    origin: Origin | None


@dataclass(frozen=True)
class Program:
    """Steps in order, and which of them are wanted. It pickles, and holds no pixels and no open file."""

    steps: tuple[Step, ...]
    outputs: tuple[int, ...]

    def prepared(self) -> Program:
        """The program with its tables and coefficients, made here once: the same wherever a tile is computed."""
        steps = tuple(replace(step, prepared=step.op.prepare(*step.sources)) for step in self.steps)
        return Program(steps, self.outputs)

    @property
    def spec(self) -> Spec:
        """What the first output is."""
        return self.steps[self.outputs[0]].spec

    def demand(self, wanted: Sequence[Region]) -> list[list[Region]]:
        """For each step the regions of it that are needed for ``wanted``, one region per output."""
        needs: list[list[Region]] = [[] for _ in self.steps]
        for output, region in zip(self.outputs, wanted, strict=True):
            add(needs[output], region)
        for i in range(len(self.steps) - 1, -1, -1):
            step = self.steps[i]
            for region in needs[i]:
                for j, need in zip(step.inputs, step.op.demand(region, *step.sources), strict=True):
                    add(needs[j], need)
        return needs


def add(regions: list[Region], new: Region) -> None:
    """Add a region to a list, merging it with those that it nearly fills a box with."""
    if new.empty:
        return
    if not regions:
        regions.append(new)
        return
    merged = True
    while merged:
        merged = False
        for i, old in enumerate(regions):
            if new in old:
                return
            union = old | new
            if union.area <= MERGE_BELOW * (old.area + new.area):
                del regions[i]
                new, merged = union, True
                break
    regions.append(new)


def program_of(outputs: Sequence[Node], slots: Mapping[Node, int]) -> tuple[Program, tuple[Node, ...]]:
    """The steps that make ``outputs``, and the node of each step; nodes in ``slots`` are leaves, filled from outside."""
    leaves: dict[Node, None] = {}

    def leaf(node: Node) -> bool:
        if node in slots:
            leaves[node] = None
        return node in slots

    inner = walk(outputs, leaf)
    order = (*leaves, *inner)
    index = {node: i for i, node in enumerate(order)}
    steps = [Step(Supplied(slots[node], node.spec), (), (), node.spec, None, node.origin) for node in leaves]
    for n in inner:
        places, sources = tuple(index[i] for i in n.inputs), tuple(i.spec for i in n.inputs)
        steps.append(Step(n.op, places, sources, n.spec, None, n.origin))
    return Program(tuple(steps), tuple(index[output] for output in outputs)), order
